//! What happens again and again (a container that crashes) is noted at once, and then once an hour with how often it was:
//! flash is a budget, and so is the hub's record.

use std::{collections::BTreeMap, time::Duration};

use firmware_compat::{id::PodId, time::Instant};

/// How often the same thing is noted.
const AGAIN: Duration = Duration::from_hours(1);
/// Things that are told apart. Whatever comes beyond is noted each time: so many different ones are no repetition.
const MOST: usize = 512;

/// See the module.
#[derive(Debug, Default)]
pub struct Repeats(BTreeMap<(Option<PodId>, String), Noted>);

#[derive(Clone, Copy, Debug)]
struct Noted {
    at: Instant,
    since: u64,
}

impl Repeats {
    /// Counts it. How often it was not noted before, if it is to be noted now.
    pub fn count(&mut self, pod: Option<PodId>, reason: &str, now: Instant) -> Option<u64> {
        if self.0.len() >= MOST {
            self.0.retain(|_, noted| now.since(noted.at) < AGAIN);
        }
        let key = (pod, reason.to_owned());
        match self.0.get_mut(&key) {
            Some(noted) if now.since(noted.at) < AGAIN => {
                noted.since += 1;
                None
            }
            Some(noted) => {
                let since = std::mem::take(&mut noted.since);
                noted.at = now;
                Some(since)
            }
            None => {
                if self.0.len() < MOST {
                    self.0.insert(key, Noted { at: now, since: 0 });
                }
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_thing_is_noted_at_once_and_then_once_an_hour_with_how_often() {
        let mut repeats = Repeats::default();
        let pod = |byte| Some(PodId([byte; 16]));
        let mut count = |pod, minutes: u64| repeats.count(pod, "Failed", Instant(minutes * 60_000));
        assert_eq!(count(pod(1), 0), Some(0));
        assert_eq!([count(pod(1), 1), count(pod(1), 59)], [None, None]);
        assert_eq!(count(pod(2), 59), Some(0), "another Pod is another thing");
        assert_eq!(count(pod(1), 60), Some(2));
        assert_eq!(count(pod(1), 61), None);
    }

    #[test]
    fn what_is_told_apart_is_bounded_and_nothing_is_lost_for_it() {
        let mut repeats = Repeats::default();
        for number in 0..2 * MOST {
            assert_eq!(repeats.count(None, &format!("R{number}"), Instant(0)), Some(0));
        }
        assert_eq!(repeats.0.len(), MOST);
        assert_eq!(repeats.count(None, "new", Instant(3_600_000)), Some(0));
        assert_eq!(repeats.0.len(), 1);
    }
}
