//! The time by which certificates are issued and judged: never earlier than what was known before, whatever the
//! machine's clock says. A hub without a clock that is kept while it is off starts in 1970, and must not take every
//! certificate for one of the future, nor issue any that have ended already.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::files::{self, FileError};

/// The file's name.
pub(crate) const FILE: &str = "known-time";
/// How far known time goes on before it is saved again.
const SAVE_EVERY: Duration = Duration::from_secs(24 * 3600);
/// A clock this far behind what is known is wrong.
const TOLERATED: Duration = Duration::from_secs(3600);

/// Known time. Seconds since 1970.
#[derive(Debug)]
pub struct KnownTime {
    path: PathBuf,
    /// The latest time that was seen.
    floor: AtomicU64,
    saved: AtomicU64,
}

impl KnownTime {
    /// What was known when a hub last saved it here.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn load(dir: &Path) -> Result<Self, FileError> {
        let path = dir.join(FILE);
        let text = files::read(&path)?.and_then(|bytes| String::from_utf8(bytes).ok());
        // A damaged file only means that less is known.
        let floor = text.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Ok(Self { path, floor: AtomicU64::new(floor), saved: AtomicU64::new(floor) })
    }

    /// The latest time that was seen.
    pub(crate) fn floor(&self) -> u64 {
        self.floor.load(Relaxed)
    }

    /// Now, by the machine's clock or by what is known, whichever is later.
    pub fn now(&self) -> u64 {
        self.at(clock())
    }

    pub(crate) fn at(&self, clock: u64) -> u64 {
        self.floor.fetch_max(clock, Relaxed).max(clock)
    }

    /// How far the machine's clock is behind, if that is more than a clock's usual error.
    pub fn clock_is_behind(&self) -> Option<Duration> {
        let behind = Duration::from_secs(self.now().saturating_sub(clock()));
        (behind > TOLERATED).then_some(behind)
    }

    /// Saves what is known, if that is a day later than what was saved.
    ///
    /// # Errors
    /// The file can't be written. Nothing is lost but knowledge.
    pub fn save(&self) -> Result<(), FileError> {
        let now = self.now();
        if now < self.saved.load(Relaxed).saturating_add(SAVE_EVERY.as_secs()) {
            return Ok(());
        }
        files::replace(&self.path, format!("{now}\n").as_bytes())?;
        self.saved.store(now, Relaxed);
        Ok(())
    }
}

fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    #[test]
    fn known_time_never_goes_back_and_outlives_the_hub() {
        let dir = tempfile::tempdir().unwrap();
        let time = KnownTime::load(dir.path()).unwrap();
        let future = clock() + 1_000_000;
        assert_eq!(time.at(future), future);
        assert_eq!(time.at(0), future);
        assert!(time.clock_is_behind().unwrap() > Duration::from_secs(900_000));
        time.save().unwrap();
        let again = KnownTime::load(dir.path()).unwrap();
        assert!(again.now() >= future);
    }

    #[test]
    fn a_damaged_file_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("known-time"), b"\xff\0rubbish").unwrap();
        let time = KnownTime::load(dir.path()).unwrap();
        assert!(time.now() >= clock() - 1);
        assert!(time.clock_is_behind().is_none());
    }
}
