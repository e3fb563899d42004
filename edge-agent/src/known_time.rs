//! A time that has certainly passed: the newest that the hub has said and signed, and what has gone by since. A device's own
//! clock decides nothing; it may stand at 1970, and whoever can set it must not be able to make an expired certificate good.
//!
//! When it is raised and kept is decided in `lichen-agent-core`.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use firmware_compat::time::UnixMs;
use rustix::time::{ClockId, clock_gettime};

use crate::state::{StateDir, StateError};

/// A time that has certainly passed. Clones are one and the same.
#[derive(Clone, Debug)]
pub struct KnownTime(Arc<Mutex<Floor>>);

#[derive(Clone, Copy, Debug)]
struct Floor {
    /// What the hub has said.
    unix_ms: UnixMs,
    /// When, since the device's start.
    at: Duration,
}

impl KnownTime {
    /// The time that was kept in a state directory; 1970 if none was.
    ///
    /// # Errors
    /// Those of the system.
    pub fn load(state: &StateDir) -> Result<Self, StateError> {
        Ok(Self::from(state.time_floor()?))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_unix_ms(&self) -> UnixMs {
        self.floor().after(since_boot())
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn now_unix_s(&self) -> u64 {
        self.now_unix_ms() / 1000
    }

    /// The hub has said that it is so late. An earlier time than what is known changes nothing.
    pub fn raise(&self, unix_ms: UnixMs) {
        self.raise_at(unix_ms, since_boot());
    }

    /// Keeps what the hub said last, and not what has gone by since: the next thing that it says is newer than that.
    ///
    /// # Errors
    /// Those of the system.
    pub fn save(&self, state: &StateDir) -> Result<(), StateError> {
        let unix_ms = self.floor().unix_ms;
        state.set_time_floor(unix_ms)
    }

    fn raise_at(&self, unix_ms: UnixMs, at: Duration) {
        let mut floor = self.floor();
        if unix_ms > floor.after(at) {
            *floor = Floor { unix_ms, at };
        }
    }

    fn floor(&self) -> MutexGuard<'_, Floor> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<UnixMs> for KnownTime {
    /// Known since now.
    fn from(unix_ms: UnixMs) -> Self {
        Self(Arc::new(Mutex::new(Floor { unix_ms, at: since_boot() })))
    }
}

impl Floor {
    fn after(&self, at: Duration) -> UnixMs {
        let passed = at.saturating_sub(self.at).as_millis();
        self.unix_ms.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

/// On a clock that never goes back and counts while the device sleeps.
fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_by_itself_and_is_only_ever_raised() {
        let known = KnownTime::from(1_000_000);
        let start = known.floor().at;
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(known.floor().after(after(5)), 1_005_000);
        known.raise_at(1_004_000, after(5));
        assert_eq!(known.floor().after(after(5)), 1_005_000, "it is later than that already");
        known.raise_at(2_000_000, after(6));
        assert_eq!(known.floor().after(after(7)), 2_001_000);
        assert!(known.clone().now_unix_ms() >= 2_000_000 - 6_000, "clones are one");
        known.raise_at(u64::MAX, after(8));
        assert_eq!(known.floor().after(after(9)), u64::MAX);
    }

    #[test]
    fn what_the_hub_said_is_there_after_a_restart_and_what_went_by_since_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(dir.path()).expect("a state directory");
        assert!(KnownTime::load(&state).expect("readable").now_unix_s() < 60);
        let known = KnownTime::load(&state).expect("readable");
        known.raise(1_800_000_000_000);
        known.save(&state).expect("writable");
        assert_eq!(state.time_floor().expect("readable"), 1_800_000_000_000);
        assert!(KnownTime::load(&state).expect("readable").now_unix_s() >= 1_800_000_000);
    }
}
