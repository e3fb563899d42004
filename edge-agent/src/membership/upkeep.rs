//! Decides when the hub is called for the membership's sake. Pure: time is an argument.
//!
//! - The certificate is renewed once two thirds of its lifetime have passed by known time, and up to a twelfth of it later:
//!   a fleet that joined on one day does not come back on one. One that the hub takes for expired is renewed at once.
//! - What may have changed of the hub (its CAs, addresses, broker) is asked for when the link has failed several times or
//!   was refused; and while all is well every [`ASK_EVERY`]. An answer costs 4 KB with its handshake (`tests/membership.rs`
//!   measures 3.2 without TCP and IP): daily, that would take an eighth of an idle device's megabyte a month, and weekly it
//!   takes a sixtieth. Whoever changes a CA leaves weeks for it.

use std::time::Duration;

use firmware_compat::time::{Instant, UnixMs};

use crate::{hub::HubError, identity::Identity};

/// How often the hub is asked while all is well.
pub const ASK_EVERY: Duration = Duration::from_hours(7 * 24);
/// How often it is looked whether something is due: known time may jump.
const LOOK_EVERY: Duration = Duration::from_hours(6);
/// The pause after a call that did not bring the link back; it doubles with each.
const REST_FIRST: Duration = Duration::from_mins(1);
/// The longest one.
const REST_LONGEST: Duration = Duration::from_hours(1);
/// The pause after a hub said no.
const REST_REFUSED: Duration = Duration::from_hours(1);

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask for a new certificate.
    Renew,
    /// Ask what may have changed of the hub.
    Ask,
    /// Nothing for so long, unless something happens.
    Wait(Duration),
}

/// What happened to the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It stands.
    Up,
    /// It does not, after several attempts.
    Failing,
    /// The hub, or its broker, does not want this device; or what answers is not believed.
    Refused,
}

/// How a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Done,
    /// The hub does not accept the certificate.
    NotAuthenticated,
    /// The hub said no.
    Refused,
    /// Nobody answered, or nothing useful.
    InVain,
}

impl From<&HubError> for Outcome {
    fn from(error: &HubError) -> Self {
        match error {
            HubError::NotAuthenticated { .. } => Self::NotAuthenticated,
            HubError::Refused { .. } | HubError::NotFound { .. } => Self::Refused,
            HubError::Unreachable { .. }
            | HubError::Impostor { .. }
            | HubError::Busy { .. }
            | HubError::Answer { .. }
            | HubError::Corrupt { .. }
            | HubError::Cancelled
            | HubError::Disk { .. } => Self::InVain,
        }
    }
}

/// When what is due.
#[derive(Clone, Debug)]
pub struct Upkeep {
    renew_at_s: u64,
    /// The hub said that the certificate is not good any more.
    must_renew: bool,
    must_ask: bool,
    /// The operator wants another hub to be followed: this one has not said yet who it is.
    must_meet: bool,
    link_is_up: bool,
    asked: Instant,
    in_vain: u32,
    rest_until: Instant,
}

impl Upkeep {
    /// An agent that has just started takes what it knows for recent: a restart costs no question, unless the operator
    /// wants another hub to be followed.
    #[must_use]
    pub fn new(renew_at_s: u64, may_adopt: bool, now: Instant) -> Self {
        Self {
            renew_at_s,
            must_renew: false,
            must_ask: false,
            must_meet: may_adopt,
            link_is_up: false,
            asked: now,
            in_vain: 0,
            rest_until: now,
        }
    }

    /// What is to be done, by both clocks.
    #[must_use]
    pub fn next(&self, now: Instant, known_s: u64) -> Step {
        let rest = self.rest_until.since(now);
        if !rest.is_zero() {
            return Step::Wait(rest);
        }
        if self.must_renew || known_s >= self.renew_at_s {
            return Step::Renew;
        }
        let due = ASK_EVERY.saturating_sub(now.since(self.asked));
        if self.must_ask || self.must_meet || (self.link_is_up && due.is_zero()) {
            return Step::Ask;
        }
        let renewal = Duration::from_secs(self.renew_at_s - known_s);
        let ask = if self.link_is_up { due } else { LOOK_EVERY };
        Step::Wait(renewal.min(ask).min(LOOK_EVERY))
    }

    /// The link says something.
    pub fn saw(&mut self, sign: Sign) {
        self.link_is_up = sign == Sign::Up;
        self.must_ask = !self.link_is_up;
        if self.link_is_up {
            self.in_vain = 0;
        }
    }

