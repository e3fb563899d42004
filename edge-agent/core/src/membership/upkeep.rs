//! Decides when the hub is called for the membership's sake. Pure: time is an argument.
//!
//! - The certificate is renewed when [`super::due`] says. One that the hub takes for expired is renewed at once.
//! - What may have changed of the hub (its CAs, addresses, broker) is asked for when the link has failed several times or
//!   was refused; and while all is well every [`ASK_EVERY`]. An answer costs 4 KB with its handshake (`tests/membership.rs`
//!   measures 3.2 without TCP and IP): daily, that would take an eighth of an idle device's megabyte a month, and weekly it
//!   takes a sixtieth. Whoever changes a CA leaves weeks for it. A hub that shows a new CA in a handshake is asked within
//!   [`NEWS_WITHIN`]: it may have started again, and a whole fleet have seen it at once.

use core::time::Duration;

use firmware_compat::time::Instant;

use super::due::part;

/// How often the hub is asked while all is well.
pub const ASK_EVERY: Duration = Duration::from_hours(7 * 24);
/// How long the hub may be asked later than it has shown that it has something to say.
const NEWS_WITHIN: Duration = Duration::from_hours(1);
/// How often it is looked whether something is due: known time may jump.
const LOOK_EVERY: Duration = Duration::from_hours(6);
/// The pause after a renewal that brought a certificate which is due at once, as what a hub issues is whose time is behind
/// what this device knows.
const RENEW_AGAIN: Duration = Duration::from_hours(6);
/// The pause after a call that did not do what it should, or did not bring the link back; it doubles with each.
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

/// When what is due.
#[derive(Clone, Debug)]
pub struct Upkeep {
    renew_at_s: u64,
    /// The hub said that the certificate is not good any more.
    must_renew: bool,
    must_ask: bool,
    /// The operator wants another hub to be followed: this one has not said yet who it is.
    must_meet: bool,
    /// When to ask the hub what it has shown to be new.
    news_at: Option<Instant>,
    link_is_up: bool,
    asked: Instant,
    in_vain: u32,
    rest_until: Instant,
    renewed: Option<Renewed>,
}

/// The last renewal.
#[derive(Clone, Copy, Debug)]
struct Renewed {
    at: Instant,
    /// When to renew again if it came to nothing.
    again: Instant,
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
            news_at: None,
            link_is_up: false,
            asked: now,
            in_vain: 0,
            rest_until: now,
            renewed: None,
        }
    }

    /// What is to be done, by both clocks.
    #[must_use]
    pub fn next(&self, now: Instant, known_s: u64) -> Step {
        let rest = self.rest_until.since(now);
        if !rest.is_zero() {
            return Step::Wait(rest);
        }
        let by_time = Duration::from_secs(self.renew_at_s.saturating_sub(known_s));
        let renewal = by_time.max(self.held(now, known_s));
        if self.must_renew || renewal.is_zero() {
            return Step::Renew;
        }
        let news = self.news_at.map_or(ASK_EVERY, |at| at.since(now));
        let due = ASK_EVERY.saturating_sub(now.since(self.asked)).min(news);
        if self.must_ask || self.must_meet || (self.link_is_up && due.is_zero()) {
            return Step::Ask;
        }
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

    /// The hub has shown a CA that this device has not been told of.
    pub fn saw_news(&mut self, now: Instant, random: u64) {
        self.news_at.get_or_insert(now + part(NEWS_WITHIN, random));
    }

    /// The certificate in force is to be replaced at another time.
    pub fn renew_at(&mut self, renew_at_s: u64) {
        self.renew_at_s = renew_at_s;
    }

    /// The hub was asked.
    pub fn asked(&mut self, outcome: Outcome, now: Instant, random: u64) {
        self.must_ask = false;
        match outcome {
            Outcome::Done => {
                self.asked = now;
                self.news_at = None;
                self.must_meet = false;
                self.well();
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
                self.news_at = None;
                self.renewed = Some(Renewed { at: now, again: later(now, RENEW_AGAIN, random) });
                self.well();
                if !self.link_is_up {
                    self.rest_longer(now, random);
                }
            }
            Outcome::NotAuthenticated | Outcome::Refused => self.rest(now, REST_REFUSED, random),
            Outcome::InVain => {
                self.must_renew = true;
                self.rest_longer(now, random);
            }
        }
    }

    /// How long a certificate is kept that was due when it came.
    fn held(&self, now: Instant, known_s: u64) -> Duration {
        let Some(Renewed { at, again }) = self.renewed else { return Duration::ZERO };
        let known_then_s = known_s.saturating_sub(now.since(at).as_secs());
        if known_then_s >= self.renew_at_s { again.since(now) } else { Duration::ZERO }
    }

    /// A call did what it should. If the link does not stand, that is not all that should be.
    fn well(&mut self) {
        if self.link_is_up {
            self.in_vain = 0;
        }
    }

    /// For ever longer, until all is well.
    fn rest_longer(&mut self, now: Instant, random: u64) {
        let bound = REST_FIRST.saturating_mul(2_u32.saturating_pow(self.in_vain));
        self.in_vain = self.in_vain.saturating_add(1);
        self.rest(now, bound.min(REST_LONGEST), random);
    }

    /// Somewhere in the upper half of `bound`.
    fn rest(&mut self, now: Instant, bound: Duration, random: u64) {
        self.rest_until = later(now, bound, random);
    }
}

