//! How large everything is.

use std::time::Duration;

/// How large everything is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Hollow devices.
    pub devices: usize,
    /// Devices connect to a Mosquitto beside the hub instead of to the hub.
    pub mosquitto: bool,
    /// How long an idle hub is measured.
    pub idle: Duration,
    /// Containers that crash, one after another, so that their statuses can be weighed.
    pub crashes: usize,
    /// Watches that are open while something is applied to everything.
    pub watchers: usize,
    /// Replicas that the scheduler alone places, over `placement_devices`.
    pub placements: usize,
    /// Devices over which it places.
    pub placement_devices: usize,
    /// How long any step may take before it counts as failed.
    pub deadline: Duration,
    /// Whether figures are told as they come.
    pub tells: bool,
}

impl Plan {
    /// The usual sizes for so many devices.
    #[must_use]
    pub fn of(devices: usize) -> Self {
        Self {
            devices,
            mosquitto: false,
            idle: Duration::from_secs(60),
            crashes: devices.min(1_000),
            watchers: 100,
            placements: 100_000,
            placement_devices: 10_000,
            deadline: Duration::from_secs(300),
            tells: true,
        }
    }

    /// Small enough for `make test`.
    #[must_use]
    pub fn small() -> Self {
        Self {
            idle: Duration::from_millis(200),
            crashes: 5,
            watchers: 4,
            placements: 1_000,
            placement_devices: 100,
            deadline: Duration::from_secs(120),
            tells: false,
            ..Self::of(50)
        }
    }
}
