//! A time that has certainly passed, for every thread that asks, by a clock that never goes back. What it is, and when it is
//! raised and kept, is decided in `lichen-agent-core` ([`lichen_agent_core::membership::known_time`]).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firmware_compat::time::{Instant, UnixMs};
use lichen_agent_core::membership::known_time::Floor;
use rustix::time::{ClockId, clock_gettime};

use crate::state::{StateDir, StateError};

/// A time that has certainly passed. Clones are one and the same.
#[derive(Clone, Debug)]
pub struct KnownTime(Arc<Mutex<Floor>>);

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
        self.floor().now_ms(since_boot())
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn now_unix_s(&self) -> u64 {
        self.now_unix_ms() / 1000
    }

    /// The hub has said that it is so late. An earlier time than what is known changes nothing.
    pub fn raise(&self, unix_ms: UnixMs) {
        self.floor().raise(unix_ms, since_boot());
    }

    /// Another hub is followed, which says that it is so late: what the former one said counts no more.
    pub fn begin_anew(&self, unix_ms: UnixMs) {
        *self.floor() = Floor::new(unix_ms, since_boot());
    }

    /// Keeps what the hub said last, and not what has gone by since: the next thing that it says is newer than that.
    ///
    /// # Errors
    /// Those of the system.
    pub fn save(&self, state: &StateDir) -> Result<(), StateError> {
        let unix_ms = self.floor().said_ms();
        state.set_time_floor(unix_ms)
    }

    fn floor(&self) -> MutexGuard<'_, Floor> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<UnixMs> for KnownTime {
    /// Known since now.
    fn from(unix_ms: UnixMs) -> Self {
        Self(Arc::new(Mutex::new(Floor::new(unix_ms, since_boot()))))
    }
}

/// On a clock that never goes back and counts while the device sleeps.
fn since_boot() -> Instant {
    let now = clock_gettime(ClockId::Boottime);
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    Instant(part(now.tv_sec).saturating_mul(1000) + part(now.tv_nsec) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_are_one_and_go_on_by_themselves() {
        let known = KnownTime::from(1_000_000);
        known.raise(2_000_000);
        let clone = known.clone();
        assert!((2_000_000..2_060_000).contains(&clone.now_unix_ms()));
        clone.raise(1_000);
        assert!(known.now_unix_ms() >= 2_000_000);
        clone.begin_anew(1_000);
        assert!((1_000..61_000).contains(&known.now_unix_ms()));
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
