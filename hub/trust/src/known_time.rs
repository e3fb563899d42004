//! The time by which certificates are issued and judged: never earlier than what was known before, whatever the
//! machine's clock says. A hub without a clock that is kept while it is off starts in 1970, and must not take every
//! certificate for one of the future, nor issue any that have ended already.
//!
//! What was said of the time can't be taken back: devices keep it, and certificates end by it. So a clock that is suddenly a
//! year ahead is not believed before the operator has said that it is right; time goes on without it until then.

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
/// A clock this far ahead of what is known is wrong, or the hub was off for very long.
const LEAP: Duration = Duration::from_secs(366 * 24 * 3600);
/// The first second of 2026: there was no hub before. A machine that has no clock while it is off counts from earlier times,
/// and what it knows then is nothing.
const BEGINNING: u64 = 1_767_225_600;

/// Known time. Seconds since 1970.
#[derive(Debug)]
pub struct KnownTime {
    path: PathBuf,
    known: Mutex<Known>,
    saved: AtomicU64,
}

/// How late it was at a moment.
#[derive(Clone, Copy, Debug)]
struct Known {
    unix_s: u64,
    at: Instant,
}

impl Known {
    fn now(&self, at: Instant) -> u64 {
        self.unix_s.saturating_add(at.saturating_duration_since(self.at).as_secs())
    }

    /// How far a clock is ahead, if that is more than it can be.
    fn leap(&self, clock: u64, at: Instant) -> Option<Duration> {
        let now = self.now(at);
        let ahead = Duration::from_secs(clock.saturating_sub(now));
        (now >= BEGINNING && ahead > LEAP).then_some(ahead)
    }

    /// A clock says that it is so late.
    fn read(&mut self, clock: u64, at: Instant) -> u64 {
        if self.leap(clock, at).is_none() && clock > self.now(at) {
            *self = Self { unix_s: clock, at };
        }
        self.now(at)
    }
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
        let unix_s = text.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let known = Mutex::new(Known { unix_s, at: Instant::now() });
        Ok(Self { path, known, saved: AtomicU64::new(unix_s) })
    }

    /// The operator says that the machine's clock is right, however far ahead it is: what is saved here says the same from
    /// now on.
    ///
    /// # Errors
    /// A file can't be read or written.
    pub fn accept_clock(dir: &Path) -> Result<(), FileError> {
        files::directory(dir)?;
        let now = Self::load(dir)?.floor().max(clock());
        files::replace(&dir.join(FILE), format!("{now}\n").as_bytes())
    }

    /// What is known without looking at the clock.
    pub(crate) fn floor(&self) -> u64 {
        self.known().unix_s
    }

    /// Now, by the machine's clock or by what is known, whichever is later, unless that clock has leapt.
    pub fn now(&self) -> u64 {
        self.at(clock())
    }

    pub(crate) fn at(&self, clock: u64) -> u64 {
        self.known().read(clock, Instant::now())
    }

    /// How far the machine's clock is behind, if that is more than a clock's usual error.
    pub fn clock_is_behind(&self) -> Option<Duration> {
        let behind = Duration::from_secs(self.now().saturating_sub(clock()));
        (behind > TOLERATED).then_some(behind)
    }

    /// How far the machine's clock is ahead, if it has leapt and is not believed.
    pub fn clock_has_leapt(&self) -> Option<Duration> {
        self.known().leap(clock(), Instant::now())
    }

    /// What the machine's clock says, in milliseconds since 1970; what is known if it has leapt.
    pub fn clock_ms(&self) -> u64 {
        match self.clock_has_leapt() {
            Some(_) => self.now().saturating_mul(1000),
            None => clock_ms(),
        }
    }

    /// The time to write down: the machine's clock to the millisecond, if it has not leapt, and never before what is known.
    pub fn written_ms(&self) -> u64 {
        self.clock_ms().max(self.now().saturating_mul(1000))
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

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // No code panics while it holds the lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn clock() -> u64 {
    clock_ms() / 1000
}

fn clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
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
        assert!((future..future + 60).contains(&time.at(future)));
        assert!((future..future + 60).contains(&time.at(0)));
        assert!(time.clock_is_behind().unwrap() > Duration::from_secs(900_000));
        time.save().unwrap();
        let again = KnownTime::load(dir.path()).unwrap();
        assert!(again.now() >= future);
    }

    /// Of a machine whose battery is empty, or whose time server is wrong; or that was off for years.
    #[test]
    fn a_clock_that_leaps_over_a_year_is_not_believed_and_time_goes_on_without_it() {
        const YEAR: u64 = 366 * 24 * 3600;
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut known = Known { unix_s: BEGINNING, at: start };
        assert_eq!(known.read(BEGINNING + YEAR, start), BEGINNING + YEAR);
        let (now, in_2099) = (known.unix_s, 4_070_908_800);
        assert_eq!(known.leap(in_2099, start), Some(Duration::from_secs(in_2099 - now)));
        assert_eq!(known.read(in_2099, start), now);
        assert_eq!(known.read(in_2099, after(600)), now + 600);
        assert_eq!(known.read(now + 601, after(600)), now + 601, "it is right again");
        assert_eq!(known.read(now + YEAR + 700, after(699)), now + YEAR + 700, "no leap by then");
        // Where nothing is known yet, any clock is better.
        for unix_s in [0, 300, BEGINNING - 1] {
            assert_eq!(Known { unix_s, at: start }.read(in_2099, start), in_2099);
        }
    }

    #[test]
    fn the_operator_can_say_that_a_clock_is_right() {
        let dir = tempfile::tempdir().unwrap();
        // What is known is long ago; this machine's clock is what it is.
        let long_ago = clock() - 2 * LEAP.as_secs();
        let known = Known { unix_s: long_ago, at: Instant::now() };
        assert_eq!(known.leap(clock(), known.at).is_some(), long_ago >= BEGINNING);
        std::fs::write(dir.path().join(FILE), format!("{long_ago}\n")).unwrap();
        KnownTime::accept_clock(dir.path()).unwrap();
        let time = KnownTime::load(dir.path()).unwrap();
        assert!(time.floor() >= clock() - 60 && time.clock_has_leapt().is_none());
        // It never goes back by that.
        let future = clock() + 1_000_000;
        std::fs::write(dir.path().join(FILE), format!("{future}\n")).unwrap();
        KnownTime::accept_clock(dir.path()).unwrap();
        assert_eq!(KnownTime::load(dir.path()).unwrap().floor(), future);
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
