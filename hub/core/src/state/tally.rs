//! What a Job has counted of its Pods: each once, when it has ended or is to go. It is saved with the Job in the turn in
//! which the Pod is marked as counted, so that neither a restart nor a Pod that is gone changes the count.

use alloc::{collections::BTreeSet, format, string::String};
use core::time::Duration;

use firmware_compat::time::Instant;

use crate::api::batch::job::{JobStatus, MAX_INDEXES};

/// Time until a Pod is made anew after the first failure in a row, and the longest: Kubernetes' own.
const RETRY_AFTER: Duration = Duration::from_secs(10);
const RETRY_AFTER_AT_MOST: Duration = Duration::from_secs(360);

/// How the Pods of a Job ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that ended well.
    pub succeeded: u32,
    /// Those that ended otherwise, or went before their end.
    pub failed: u32,
    /// Numbers that were done.
    pub indexes: BTreeSet<u32>,
    /// Failures since the last Pod that ended well. A hub that starts again begins anew: so the next Pod comes earlier.
    in_a_row: u32,
    /// The last of them.
    failed_at: Instant,
}

impl Tally {
    /// What a Job's record says.
    #[must_use]
    pub fn of(status: &JobStatus) -> Self {
        Self {
            succeeded: status.succeeded,
            failed: status.failed,
            indexes: parse(&status.completed_indexes),
            ..Self::default()
        }
    }

    /// Writes it into the status of a Job, with so many numbers if they have some. What was done of more, when there were
    /// more, is no part of it.
    pub fn write(&self, indexes: Option<u32>, status: &mut JobStatus) {
        status.failed = self.failed;
        status.succeeded = self.succeeded;
        if let Some(all) = indexes {
            let done: BTreeSet<u32> = self.indexes.range(..all).copied().collect();
            status.succeeded = u32::try_from(done.len()).unwrap_or(u32::MAX);
            status.completed_indexes = print(&done);
        }
    }

    /// Counts the end of a Pod. A number that was done by two of them is one completion.
    pub fn count(&mut self, index: Option<u32>, succeeded: bool, now: Instant) {
        if !succeeded {
            self.failed = self.failed.saturating_add(1);
            self.in_a_row = self.in_a_row.saturating_add(1);
            self.failed_at = now;
            return;
        }
        self.in_a_row = 0;
        let is_new = index.is_none_or(|index| self.indexes.insert(index));
        self.succeeded = self.succeeded.saturating_add(u32::from(is_new));
    }

    /// Until when no Pod is made, after failures.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        let doublings = self.in_a_row.checked_sub(1)?;
        let delay = RETRY_AFTER * 2u32.pow(doublings.min(6));
        Some(self.failed_at + delay.min(RETRY_AFTER_AT_MOST))
    }
}

/// Numbers as Kubernetes writes them: `0,2-4`.
fn print(indexes: &BTreeSet<u32>) -> String {
    let mut text = String::new();
    let mut rest = indexes.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while let Some(next) = rest.next_if(|next| Some(*next) == last.checked_add(1)) {
            last = next;
        }
        let comma = if text.is_empty() { "" } else { "," };
        text += &match last - first {
            0 => format!("{comma}{first}"),
            1 => format!("{comma}{first},{last}"),
            _ => format!("{comma}{first}-{last}"),
        };
    }
    text
}

/// The numbers of such a text, below the bound that Jobs have.
fn parse(text: &str) -> BTreeSet<u32> {
    let mut indexes = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) else { continue };
        indexes.extend(first..=last.min(MAX_INDEXES - 1));
    }
    indexes
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn indexes_are_written_as_kubernetes_does_and_read_back() {
        for (indexes, text) in
            [(&[][..], ""), (&[0], "0"), (&[0, 1], "0,1"), (&[0, 1, 2, 5, 7, 8, 9], "0-2,5,7-9")]
        {
            let indexes: BTreeSet<u32> = indexes.iter().copied().collect();
            assert_eq!(print(&indexes), text);
            assert_eq!(parse(text), indexes, "{text}");
        }
        // A damaged record costs no more memory than the largest Job.
        assert_eq!(parse("0-4294967295,x,-,3-1").len(), MAX_INDEXES as usize);
        assert_eq!(parse(&u32::MAX.to_string()).len(), 0);
    }

    #[test]
    fn an_index_counts_once_and_failures_in_a_row_wait_longer_each_time() {
        let mut tally = Tally::default();
        tally.count(Some(3), true, Instant(0));
        tally.count(Some(3), true, Instant(0));
        assert_eq!((tally.succeeded, tally.retry_at()), (1, None));
        let mut waits = alloc::vec::Vec::new();
        for _ in 0..8 {
            tally.count(None, false, Instant(1000));
            waits.extend(tally.retry_at().map(|at| (at.0 - 1000) / 1000));
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 360, 360]);
        assert_eq!(tally.failed, 8);
        tally.count(None, true, Instant(2000));
        assert_eq!((tally.succeeded, tally.retry_at()), (2, None));
    }
}
