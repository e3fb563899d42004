//! The time between two ends of authorities. A connection is verified once and may last: what it was verified in is compared
//! with what is now.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// A number that rises when an authority is not believed any more.
#[derive(Debug, Default)]
pub struct Era(AtomicU64);

impl Era {
    /// The present one.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.load(SeqCst)
    }

    /// Begins the next one.
    pub fn end(&self) {
        self.0.fetch_add(1, SeqCst);
    }
}
