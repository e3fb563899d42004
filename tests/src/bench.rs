//! The benchmarks: each measures one thing on real processes and gives rows of a table. Nothing fails on a slow machine.
//!
//! - [`start`]: sizes on disk, and the hub's start.
//! - [`latency`]: from `apply` to running, and to a changed Pod serving.
//! - [`idle`]: memory, bytes on the network and bytes on disk of an installation that has nothing to do.
//! - [`many`]: memory and the boot of a device with many Pods.
//! - [`tls`]: handshakes, and the bytes by which a device is back.
//! - [`figures`]: medians, and the table.

pub mod figures;
pub mod idle;
pub mod latency;
pub mod many;
pub mod start;
pub mod tls;
pub mod traffic;

use std::time::Duration;

use crate::{agent::Agent, api::Api, hub::Hub, samples, wait::wait_within};

/// How much to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Workloads that are applied, one after another.
    pub rounds: usize,
    /// Workloads that are changed, one after another.
    pub updates: usize,
    /// Between two of these: an agent bundles what it reports when there is much of it.
    pub pause: Duration,
    /// Starts of the hub.
    pub starts: usize,
    /// Power cuts of a device.
    pub boots: usize,
    /// Devices of the idle installation.
    pub devices: usize,
    /// How long the idle installation settles before it is measured.
    pub settle: Duration,
    /// How long it is measured.
    pub idle: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            rounds: 100,
            updates: 20,
            pause: Duration::from_secs(1),
            starts: 20,
            boots: 10,
            devices: 10,
            settle: Duration::from_secs(30),
            idle: Duration::from_secs(180),
        }
    }
}

/// A hub that knows a quiet module and a quiet container, and one device.
#[derive(Debug)]
pub struct Bench {
    /// The device.
    pub agent: Agent,
    /// The hub.
    pub hub: Hub,
    /// Why containers can't be measured here.
    pub no_containers: Option<String>,
}

/// The device's name.
pub const DEVICE: &str = "pi";
/// The image of a module that does nothing, for ever.
pub const QUIET: &str = "quiet:1";
/// The image of busybox.
pub const BUSYBOX: &str = "busybox:1";

impl Bench {
    /// Starts both, and pushes the images.
    #[must_use]
    pub fn start() -> Self {
        Self::around(|hub| Agent::start_with(DEVICE, hub, &["--runtime", "runc"]))
    }

    /// Starts a hub, and a device that the caller makes.
    pub fn around(device: impl FnOnce(&Hub) -> Agent) -> Self {
        let hub = Hub::start_quietly();
        let module = samples::quiet_module(hub.scratch());
        hub.cli().push(&module, QUIET);
        let agent = device(&hub);
        let mut no_containers = why_no_containers(&hub.api());
        if no_containers.is_none() {
            match samples::try_busybox_layout(hub.scratch()) {
                Ok(layout) => drop(hub.cli().push(&layout, BUSYBOX)),
                Err(error) => no_containers = Some(error),
            }
        }
        Self { agent, hub, no_containers }
    }
}

/// Waits for the device's word on containers.
fn why_no_containers(api: &Api) -> Option<String> {
    wait_within(Duration::from_secs(60), "the device has tried its runtimes", || {
        let node = api.get(&format!("/api/v1/nodes/{DEVICE}")).unwrap_or_default();
        let runtimes = node["status"]["runtimes"].as_array().cloned().unwrap_or_default();
        let of_containers: Vec<_> = runtimes.iter().filter(|r| r["class"] == "crun").collect();
        match of_containers.iter().find(|r| r["usable"] == true).or(of_containers.first()) {
            Some(runtime) if runtime["usable"] == true => Ok(None),
            Some(runtime) => Ok(Some(runtime["reason"].as_str().unwrap_or("unusable").to_owned())),
            None => Err(format!("{runtimes:?}")),
        }
    })
}
