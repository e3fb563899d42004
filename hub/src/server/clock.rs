//! The process's clocks, read in one place. The engine gets their readings as an argument; a clock that has leapt is not
//! shown to it, since what it says of the time can't be taken back.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use firmware_compat::time;
use lichen_hub_core::event::Now;
use lichen_trust::KnownTime;

/// Reads the clocks. Instants count from its making.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    started: Instant,
    time: Arc<KnownTime>,
}

impl Clock {
    pub(crate) fn start(time: Arc<KnownTime>) -> Self {
        Self { started: Instant::now(), time }
    }

    /// Both clocks, now.
    pub(crate) fn now(&self) -> Now {
        let instant = time::Instant::default() + self.started.elapsed();
        // What has ended stays so when the clock is set back.
        let unix_ms = self.time.written_ms();
        Now { instant, unix_ms }
    }

    /// The moment of tokio's clock at which an instant of the engine comes. A time beyond what the clock can express
    /// is as good as never.
    pub(crate) fn at(&self, instant: time::Instant) -> Option<tokio::time::Instant> {
        let at = self.started.checked_add(Duration::from_millis(instant.0))?;
        Some(tokio::time::Instant::from_std(at))
    }
}

/// Milliseconds since 1970; 0 if the machine's clock stands before that.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
