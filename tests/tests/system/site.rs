//! The smallest installation: one hub, one device, and modules to run.

use lichen_tests::{
    agent::Agent,
    api::{Api, Pod},
    cli::Cli,
    footprint::Footprint,
    hub::Hub,
    mosquitto::Mosquitto,
    samples,
    wait::wait_until,
};

/// The device's name.
pub const DEVICE: &str = "pi";

/// A hub and a connected device. The hub knows the image `hello:1`.
pub struct Site {
    // First, so that it is dropped first: a device that ends before its hub says less in its log.
    pub agent: Agent,
    pub hub: Hub,
}

impl Site {
    /// With the embedded broker.
    pub fn new() -> Self {
        Self::around(Hub::start())
    }

    /// With an operator's broker.
    pub fn beside(mosquitto: &Mosquitto) -> Self {
        Self::around(Hub::start_beside(mosquitto))
    }

    /// Around a hub.
    pub fn around(hub: Hub) -> Self {
        hub.cli().push(&samples::hello_module(), "hello:1");
        Self { agent: Agent::start(DEVICE, &hub), hub }
    }

    pub fn api(&self) -> Api {
        self.hub.api()
    }

    pub fn cli(&self) -> Cli {
        self.hub.cli()
    }

    /// Deploys one Pod of the greeting module, and waits until it runs.
    pub fn run_hello(&self, name: &str) -> Pod {
        self.api().apply("deployments", &samples::wasm_deployment(name, "hello:1", 1));
        self.api().until_one_runs(name)
    }

    /// The process id of a Pod.
    pub fn pid_of(&self, pod: &Pod) -> u32 {
        self.agent.pid_of(&pod.uid).unwrap_or_else(|| panic!("{} runs", pod.name))
    }

    /// Waits until nothing is left of these Pods: no directory, process, mount or cgroup.
    pub fn until_nothing_is_left(&self, pods: &[String]) {
        until_nothing_is_left(&self.agent, pods);
    }
}

/// Waits until nothing is left of these Pods on a device but its agent.
pub fn until_nothing_is_left(agent: &Agent, pods: &[String]) {
    wait_until("the device is clean", || {
        let footprint = agent.footprint_with(pods);
        let Footprint { mounts, cgroups, .. } = &footprint;
        let clean = agent.processes().is_empty() && mounts.is_empty() && cgroups.is_empty();
        let dirs = agent.pods();
        if clean && dirs.is_empty() { Ok(()) } else { Err(format!("{footprint:#?} {dirs:?}")) }
    });
}

/// The numbers that a counting program has printed after its name.
pub fn counted(log: &str, name: &str) -> Vec<u64> {
    let prefix = format!("{name}: ");
    log.lines().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok()).collect()
}

/// Asserts that a program has counted from 1 without a gap or a repetition.
pub fn assert_no_gap(log: &str, name: &str) {
    let numbers = counted(log, name);
    assert!(!numbers.is_empty(), "{log}");
    for (number, expected) in numbers.iter().zip(1..) {
        assert_eq!(*number, expected, "{log}");
    }
}
