//! What clients can cause is said in few words, and seldom: none of them fills the hub's log. What is not said is counted.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::limits::{COMPLAIN_EVERY, LOG_BYTES};

/// When something was said last.
#[derive(Debug, Default)]
pub(crate) struct Paced(Mutex<Option<Instant>>);

impl Paced {
    /// Whether it may be said now. Whoever asks says it.
    pub(crate) fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

/// The beginning of a text that a client chose.
pub(crate) fn clipped(text: &str) -> &str {
    &text[..text.floor_char_boundary(LOG_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn something_is_said_once_a_minute_at_most() {
        let paced = Paced::default();
        assert!(paced.is_due());
        assert!(!paced.is_due());
        tokio::time::advance(COMPLAIN_EVERY).await;
        assert!(paced.is_due());
        assert!(!paced.is_due());
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        assert_eq!(clipped("lichen/1/pi/up/hello"), "lichen/1/pi/up/hello");
        let long = format!("x{}", "ä".repeat(LOG_BYTES));
        assert_eq!(clipped(&long).len(), LOG_BYTES - 1);
    }
}
