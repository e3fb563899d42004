//! Refusals that are noted one by one, and those that are only counted: whoever is refused again and again must not be able
//! to fill the log, from one address or from many.

use std::collections::BTreeMap;

/// What is counted together.
const MINUTE_MS: u64 = 60_000;
/// Refusals of one address, or of one actor, that are noted within a minute.
const PER_SENDER: u32 = 10;
/// Refusals that may be noted at once, after a time without any.
const BURST_MILLI: u64 = 300_000;
/// Refusals that are noted in the long run, in thousandths for each second: 20 in a minute, which is some 10 MB a day.
const MILLI_PER_SECOND: u64 = 333;
/// Senders that are told apart within a minute. All others are one.
const MAX_SENDERS: usize = 1024;
/// Senders that are named when refusals are counted together.
const NAMED: usize = 3;
/// What was noted is news again after so long.
const HOUR_MS: u64 = 3_600_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Refusals {
    /// When this minute began.
    since_ms: u64,
    /// Noted and counted of each sender within it.
    senders: BTreeMap<String, (u32, u64)>,
    /// Counted, but of nobody who is told apart.
    others: u64,
    /// Entries that found no place in the queue.
    dropped: u64,
    budget_milli: u64,
    refilled_ms: u64,
    news: BTreeMap<String, u64>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            since_ms: 0,
            senders: BTreeMap::new(),
            others: 0,
            dropped: 0,
            budget_milli: BURST_MILLI,
            refilled_ms: 0,
            news: BTreeMap::new(),
        }
    }
}

impl Refusals {
    /// Whether a refusal is to be noted by itself.
    pub(super) fn admit(&mut self, sender: &str, now_ms: u64) -> bool {
        let passed_ms = now_ms.saturating_sub(self.refilled_ms);
        let gained = passed_ms.saturating_mul(MILLI_PER_SECOND) / 1000;
        if gained > 0 {
            self.budget_milli = self.budget_milli.saturating_add(gained).min(BURST_MILLI);
            self.refilled_ms = now_ms;
        }
        if self.senders.len() >= MAX_SENDERS && !self.senders.contains_key(sender) {
            self.others += 1;
            return false;
        }
        let (noted, counted) = self.senders.entry(sender.to_owned()).or_default();
        if *noted < PER_SENDER && self.budget_milli >= 1000 {
            *noted += 1;
            self.budget_milli -= 1000;
            return true;
        }
        *counted += 1;
        false
    }

    /// An entry found no place.
    pub(super) fn drop_one(&mut self) {
        self.dropped += 1;
    }

    /// What was only counted, in words, once the minute is over; or at once, when the hub stops.
    pub(super) fn summary(&mut self, now_ms: u64, at_once: bool) -> Option<String> {
        if !at_once && now_ms < self.since_ms.saturating_add(MINUTE_MS) {
            return None;
        }
        self.since_ms = now_ms;
        let senders = std::mem::take(&mut self.senders);
        let (others, dropped) =
            (std::mem::take(&mut self.others), std::mem::take(&mut self.dropped));
        let mut counted: Vec<(&String, u64)> =
            senders.iter().map(|(sender, (_, counted))| (sender, *counted)).collect();
        counted.retain(|(_, counted)| *counted > 0);
        counted.sort_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(other.0)));
        let total = counted.iter().map(|(_, counted)| counted).sum::<u64>() + others;
        let mut parts = Vec::new();
        if total > 0 {
            let most: Vec<String> = counted
                .iter()
                .take(NAMED)
                .map(|(sender, counted)| format!("{counted} of {sender}"))
                .collect();
            let of = match most.is_empty() {
                true => String::new(),
                false => format!(", {}", most.join(", ")),
            };
            let senders = counted.len();
            let rest = if others > 0 { " and others" } else { "" };
            parts.push(format!("{total} more refused, from {senders} senders{rest}{of}"));
        }
        if dropped > 0 {
            parts.push(format!("{dropped} entries had no place in the queue"));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// Whether something was not noted within the last hour.
    pub(super) fn is_news(&mut self, what: &str, now_ms: u64) -> bool {
        self.news.retain(|_, noted| now_ms < noted.saturating_add(HOUR_MS));
        if self.news.contains_key(what) {
            return false;
        }
        // As many as there can be boards that wait for approval; beyond that nothing is news.
        let room = self.news.len() < MAX_SENDERS;
        if room {
            self.news.insert(what.to_owned(), now_ms);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(refusals: &mut Refusals, sender: &str, times: u32, now_ms: u64) -> usize {
        (0..times).filter(|_| refusals.admit(sender, now_ms)).count()
    }

    #[test]
    fn one_sender_is_noted_ten_times_a_minute_and_then_counted() {
        let mut refusals = Refusals::default();
        assert_eq!(noted(&mut refusals, "192.0.2.1", 500, 0), 10);
        assert_eq!(noted(&mut refusals, "192.0.2.2", 12, 0), 10);
        assert_eq!(noted(&mut refusals, "192.0.2.3", 3, 0), 3);
        assert_eq!(refusals.summary(MINUTE_MS - 1, false), None);
        assert_eq!(
            refusals.summary(MINUTE_MS, false).as_deref(),
            Some("492 more refused, from 2 senders, 490 of 192.0.2.1, 2 of 192.0.2.2")
        );
        assert_eq!(refusals.summary(2 * MINUTE_MS, false), None);
        assert_eq!(noted(&mut refusals, "192.0.2.1", 500, 2 * MINUTE_MS), 10);
        assert!(refusals.summary(2 * MINUTE_MS, true).is_some_and(|said| said.starts_with("490")));
    }

    #[test]
    fn many_senders_together_have_a_bound_too() {
        let mut refusals = Refusals::default();
        let mut total = 0;
        // A day of ten thousand senders every minute.
        for minute in 0..24 * 60 {
            for sender in 0..10_000 {
                let sender = format!("{sender}");
                total += noted(&mut refusals, &sender, 1, minute * MINUTE_MS);
            }
            assert!(refusals.senders.len() <= MAX_SENDERS);
            assert!(refusals.summary((minute + 1) * MINUTE_MS, false).is_some());
        }
        assert!((28_000..30_000).contains(&total), "{total}");
    }

    #[test]
    fn what_is_asked_again_and_again_is_news_once_an_hour() {
        let mut refusals = Refusals::default();
        assert!(refusals.is_news("pi", 0) && !refusals.is_news("pi", HOUR_MS - 1));
        assert!(refusals.is_news("pi", HOUR_MS) && refusals.is_news("pi-2", HOUR_MS));
    }

    #[test]
    fn entries_without_a_place_are_told() {
        let mut refusals = Refusals::default();
        refusals.drop_one();
        let said = refusals.summary(MINUTE_MS, false);
        assert_eq!(said.as_deref(), Some("1 entries had no place in the queue"));
    }
}
