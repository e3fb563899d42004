//! The time that has certainly passed: a floor that is kept on disk and only ever rises, and what went by since it was
//! raised. Certificates are judged by it. The device's own clock decides nothing: it may say 1970 or 2100.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use firmware_compat::time::UnixMs;
use rustls::{pki_types::UnixTime, time_provider::TimeProvider};

use crate::state::{StateDir, StateError};

/// Known time, shared by everything that looks at a certificate.
#[derive(Debug)]
pub struct KnownTime(Mutex<Floor>);

#[derive(Debug)]
struct Floor {
    unix_ms: UnixMs,
    since: Instant,
}

impl Floor {
    fn at(&self, now: Instant) -> UnixMs {
        let passed = now.saturating_duration_since(self.since).as_millis();
        self.unix_ms.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

impl KnownTime {
    /// At least so late it is.
    #[must_use]
    pub fn new(unix_ms: UnixMs) -> Self {
        Self(Mutex::new(Floor { unix_ms, since: Instant::now() }))
    }

    /// What was kept in a state directory; 1970 if nothing was.
    ///
    /// # Errors
    /// Those of the system.
    pub fn load(state: &StateDir) -> Result<Self, StateError> {
        Ok(Self::new(state.time_floor()?))
    }

    /// Keeps what is known.
    ///
    /// # Errors
    /// Those of the system.
    pub fn save(&self, state: &StateDir) -> Result<(), StateError> {
        state.set_time_floor(self.now_ms())
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> UnixMs {
        self.floor().at(Instant::now())
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn now_unix_s(&self) -> u64 {
        self.now_ms() / 1000
    }

    /// At least so late it is, says somebody who is believed. What is earlier than what is known changes nothing.
    pub fn raise(&self, unix_ms: UnixMs) {
        let now = Instant::now();
        let mut floor = self.floor();
        if unix_ms > floor.at(now) {
            *floor = Floor { unix_ms, since: now };
        }
    }

    fn floor(&self) -> MutexGuard<'_, Floor> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TimeProvider for KnownTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.now_ms())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_time_rises_goes_on_and_never_falls() {
        let time = KnownTime::new(5_000);
        assert!(time.now_ms() >= 5_000);
        time.raise(1_700_000_000_000);
        assert!(time.now_unix_s() >= 1_700_000_000);
        time.raise(1_600_000_000_000);
        assert!(time.now_unix_s() >= 1_700_000_000);
        let floor = Floor { unix_ms: 10, since: Instant::now() };
        assert_eq!(floor.at(floor.since + Duration::from_secs(3)), 3_010);
        let end = Floor { unix_ms: u64::MAX, since: floor.since };
        assert_eq!(end.at(floor.since + Duration::from_secs(3)), u64::MAX);
    }

    #[test]
    fn known_time_outlives_the_agent() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(dir.path()).expect("a state directory");
        assert!(KnownTime::load(&state).expect("readable").now_unix_s() < 10);
        let time = KnownTime::new(1_700_000_000_000);
        time.save(&state).expect("writable");
        assert!(KnownTime::load(&state).expect("readable").now_unix_s() >= 1_700_000_000);
    }
}
