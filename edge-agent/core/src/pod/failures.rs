//! Steps that failed, one after the other: how many, and why the last one did.

use core::time::Duration;

use crate::{backoff::STEP, event::Failure, journal::or_usual, out::Recorder};

/// Failed steps in a row.
#[derive(Debug, Default)]
pub(super) struct Failures {
    count: u32,
    last: Option<Failure>,
}

impl Failures {
    /// Counts a failed step and returns how long to wait before it is tried again. The first of a row with one reason is
    /// an event, the status shows the newest.
    pub(super) fn count(
        &mut self,
        usual: &str,
        failure: Failure,
        recorder: &mut Recorder<'_>,
    ) -> Duration {
        let reason = or_usual(&failure.reason, usual);
        if self.last.as_ref().is_none_or(|old| old.reason != reason) {
            recorder.warn(&reason, &failure.message);
        }
        self.count = self.count.saturating_add(1);
        self.last = Some(Failure { reason, message: failure.message });
        STEP.delay(self.count)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn last(&self) -> Option<&Failure> {
        self.last.as_ref()
    }
}
