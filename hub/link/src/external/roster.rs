//! Which devices the hub hears by an operator's broker. The engine says so; what others say is dropped, and nothing is said to
//! them. It is as large as the engine makes it, and [`MOST_OUT`] more.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

/// Devices that were put out and are remembered as such. Of more than these nobody is heard either.
const MOST_OUT: usize = 4096;
/// How long after it was put out a device that is there again is put out again; it doubles, up to the other one. Meanwhile
/// it is not heard and hears nothing, so this is tidiness, and a handshake each time.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
const PAUSE_LONGEST: Duration = Duration::from_secs(600);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Roster {
    welcome: HashSet<Box<str>>,
    out: BTreeMap<Box<str>, Out>,
}

/// A device that was put out.
#[derive(Clone, Copy, Debug, Default)]
struct Out {
    /// By the operator's word, and not only because it is known no more.
    is_dismissed: bool,
    /// Times that it came all the same.
    came: u32,
    /// Since the start; before that it is left alone.
    next: Duration,
}

impl Roster {
    /// Hears a device from now on. True if it was dismissed before.
    pub(super) fn admit(&mut self, device: &str) -> bool {
        self.welcome.insert(device.into());
        self.out.remove(device).is_some_and(|out| out.is_dismissed)
    }

    /// Hears a device no more. True if it was heard before: one that never was is put out when it says something.
    pub(super) fn dismiss(&mut self, device: &str) -> bool {
        let was_welcome = self.welcome.remove(device);
        self.put_out(device, true);
        was_welcome
    }

    /// Knows a device no more. True if it was heard before.
    pub(super) fn forget(&mut self, device: &str) -> bool {
        let was_welcome = self.welcome.remove(device);
        if was_welcome || self.out.contains_key(device) {
            self.put_out(device, false);
        }
        was_welcome
    }

    fn put_out(&mut self, device: &str, is_dismissed: bool) -> Option<Out> {
        if self.out.len() >= MOST_OUT && !self.out.contains_key(device) {
            return None;
        }
        self.out.insert(device.into(), Out { is_dismissed, ..Out::default() })
    }

    /// Whether a device is heard.
    pub(super) fn is_welcome(&self, device: &str) -> bool {
        self.welcome.contains(device)
    }

    /// Something came of a device that is not heard. True if it is to be put out again. `now`: since the start.
    pub(super) fn comes(&mut self, device: &str, now: Duration) -> bool {
        let Some(out) = self.out.get_mut(device).filter(|out| now >= out.next) else {
            return false;
        };
        let pause = PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(out.came)).min(PAUSE_LONGEST);
        out.came = out.came.saturating_add(1);
        out.next = now + pause;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn only_who_was_admitted_last_is_heard() {
        let mut roster = Roster::default();
        assert!(!roster.is_welcome("pi"));
        assert!(!roster.admit("pi"), "nobody has put it out");
        assert!(roster.is_welcome("pi") && !roster.is_welcome("pi-2"));
        assert!(roster.dismiss("pi"));
        assert!(!roster.dismiss("pi"), "once is enough");
        assert!(!roster.is_welcome("pi"));
        assert!(roster.admit("pi"), "it may be there, unheard");
        assert!(roster.forget("pi") && !roster.forget("pi"));
        assert!(!roster.is_welcome("pi"));
        assert!(!roster.forget("a board that waits"));
        assert!(!roster.dismiss("pi"), "known no more: it is put out when it says something");
        assert!(roster.comes("pi", S));
    }

    #[test]
    fn who_comes_all_the_same_is_put_out_ever_less_often() {
        let mut roster = Roster::default();
        roster.admit("pi");
        roster.dismiss("pi");
        let mut times = Vec::new();
        for second in 0..3600 {
            if roster.comes("pi", S * second) {
                times.push(second);
            }
        }
        assert_eq!(times, [0, 5, 15, 35, 75, 155, 315, 635, 1235, 1835, 2435, 3035]);
        assert!(!roster.comes("stranger", S), "who was never known is not put out, and not heard");
        roster.admit("pi");
        assert!(!roster.comes("pi", S * 9999));
    }

    #[test]
    fn however_many_are_put_out_the_roster_stays_bounded_and_hears_none() {
        let mut roster = Roster::default();
        for number in 0..MOST_OUT + 100 {
            let name = format!("pi-{number}");
            roster.admit(&name);
            assert!(roster.dismiss(&name), "{name}");
            assert!(!roster.is_welcome(&name));
        }
        assert_eq!((roster.welcome.len(), roster.out.len()), (0, MOST_OUT));
    }
}
