//! Decides when the logbook is handed over: soon after a connection stands, if there is something new, and not often. Pure:
//! time is an argument. A call costs 4 KB with its handshake; a device on which nothing happens makes none.

use std::time::Duration;

use firmware_compat::time::Instant;

/// After a connection stands, or something happened, for so long at most: a fleet that comes back at once spreads out, and
/// what happens together travels together.
const SPREAD: Duration = Duration::from_secs(30);
/// The least time between two handovers.
const REST: Duration = Duration::from_hours(1);
/// The pause after a call in vain; it doubles with each up to [`REST`].
const REST_FIRST: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug, Default)]
pub struct Pace {
    link_is_up: bool,
    due: Option<Instant>,
    rest_until: Instant,
    in_vain: u32,
}

impl Pace {
    /// The link stands, or does not. `pending`: there is something to hand over.
    pub fn link(&mut self, up: bool, pending: bool, now: Instant, random: u64) {
        self.link_is_up = up;
        if !up {
            self.due = None;
        } else if pending {
            self.noted(now, random);
        }
    }

    /// There is something to hand over.
    pub fn noted(&mut self, now: Instant, random: u64) {
        if self.link_is_up && self.due.is_none() {
            let millis = u64::try_from(SPREAD.as_millis()).unwrap_or(u64::MAX);
            let spread = Duration::from_millis(random % millis);
            self.due = Some((now + spread).max(self.rest_until));
        }
    }

    /// When to call.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// It was handed over; `pending` if not all of it.
    pub fn done(&mut self, pending: bool, now: Instant) {
        self.in_vain = 0;
        self.rest_until = now + REST;
        self.due = pending.then_some(self.rest_until);
    }

    /// It was not.
    pub fn failed(&mut self, now: Instant) {
        self.in_vain = self.in_vain.saturating_add(1);
        let rest = REST_FIRST.saturating_mul(1 << (self.in_vain - 1).min(6));
        self.rest_until = now + rest.min(REST);
        self.due = self.link_is_up.then_some(self.rest_until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant(1_000);

    #[test]
    fn a_device_without_news_makes_no_call() {
        let mut pace = Pace::default();
        pace.link(true, false, START, 7);
        assert_eq!(pace.due(), None);
        pace.noted(START, 7);
        assert_eq!(pace.due(), Some(Instant(START.0 + 7)));
        pace.link(false, true, START, 7);
        assert_eq!(pace.due(), None);
        pace.noted(START, 7);
        assert_eq!(pace.due(), None, "nobody is there");
    }

    #[test]
    fn a_link_that_comes_and_goes_makes_one_call_an_hour() {
        let mut pace = Pace::default();
        pace.link(true, true, START, 0);
        assert_eq!(pace.due(), Some(START));
        pace.done(false, START);
        for _ in 0..10 {
            pace.link(false, true, START, 0);
            pace.link(true, true, START, 0);
            assert_eq!(pace.due(), Some(START + REST));
        }
    }

    #[test]
    fn calls_in_vain_rest_longer_and_longer() {
        let mut pace = Pace::default();
        pace.link(true, true, START, 0);
        let mut rests = Vec::new();
        for _ in 0..9 {
            pace.failed(START);
            rests.push(pace.due().map_or(0, |due| due.since(START).as_secs() / 60));
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }
}
