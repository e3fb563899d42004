//! What anybody on the network can bring about as often as he likes, and the hub is told of all the same: each kind at
//! once, then at most once a day, with how often it was. The rest is silence: who floods a device makes it send nothing.

use alloc::{borrow::Cow, collections::BTreeMap, format};

use firmware_compat::time::Instant;

use crate::backoff::COMPLAIN_AGAIN;

/// What was told, by its reason: as many as the code has.
#[derive(Debug, Default)]
pub struct Complaints {
    told: BTreeMap<&'static str, Told>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    at: Instant,
    /// How often it was since.
    since: u64,
}

impl Complaints {
    /// Counts it. What to say, if it is time to say it.
    pub fn count<'a>(
        &mut self,
        reason: &'static str,
        message: &'a str,
        now: Instant,
    ) -> Option<Cow<'a, str>> {
        let Some(told) = self.told.get_mut(reason) else {
            self.told.insert(reason, Told { at: now, since: 0 });
            return Some(message.into());
        };
        told.since = told.since.saturating_add(1);
        if now.since(told.at) < COMPLAIN_AGAIN {
            return None;
        }
        let times = core::mem::take(&mut told.since);
        told.at = now;
        Some(match times {
            1 => message.into(),
            _ => format!("{times} times since this was told last: {message}").into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_at_once_and_then_once_a_day_with_a_count() {
        let mut complaints = Complaints::default();
        let mut count = |reason, hours: u64| {
            let said = complaints.count(reason, "why", Instant(hours * 3_600_000));
            said.map(Cow::into_owned)
        };
        assert_eq!(count("Forged", 0).as_deref(), Some("why"));
        assert_eq!(count("Replayed", 1).as_deref(), Some("why"));
        assert_eq!([count("Forged", 2), count("Forged", 23)], [None, None]);
        assert_eq!(count("Forged", 24).as_deref(), Some("3 times since this was told last: why"));
        assert_eq!(count("Forged", 25), None);
        assert_eq!(count("Replayed", 25).as_deref(), Some("why"));
    }
}
