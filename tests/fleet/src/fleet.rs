//! All hollow devices, on one tokio runtime.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use firmware_compat::{
    id::AgentId,
    v1::owned::{Hello, Label, Runtime as Engine, RuntimeClass, Text},
};
use lichen_agent::{
    identity::IdentityDir,
    join::Invitation,
    known_time::KnownTime,
    membership::Membership,
    message::{CAPACITY, Message, Sender},
    options::{KEEP_ALIVE, Options},
    probe,
    state::StateDir,
};
use tokio::{runtime::Runtime, sync::mpsc, task::AbortHandle};

use crate::{
    device::{Device, Identity},
    joining::Newcomers,
    machine::{Counts, Machine},
};

/// Devices of one site: what the label `lichen.dev/site` says.
const SITE: usize = 100;
/// Threads for calls to the hub's HTTP side, which block. Real devices have one each; fewer than this would hold a storm
/// up, because the hub answers many calls in one turn.
const CALLS: usize = 256;
/// The device that keeps its assignments on a real disk.
pub const WITH_A_DISK: usize = 0;
/// How long the tasks may take to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// A running fleet. Dropping it breaks every connection off.
#[derive(Debug)]
pub struct Fleet {
    runtime: Option<Runtime>,
    devices: Vec<Handle>,
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct Handle {
    machine: Arc<Machine>,
    messages: Sender,
    task: AbortHandle,
}

/// Devices that have joined, and are off.
#[derive(Debug)]
pub struct Joined {
    hellos: Vec<Hello>,
    members: Vec<Membership>,
    disk: StateDir,
}

impl Joined {
    /// Lets all devices join. One of them has its disk in `disk`.
    ///
    /// # Errors
    /// The hub does not take them, or the disk can't be used.
    pub fn join(devices: usize, invitation: &Invitation, disk: &Path) -> Result<Self, String> {
        let disk = StateDir::open(disk).map_err(|error| error.to_string())?;
        let pattern = hello();
        let hellos: Vec<Hello> = (0..devices).map(|number| individual(&pattern, number)).collect();
        let newcomers =
            Newcomers { invitation, time: KnownTime::from(0), dir: IdentityDir::of(&disk) };
        let members = newcomers.join(&hellos)?;
        Ok(Self { hellos, members, disk })
    }
}

impl Fleet {
    /// Switches all devices on at once.
    ///
    /// # Errors
    /// The threads can't be started.
    pub fn start(joined: Joined) -> Result<Self, String> {
        let Joined { hellos, members, disk } = joined;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(CALLS)
            .thread_name("fleet")
            .enable_all()
            .build()
            .map_err(|error| format!("could not start the fleet's threads: {error}"))?;
        let counts = Arc::new(Counts::default());
        let mut disk = Some(disk);
        let devices =
            hellos.into_iter().zip(members).enumerate().map(|(number, (hello, member))| {
                let identity = Identity { hello, membership: Arc::new(member) };
                let (messages, received) = mpsc::channel(CAPACITY);
                let disk = disk.take_if(|_| number == WITH_A_DISK);
                let machine = Arc::new(disk.map_or_else(Machine::default, Machine::with_disk));
                // Booted on the runtime: a device may start tasks from then on.
                let device = Device::boot(
                    identity,
                    number as u64,
                    machine.clone(),
                    counts.clone(),
                    messages.clone(),
                );
                let task = runtime.spawn(device.run(received)).abort_handle();
                Handle { machine, messages, task }
            });
        let devices = devices.collect();
        Ok(Self { runtime: Some(runtime), devices, counts })
    }

    /// How many devices there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// What they have done.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Connections that came up, ever.
    #[must_use]
    pub fn connects(&self) -> usize {
        self.counts.connects.load(Relaxed)
    }

    /// Containers that were started, ever.
    #[must_use]
    pub fn starts(&self) -> usize {
        self.counts.starts.load(Relaxed)
    }

    /// Containers that run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.counts.running.load(Relaxed)
    }

    /// Bytes that were written to the one real disk, ever.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.devices.get(WITH_A_DISK).map_or(0, |device| device.machine.written())
    }

    /// Ends a container on a device as a crash would. Whether one ran there.
    #[must_use]
    pub fn crash(&self, device: usize) -> bool {
        let Some(handle) = self.devices.get(device) else { return false };
        let event = handle.machine.crash_one(&self.counts);
        event.is_some_and(|event| handle.messages.blocking_send(Message::Happened(event)).is_ok())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.devices.iter().for_each(|device| device.task.abort());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(FAREWELL);
        }
    }
}

/// A device's name.
#[must_use]
pub fn name(number: usize) -> String {
    format!("device-{number}")
}

/// What an agent on this machine would say of itself, with a container runtime that is not there.
fn hello() -> Hello {
    let options = Options {
        state: Path::new("/").to_owned(),
        labels: Vec::new(),
        runtime: None,
        keep_alive: KEEP_ALIVE,
        adopt_hub: false,
        drain_on_exit: false,
        shim: Path::new("/").to_owned(),
        wasm_program: Path::new("/").to_owned(),
    };
    let mut hello = probe::hello(&options, AgentId([0; 16]));
    let engine = Engine {
        runtime_class: RuntimeClass::Container,
        name: Text::cut("hollow"),
        version: Text::cut("1"),
        usable: true,
        limits_enforced: true,
        reason: Text::default(),
    };
    hello.runtimes.push(engine).expect("a device names more than two runtimes");
    hello
}

fn individual(pattern: &Hello, number: usize) -> Hello {
    let mut hello = pattern.clone();
    hello.agent.0[..8].copy_from_slice(&(number as u64 + 1).to_le_bytes());
    let site = format!("site-{}", number / SITE);
    let label = Label { key: Text::cut("lichen.dev/site"), value: Text::cut(&site) };
    hello.labels.push(label).expect("a device takes more than one label");
    hello
}
