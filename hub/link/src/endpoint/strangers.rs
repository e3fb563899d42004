//! Which devices were kept out lately, so that the engine and the log hear of each of them now and then, and not with
//! every attempt.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use firmware_compat::time::Instant;

use super::limits::{STRANGER_EVERY, STRANGERS};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<HashMap<Box<str>, Instant>>);

impl Strangers {
    /// Tells of a device, unless that was done not long ago. `tell` says whether it could be told.
    pub(crate) fn note(&self, device: &str, now: Instant, tell: impl FnOnce() -> bool) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.get(device).is_some_and(|at| now.since(*at) < STRANGER_EVERY) {
            return;
        }
        if told.len() >= STRANGERS {
            told.retain(|_, at| now.since(*at) < STRANGER_EVERY);
        }
        if told.len() < STRANGERS && tell() {
            told.insert(device.into(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_of_now_and_then_and_there_is_a_bound() {
        let strangers = Strangers::default();
        let told = |device: &str, now| {
            let mut told = false;
            strangers.note(device, now, || {
                told = true;
                true
            });
            told
        };
        let start = Instant(1);
        assert!(told("pi", start) && !told("pi", start) && told("pi-2", start));
        assert!(told("pi", start + STRANGER_EVERY));
        let many = (0..2 * STRANGERS).filter(|number| told(&format!("many-{number}"), start));
        assert_eq!(many.count(), STRANGERS - 2);
        assert!(told("many-again", start + STRANGER_EVERY));
    }

    #[test]
    fn what_could_not_be_told_is_tried_again() {
        let strangers = Strangers::default();
        strangers.note("pi", Instant(1), || false);
        let mut again = false;
        strangers.note("pi", Instant(1), || {
            again = true;
            true
        });
        assert!(again);
    }
}
