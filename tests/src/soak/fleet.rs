//! The programs of a soak: a hub, a broker, devices; and the parts of the Pods that run on them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use lichen_shim::RunDir;
use rustix::process::Signal;
use tempfile::TempDir;

use super::{Broker, leftovers, recorder, workloads};
use crate::{
    agent::Agent, footprint, hub::Hub, mosquitto::Mosquitto, process::signal,
    programs::workspace_program, samples::busybox_layout, wait::wait_until,
};

/// The devices, and the container runtime of each.
const DEVICES: [(&str, &str); 3] = [("alder", "runc"), ("birch", "crun"), ("cedar", "runc")];

/// Everything that a soak runs.
#[derive(Debug)]
pub struct Fleet {
    // First, so that they are dropped first: a device that ends before its hub says less in its log.
    /// The devices.
    pub agents: Vec<Agent>,
    /// The hub.
    pub hub: Hub,
    /// The broker, if it is not the hub's own.
    pub broker: Option<Mosquitto>,
    scratch: TempDir,
}

/// A Pod that runs on a device.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its id.
    pub uid: String,
    /// Its name.
    pub pod: String,
    /// Process id of its shim.
    pub shim: u32,
    /// Process id of its own first process, once it runs.
    pub process: Option<u32>,
}

impl Fleet {
    /// Starts everything, and waits until every device can run containers.
    ///
    /// # Panics
    /// If something does not start.
    #[must_use]
    pub fn start(broker: Broker) -> Self {
        let scratch = TempDir::with_prefix("lt-soak-").unwrap();
        let broker = (broker == Broker::Mosquitto).then(Mosquitto::start);
        let hub = broker.as_ref().map_or_else(Hub::start, Hub::start_beside);
        hub.cli().push(&busybox_layout(scratch.path()), workloads::BOX);
        hub.cli().push(&workloads::marker_module(scratch.path()), workloads::WASM);
        let agents = DEVICES.map(|(name, runtime)| {
            let dir = scratch.path().join(name);
            fs::create_dir_all(&dir).unwrap();
            let shim = recorder::install(&dir, &workspace_program("lichen-shim"));
            let mut agent = Agent::new(name, &hub).with_flags(&["--runtime", runtime]);
            agent.set_shim(shim);
            agent.start_again();
            agent
        });
        for (name, runtime) in DEVICES {
            wait_until(&format!("{runtime} works on {name}"), || {
                let node = hub.api().get(&format!("/api/v1/nodes/{name}")).unwrap_or_default();
                let runtimes = node["status"]["runtimes"].as_array().cloned().unwrap_or_default();
                let usable =
                    |class| runtimes.iter().any(|r| r["class"] == class && r["usable"] == true);
                if usable("crun") && usable("wasm") { Ok(()) } else { Err(format!("{runtimes:?}")) }
            });
        }
        Self { agents: agents.into(), hub, broker, scratch }
    }

    /// Where programs leave their marks.
    #[must_use]
    pub fn marks(&self) -> PathBuf {
        self.scratch.path().join("marks")
    }

    /// Where a device's recorder writes.
    #[must_use]
    pub fn records_of(&self, device: &str) -> PathBuf {
        self.scratch.path().join(device)
    }

    /// The devices' state directories.
    #[must_use]
    pub fn states(&self) -> Vec<PathBuf> {
        self.agents.iter().map(Agent::state).collect()
    }

    /// The Pods that run on a device, by its shims' command lines.
    #[must_use]
    pub fn running_on(&self, agent: &Agent) -> Vec<Running> {
        let state = fs::canonicalize(agent.state()).unwrap_or_else(|_| agent.state());
        let run = state.join("run");
        footprint::pids().into_iter().filter_map(|pid| running(pid, &run)).collect()
    }

    /// The process id of a `lichen-shim clean-up` on any of the devices.
    #[must_use]
    pub fn cleaning_up(&self) -> Option<u32> {
        let states = self.states();
        footprint::pids().into_iter().find(|pid| {
            let words = footprint::command_line(*pid);
            words.contains(" clean-up ")
                && states.iter().any(|state| words.contains(&*state.to_string_lossy()))
        })
    }
}

/// Reads `lichen-shim supervise RUN/POD/CONTAINER/ATTEMPT NAMESPACE/NAME/CONTAINER`.
fn running(pid: u32, run: &Path) -> Option<Running> {
    let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = words.split('\0').skip_while(|word| *word != "supervise").skip(1);
    let dir = Path::new(words.next()?);
    let pod = words.next()?.split('/').nth(1)?.to_owned();
    let uid = dir.strip_prefix(run).ok()?.iter().next()?.to_str()?.to_owned();
    let record = RunDir::open(dir).and_then(|run| run.pid()).ok().flatten();
    let process = record.and_then(|record| {
        let pid = u32::try_from(record.pid).ok()?;
        (footprint::start_ticks(pid) == Some(record.start_ticks)).then_some(pid)
    });
    Some(Running { uid, pod, shim: pid, process })
}

impl Drop for Fleet {
    /// Also what a broken build has left behind ends with the test.
    fn drop(&mut self) {
        let states = self.states();
        self.agents.clear();
        let marks = self.marks();
        let mut places: Vec<&Path> = states.iter().map(PathBuf::as_path).collect();
        places.push(&marks);
        for (pid, _) in leftovers::users(&places) {
            signal(pid, Signal::KILL);
        }
    }
}