    /// The hub was asked.
    pub fn asked(&mut self, outcome: Outcome, now: Instant, random: u64) {
        self.must_ask = false;
        match outcome {
            Outcome::Done => {
                self.asked = now;
                self.must_meet = false;
                self.rest_longer(now, random);
            }
            Outcome::InVain => self.rest_longer(now, random),
            Outcome::NotAuthenticated => self.must_renew = true,
            Outcome::Refused => self.rest(now, REST_REFUSED, random),
        }
    }

    /// The hub was asked for a new certificate. `renew_at_s`: when the one in force is to be replaced.
    pub fn renewed(&mut self, outcome: Outcome, renew_at_s: u64, now: Instant, random: u64) {
        self.renew_at_s = renew_at_s;
        self.must_renew = false;
        match outcome {
            Outcome::Done => {
                // The answer says everything else, too.
                self.asked = now;
            }
            Outcome::NotAuthenticated | Outcome::Refused => self.rest(now, REST_REFUSED, random),
            Outcome::InVain => {
                self.must_renew = true;
                self.rest_longer(now, random);
            }
        }
    }

    /// For ever longer, until the link stands.
    fn rest_longer(&mut self, now: Instant, random: u64) {
        if self.link_is_up {
            return self.rest(now, REST_FIRST, random);
        }
        let bound = REST_FIRST.saturating_mul(2_u32.saturating_pow(self.in_vain));
        self.in_vain = self.in_vain.saturating_add(1);
        self.rest(now, bound.min(REST_LONGEST), random);
    }

    /// Somewhere in the upper half of `bound`.
    fn rest(&mut self, now: Instant, bound: Duration, random: u64) {
        self.rest_until = now + bound / 2 + part(bound / 2, random);
    }
}

/// When a certificate is to be replaced, in seconds since 1970: two thirds of its lifetime after it was issued, and up to
/// a twelfth of that lifetime later as `random` decides.
#[must_use]
pub fn renew_at_s(identity: &Identity, random: u64) -> u64 {
    renewal(identity.hub.issued_ms, identity.not_after_s, random)
}

fn renewal(issued_ms: UnixMs, not_after_s: u64, random: u64) -> u64 {
    let issued_s = issued_ms / 1000;
    let lifetime = Duration::from_secs(not_after_s.saturating_sub(issued_s));
    issued_s + (lifetime / 3 * 2).as_secs() + part(lifetime / 12, random).as_secs()
}

