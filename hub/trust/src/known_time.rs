//! The time by which certificates are issued and judged: never earlier than what was known before, whatever the
//! machine's clock says. A hub without a clock that is kept while it is off starts in 1970, and must not take every
//! certificate for one of the future, nor issue any that have ended already. Where the clock went back, known time goes on
//! by itself: if it stood still, every certificate would be issued with the same end.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
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
    /// The latest time that was seen, and when.
    floor: Mutex<(u64, Instant)>,
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
        Ok(Self { path, floor: Mutex::new((floor, Instant::now())), saved: AtomicU64::new(floor) })
    }

    /// The latest time that was seen.
    pub(crate) fn floor(&self) -> u64 {
        self.floor.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// Now, by the machine's clock or by what is known, whichever is later.
    pub fn now(&self) -> u64 {
        self.at(clock(), Instant::now())
    }

    fn at(&self, clock: u64, now: Instant) -> u64 {
        // No code panics while it holds the lock.
        let mut floor = self.floor.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, at) = *floor;
        let carried_on = seen.saturating_add(now.saturating_duration_since(at).as_secs());
        if clock >= carried_on {
            *floor = (clock, now);
        }
        clock.max(carried_on)
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
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(time.at(future, now), future);
        assert_eq!(time.at(0, now), future);
        assert_eq!(time.at(0, after(90)), future + 90, "it goes on by itself");
        assert_eq!(time.at(future + 30, after(90)), future + 90);
        assert_eq!(time.at(future + 91, after(90)), future + 91);
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