/// Somewhere in the upper half of `bound` from now on.
fn later(now: Instant, bound: Duration, random: u64) -> Instant {
    now + bound / 2 + part(bound / 2, random)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const DAY: u64 = 24 * 3600;
    const START: Instant = Instant(1_000);
    const RENEW_AT: u64 = 60 * DAY;

    fn upkeep() -> Upkeep {
        Upkeep::new(RENEW_AT, false, START)
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
        assert_eq!(upkeep.next(later + REST_FIRST, 0), Step::Wait(LOOK_EVERY));
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
    fn a_hub_that_shows_a_new_ca_is_asked_within_an_hour_and_once() {
        let mut upkeep = upkeep();
        upkeep.saw(Sign::Up);
        upkeep.saw_news(START, u64::MAX / 2);
        // A second connection does not put it off.
        upkeep.saw_news(START, u64::MAX);
        let Step::Wait(time) = upkeep.next(START, 0) else { panic!("not at once") };
        assert_eq!(time.as_secs().div_ceil(60), 30);
        let later = START + time;
        assert_eq!(upkeep.next(later, 0), Step::Ask);
        upkeep.asked(Outcome::InVain, later, 0);
        let Step::Wait(rest) = upkeep.next(later, 0) else { panic!("it should rest") };
        assert_eq!(upkeep.next(later + rest, 0), Step::Ask);
        upkeep.asked(Outcome::Done, later + rest, 0);
        assert_eq!(upkeep.next(later + rest + REST_FIRST, 0), Step::Wait(LOOK_EVERY));
        upkeep.renew_at(5);
        assert_eq!(upkeep.next(later + rest + REST_FIRST, 5), Step::Renew);
    }

    /// What a hub issues whose time is far behind what the device knows is due at once, by that.
    #[test]
    fn what_is_due_as_soon_as_it_is_issued_is_not_renewed_again_and_again() {
        let mut upkeep = upkeep();
        upkeep.saw(Sign::Up);
        let (known_s, day) = (RENEW_AT, START + Duration::from_secs(DAY));
        let (mut now, mut renewals) = (START, 0);
        while now < day {
            match upkeep.next(now, known_s) {
                Step::Renew => {
                    upkeep.renewed(Outcome::Done, RENEW_AT - 5, now, u64::MAX);
                    renewals += 1;
                }
                Step::Ask => panic!("it has been told everything"),
                Step::Wait(time) => now = now + time,
            }
        }
        assert!((4..=5).contains(&renewals), "{renewals}");
        // A short one, of a hub whose time is right, is renewed in its time.
        upkeep.renewed(Outcome::Done, RENEW_AT + 10, now, 0);
        assert_eq!(upkeep.next(now, RENEW_AT), Step::Wait(Duration::from_secs(10)));
        assert_eq!(upkeep.next(now + Duration::from_secs(10), RENEW_AT + 10), Step::Renew);
        // A hub that does not take the new one for good either is not called in a loop.
        upkeep.saw(Sign::Refused);
        upkeep.asked(Outcome::NotAuthenticated, now, 0);
        assert_eq!(upkeep.next(now, 0), Step::Renew);
        upkeep.renewed(Outcome::Done, RENEW_AT, now, 0);
        upkeep.saw(Sign::Refused);
        assert_eq!(upkeep.next(now, 0), Step::Wait(REST_FIRST / 2));
    }

    #[test]
    fn a_renewal_in_vain_is_tried_again() {
        let mut upkeep = upkeep();
        assert_eq!(upkeep.next(START, RENEW_AT), Step::Renew);
        upkeep.renewed(Outcome::InVain, RENEW_AT, START, 0);
        let Step::Wait(rest) = upkeep.next(START, RENEW_AT) else { panic!("it should rest") };
        assert_eq!(upkeep.next(START + rest, RENEW_AT), Step::Renew);
    }

    /// A disk that keeps no file, or a hub that answers a fleet with errors, does not get better by a thousand calls a day.
    #[test]
    fn calls_in_vain_become_fewer_though_the_link_stands() {
        let mut upkeep = upkeep();
        upkeep.saw(Sign::Up);
        let (mut now, mut calls) = (START, 0);
        let day = START + Duration::from_secs(DAY);
        while now < day {
            match upkeep.next(now, RENEW_AT) {
                Step::Renew => {
                    upkeep.renewed(Outcome::InVain, RENEW_AT, now, u64::MAX);
                    calls += 1;
                }
                Step::Ask => panic!("it is to be renewed"),
                Step::Wait(time) => now = now + time,
            }
        }
        assert!(calls < 32, "{calls}");
        upkeep.renewed(Outcome::Done, 2 * RENEW_AT, now, 0);
        upkeep.asked(Outcome::InVain, now, u64::MAX);
        let Step::Wait(rest) = upkeep.next(now, RENEW_AT) else { panic!("it should rest") };
        assert!(rest <= REST_FIRST, "it starts over once all was well: {rest:?}");
    }
}