/// The share of `whole` that `random` is of its own range.
fn part(whole: Duration, random: u64) -> Duration {
    let millis = whole.as_millis().min(u128::from(u64::MAX)) * u128::from(random);
    Duration::from_millis((millis >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;
    const START: Instant = Instant(1_000);
    const RENEW_AT: u64 = 60 * DAY;

    fn upkeep() -> Upkeep {
        Upkeep::new(RENEW_AT, false, START)
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_lifetime_spread_over_a_twelfth() {
        let issued = 1_700_000_000;
        let at = |random| renewal(issued * 1000, issued + 90 * DAY, random) - issued;
        assert_eq!(at(0), 60 * DAY);
        assert_eq!(at(u64::MAX).div_ceil(3600), (60 * DAY + 90 * DAY / 12) / 3600);
        // One that is already over, and one without end.
        assert_eq!(renewal(issued * 1000, 5, u64::MAX), issued);
        assert!(renewal(0, 253_402_300_799, u64::MAX) < 253_402_300_799);
    }

    #[test]
    fn nothing_is_done_before_it_is_due_whatever_the_clock_of_the_device_says() {
        let mut upkeep = upkeep();
        upkeep.saw(Sign::Up);
        // Known time is 1970 as long as nobody has said better.
        assert_eq!(upkeep.next(START, 0), Step::Wait(LOOK_EVERY));
        assert_eq!(upkeep.next(START, RENEW_AT - 1), Step::Wait(Duration::from_secs(1)));
        assert_eq!(upkeep.next(START, RENEW_AT), Step::Renew);
        assert_eq!(upkeep.next(START, 4_000_000_000), Step::Renew);
        upkeep.renewed(Outcome::Done, 120 * DAY, START, 0);
        assert_eq!(upkeep.next(START, RENEW_AT), Step::Wait(LOOK_EVERY));
    }

    #[test]
    fn while_all_is_well_the_hub_is_asked_once_a_week_and_only_over_a_link_that_stands() {
        let mut upkeep = upkeep();
        let week = START + ASK_EVERY;
        assert_eq!(upkeep.next(week, 0), Step::Wait(LOOK_EVERY));
        upkeep.saw(Sign::Up);
        assert_eq!(upkeep.next(START + ASK_EVERY / 2, 0), Step::Wait(LOOK_EVERY));
        assert_eq!(upkeep.next(week, 0), Step::Ask);
        upkeep.asked(Outcome::Done, week, 0);
        assert_eq!(upkeep.next(week + REST_LONGEST, 0), Step::Wait(LOOK_EVERY));
        assert_eq!(upkeep.next(week + ASK_EVERY, 0), Step::Ask);
    }

    #[test]
    fn a_failing_link_makes_it_ask_at_once_and_then_ever_less_often() {
        let mut upkeep = upkeep();
        let mut now = START;
        let mut rests = Vec::new();
        for outcome in [Outcome::InVain, Outcome::Done].repeat(4) {
            upkeep.saw(Sign::Failing);
            assert_eq!(upkeep.next(now, 0), Step::Ask);
            upkeep.asked(outcome, now, u64::MAX);
            upkeep.saw(Sign::Failing);
            let Step::Wait(rest) = upkeep.next(now, 0) else { panic!("it should rest") };
            rests.push(rest.as_secs_f64().round() as u64 / 60);
            now = now + rest;
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 60, 60]);
        upkeep.saw(Sign::Up);
        assert_eq!(upkeep.next(now, 0), Step::Wait(LOOK_EVERY));
    }

    #[test]
    fn only_a_certificate_that_the_hub_does_not_accept_is_renewed_early() {
        let mut upkeep = upkeep();
        upkeep.saw(Sign::Refused);
        assert_eq!(upkeep.next(START, 0), Step::Ask);
        // The hub is content with it: it was refused for another reason, and is not renewed.
        upkeep.asked(Outcome::Done, START, 0);
        let later = START + REST_LONGEST;
        assert!(matches!(upkeep.next(later, 0), Step::Wait(_)));
        upkeep.saw(Sign::Refused);
        assert_eq!(upkeep.next(later, 0), Step::Ask);
        upkeep.asked(Outcome::NotAuthenticated, later, 0);
        assert_eq!(upkeep.next(later, 0), Step::Renew);
        upkeep.renewed(Outcome::Done, RENEW_AT, later, 0);
        upkeep.saw(Sign::Up);
        assert_eq!(upkeep.next(later, 0), Step::Wait(LOOK_EVERY));
    }

    #[test]
    fn a_hub_that_does_not_know_the_device_any_more_is_bothered_once_an_hour() {
        let mut upkeep = upkeep();
        upkeep.saw(Sign::Refused);
        upkeep.asked(Outcome::NotAuthenticated, START, 0);
        upkeep.renewed(Outcome::Refused, RENEW_AT, START, 0);
        upkeep.saw(Sign::Refused);
        let Step::Wait(rest) = upkeep.next(START, 0) else { panic!("it should rest") };
        assert_eq!(rest, REST_REFUSED / 2);
        assert_eq!(upkeep.next(START + rest, 0), Step::Ask);
        upkeep.asked(Outcome::Refused, START + rest, u64::MAX);
        let Step::Wait(rest) = upkeep.next(START + rest, 0) else { panic!("it should rest") };
        assert!(rest > REST_REFUSED * 9 / 10);
    }

    #[test]
    fn a_hub_that_may_take_over_is_asked_at_once_until_it_has_said_who_it_is() {
        let mut upkeep = Upkeep::new(RENEW_AT, true, START);
        upkeep.saw(Sign::Up);
        assert_eq!(upkeep.next(START, 0), Step::Ask);
        upkeep.asked(Outcome::InVain, START, 0);
        upkeep.saw(Sign::Up);
        let later = START + REST_LONGEST;
        assert_eq!(upkeep.next(later, 0), Step::Ask);
        upkeep.asked(Outcome::Done, later, 0);
        assert_eq!(upkeep.next(later + REST_LONGEST, 0), Step::Wait(LOOK_EVERY));
    }

    #[test]
    fn a_renewal_in_vain_is_tried_again() {
        let mut upkeep = upkeep();
        assert_eq!(upkeep.next(START, RENEW_AT), Step::Renew);
        upkeep.renewed(Outcome::InVain, RENEW_AT, START, 0);
        let Step::Wait(rest) = upkeep.next(START, RENEW_AT) else { panic!("it should rest") };
        assert_eq!(upkeep.next(START + rest, RENEW_AT), Step::Renew);
    }
}
