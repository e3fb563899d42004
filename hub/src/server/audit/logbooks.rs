//! What the hub has of the devices' logbooks, and how much of them it takes: a device that was broken into must not be able
//! to push everything else out of the audit log.

use std::{collections::BTreeMap, time::Duration};

use axum::http::StatusCode;
use tokio::time::Instant;

use super::{Entry, Recorder};
use crate::{
    audit::logbook::{self, Line, Place},
    server::api::Refusal,
};

/// Records that one device may hand over at once: as many as its logbook holds in some busy weeks.
const BURST: u32 = 1024;
/// How long it takes until it may hand over one more.
const EACH: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Logbooks {
    /// None before the log was looked through.
    known: Option<BTreeMap<String, Place>>,
    budgets: BTreeMap<String, Budget>,
}

#[derive(Clone, Copy, Debug)]
struct Budget {
    left: u32,
    since: Instant,
}

impl Budget {
    /// Whether so much is left; then it is less.
    fn take(&mut self, wanted: u32, now: Instant) -> bool {
        let gained = now.duration_since(self.since).as_secs() / EACH.as_secs();
        if gained > 0 {
            let gained = u32::try_from(gained).unwrap_or(u32::MAX);
            *self = Self { left: self.left.saturating_add(gained).min(BURST), since: now };
        }
        let enough = self.left >= wanted;
        if enough {
            self.left -= wanted;
        }
        enough
    }
}

impl Recorder {
    /// Takes what a device has handed over. What the hub has of its logbook then, durably. `by`: an entry of the device.
    pub(crate) async fn take_logbook(
        &self,
        device: &str,
        by: &Entry,
        lines: &[Line],
    ) -> Result<Place, Refusal> {
        if self.is_failing() {
            return Err(super::unavailable("the audit log can't be written at the moment"));
        }
        // One at a time: two of one device would each follow what the other has brought. Not while the disk is waited for: what
        // is in the queue keeps its order.
        let mut books = self.shared.logbooks.lock().await;
        let Logbooks { known, budgets } = &mut *books;
        let known = match known {
            Some(known) => known,
            None => known.insert(self.look_through().await?),
        };
        let (entries, place) = logbook::take(device, known.get(device), lines, by);
        let place = place.ok_or_else(|| Refusal::bad_request("nothing was handed over"))?;
        let wanted = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let now = Instant::now();
        let budget = budgets.entry(device.to_owned()).or_insert(Budget { left: BURST, since: now });
        if !budget.take(wanted, now) {
            return Err(Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "TooManyRequests",
                "this device hands over more than the hub keeps of one; it may hand over the rest later",
            ));
        }
        let mut rooms = Vec::with_capacity(entries.len());
        for _ in &entries {
            rooms.push(self.room().await?);
        }
        for (room, entry) in rooms.into_iter().zip(entries) {
            room.note(entry);
        }
        known.insert(device.to_owned(), place.clone());
        drop(books);
        match self.settle().await {
            true => Ok(place),
            // It is asked again, and has it then.
            false => Err(super::unavailable("the audit log can't be written at the moment")),
        }
    }

    async fn look_through(&self) -> Result<BTreeMap<String, Place>, Refusal> {
        let dir = self.dir().to_owned();
        let known = tokio::task::spawn_blocking(move || logbook::known(&dir)).await;
        let failed = |error: String| {
            Refusal::internal(format!("the hub could not look through its audit log: {error}"))
        };
        known.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_device_hands_over_so_much_and_then_little_by_little() {
        let start = Instant::now();
        let mut budget = Budget { left: BURST, since: start };
        let taken = (0..BURST + 5).filter(|_| budget.take(1, start)).count();
        assert_eq!(taken, 1024);
        assert!(!budget.take(1, start + EACH / 2));
        assert!(budget.take(1, start + EACH) && !budget.take(1, start + EACH));
        assert!(!budget.take(BURST + 1, start + 10_000 * EACH));
        assert!(budget.take(BURST, start + 10_000 * EACH));
    }
}
