//! The two clocks: one that never goes back, to decide by; one that may be wrong, to show to people.

use std::time::{Instant as StdInstant, SystemTime};

use firmware_compat::time::{Instant, UnixMs};

/// The wall clock was set if it moved this much against the other one.
const SET_MS: u64 = 1000;

/// Both clocks of one agent.
#[derive(Debug)]
pub(super) struct Clock {
    start: StdInstant,
    /// What the wall clock would have read at the start, by its last reading.
    wall_at_start_ms: Option<UnixMs>,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { start: StdInstant::now(), wall_at_start_ms: None }
    }

    pub(super) fn now(&self) -> Instant {
        Instant(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// What the wall clock reads, if it was never read or was set since.
    pub(super) fn news(&mut self, now: Instant) -> Option<UnixMs> {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let wall_ms = wall.map_or(0, |wall| u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        self.compare(wall_ms, now)
    }

    /// What the wall clock reads, if it was not set since it was read last; none if it never was.
    pub(super) fn wall(&self, now: Instant) -> Option<UnixMs> {
        self.wall_at_start_ms.map(|at_start| at_start.saturating_add(now.0))
    }

    fn compare(&mut self, wall_ms: UnixMs, now: Instant) -> Option<UnixMs> {
        let at_start = wall_ms.saturating_sub(now.0);
        let moved = self.wall_at_start_ms.is_none_or(|before| before.abs_diff(at_start) >= SET_MS);
        if moved {
            self.wall_at_start_ms = Some(at_start);
        }
        moved.then_some(wall_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_is_news_once_and_when_it_was_set() {
        let mut clock = Clock::start();
        assert_eq!(clock.compare(5_000, Instant(0)), Some(5_000));
        assert_eq!(clock.compare(6_010, Instant(1_000)), None);
        assert_eq!(clock.compare(1_700_000_000_000, Instant(2_000)), Some(1_700_000_000_000));
        assert_eq!(clock.compare(1_700_000_001_000, Instant(3_000)), None);
        assert_eq!(clock.compare(1_600_000_000_000, Instant(3_000)), Some(1_600_000_000_000));
    }
}
