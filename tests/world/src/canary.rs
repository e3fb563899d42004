//! One behaviour broken on purpose, through a seam of the world, never by a switch in what ships: to show that the check
//! behind it can fail.

use firmware_compat::{
    frame::{self, Message, Stamp},
    id::{Generation, Hash, PodId},
    v1::owned::{
        Artefacts, Assignment, Blob, Bytes, Container, Head, Layer, List, Packing, Part, Phase,
        Pod, Resources, RestartPolicy, RuntimeClass, Text,
    },
};
use lichen_agent_core::{Down, Event, Up};
use sha2::{Digest, Sha256};

use crate::{Due, World, board::Wake, step::Step};

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// The hub's store says that it has committed, and has not.
    HubForgetsSaves,
    /// The agent's disk is not told to make durable what it writes.
    AgentSavesWithoutSync,
    /// An agent does not start before there is a network.
    AgentWaitsForTheHub,
    /// An agent does not start before its clock is right.
    AgentWaitsForTheTime,
    /// Every reconnect ends one process.
    ReconnectRestarts,
    /// A restarted agent takes what runs for lost.
    AgentForgetsWhatRuns,
    /// A start is carried out twice.
    ShellStartsTwice,
    /// A head names a generation that is lower than the one before.
    HubCountsDown,
    /// Devices do not tell a restored hub what they hold.
    RestoredHubIsNotTold,
    /// A device says everything a hundred times.
    AgentRepeatsItself,
    /// An agent's disk is written to every minute.
    AgentWritesWhenIdle,
    /// The hub commits every minute.
    HubSavesWhenIdle,
    /// The broker makes up an assignment, with a head to match.
    BrokerForges,
    /// The hub publishes every head a hundred times.
    HubRepeatsItself,
    /// Statuses lose their reasons on the way.
    ReasonsAreLost,
    /// A device never gets a head.
    HeadsAreSwallowed,
    /// Programs do not end, whatever is sent to them.
    StopsAreIgnored,
    /// The shell says that an init container has ended, and it still runs.
    InitEndsAreMadeUp,
}

impl Canary {
    /// Every one, the check that must notice it, and within how many seeds.
    pub const EVERY: [(Self, &'static str, u64); 18] = [
        (Self::HubForgetsSaves, "accepted-is-kept", 50),
        (Self::AgentSavesWithoutSync, "acknowledged-is-kept", 200),
        (Self::AgentWaitsForTheHub, "boots-offline", 200),
        (Self::AgentWaitsForTheTime, "time-blocks-nothing", 50),
        (Self::ReconnectRestarts, "no-restart-without-reason", 50),
        (Self::AgentForgetsWhatRuns, "no-restart-without-reason", 50),
        (Self::ShellStartsTwice, "no-pod-runs-twice", 50),
        (Self::HubCountsDown, "generations-rise", 50),
        (Self::RestoredHubIsNotTold, "restored-hub-pauses", 400),
        (Self::AgentRepeatsItself, "wire-budget", 50),
        (Self::AgentWritesWhenIdle, "quiet-hour-saves-nothing", 50),
        (Self::HubSavesWhenIdle, "quiet-hour-saves-nothing", 50),
        (Self::BrokerForges, "runs-only-what-was-assigned", 50),
        (Self::HubRepeatsItself, "bounds-hold", 50),
        (Self::ReasonsAreLost, "every-stop-has-a-reason", 50),
        (Self::HeadsAreSwallowed, "converges", 50),
        (Self::StopsAreIgnored, "deleted-is-gone", 50),
        (Self::InitEndsAreMadeUp, "init-containers-come-first", 50),
    ];

    /// What goes on after a history, where what is broken takes long to show: a restored hub must have made more
    /// generations than it had forgotten.
    #[must_use]
    pub fn epilogue(self) -> Vec<Step> {
        if self != Self::RestoredHubIsNotTold {
            return Vec::new();
        }
        let updates = (10..40).flat_map(|version| {
            let apply = format!("daemonset probe image=steady:1 version={version} tolerates");
            [Step::new(&apply, version), Step::new("pass 20s", version)]
        });
        let prologue = ["hub start", "weather", "hub disk-free", "broker up"];
        let prologue = prologue.map(|line| Step::new(line, 1));
        let plugs = ["a", "b", "c", "d", "e"];
        let plugs = plugs.map(|name| Step::new(&format!("plug {name}"), 1));
        prologue.into_iter().chain(plugs).chain(updates).collect()
    }
}

impl World {
    pub(crate) fn is(&self, canary: Canary) -> bool {
        self.canary == Some(canary)
    }

    /// Whether an agent may not start yet, because this canary holds it back; it is tried again.
    pub(crate) fn is_held_back(&mut self, board: usize) -> bool {
        let it = &self.boards[board];
        let clock_is_wrong = it.clock_off.unsigned_abs() > 86_400_000;
        let offline = !it.is_on_the_network() || !self.broker_listens();
        let held = self.is(Canary::AgentWaitsForTheTime) && clock_is_wrong
            || self.is(Canary::AgentWaitsForTheHub) && offline;
        if held {
            let life = it.life;
            self.at(300_000, Due::Board { board, life, wake: Wake::AgentStarts });
        }
        held
    }

    pub(crate) fn sabotage_head(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if !self.is(Canary::HubCountsDown) || !self.chance(30) {
            return bytes;
        }
        let Ok((stamp, mut head)) = frame::decode::<Head>(&bytes) else { return bytes };
        head.assignment.generation = Generation(head.assignment.generation.0.saturating_sub(1));
        frame::encode(&head, stamp).unwrap_or(bytes)
    }

    /// What reaches a board instead of what was sent. Empty: nothing does.
    pub(crate) fn sabotage_down(&mut self, board: usize, down: Down) -> Vec<Down> {
        match (down, self.canary) {
            (Down::Head(_), Some(Canary::HeadsAreSwallowed)) if board == 0 => Vec::new(),
            (Down::Head(head), Some(Canary::BrokerForges)) => forge(&head),
            (down, _) => vec![down],
        }
    }

    pub(crate) fn sabotage_up(&mut self, up: Up, stamp: Stamp, bytes: &mut Vec<u8>) -> Up {
        fn again<M: Message>(message: &M, stamp: Stamp, bytes: &mut Vec<u8>) {
            let version = bytes[0];
            *bytes = frame::encode(message, stamp).unwrap_or_default();
            bytes[0] = version;
        }
        match (up, self.canary) {
            (Up::Status(mut status), Some(Canary::ReasonsAreLost)) => {
                let mut pods = status.pods.to_vec();
                for pod in pods.iter_mut().filter(|i| i.phase != Phase::Running) {
                    pod.reason = Text::default();
                    pod.message = Text::default();
                }
                status.pods = List::try_from(pods).unwrap_or_default();
                again(&status, stamp, bytes);
                Up::Status(status)
            }
            (Up::Status(mut status), Some(Canary::RestoredHubIsNotTold)) => {
                status.assignment = None;
                again(&status, stamp, bytes);
                Up::Status(status)
            }
            (Up::Hello(mut hello), Some(Canary::RestoredHubIsNotTold)) => {
                hello.assignment = None;
                again(&*hello, stamp, bytes);
                Up::Hello(hello)
            }
            (up, _) => up,
        }
    }

    /// A minute of an idle world.
    pub(crate) fn sabotage_idleness(&mut self, minute: u64) {
        if self.is(Canary::AgentWritesWhenIdle)
            && let Some(board) = self.boards.first_mut()
        {
            let _full = board.disk.replace("time-floor", &minute.to_le_bytes());
        }
        if self.is(Canary::HubSavesWhenIdle) {
            let _saved = self.commit(0, &[]);
        }
    }

    /// The agent hears an event, as if it had happened.
    pub(crate) fn sabotage_feed(&mut self, board: usize, down: Down) {
        for down in self.sabotage_down(board, down) {
            self.feed(board, Event::Heard(down));
        }
    }
}

/// A head and a body that agree with each other, and that no hub made.
fn forge(head: &Head) -> Vec<Down> {
    let blob = Blob { digest: Hash([6; 32]), size: 6 };
    let layer = Layer { blob, packing: Packing::TarGzip };
    let container = Container {
        name: Text::cut("main"),
        reference: Text::cut("steady:666"),
        artefacts: Artefacts::Image {
            config: blob,
            layers: List::try_from(vec![layer]).unwrap_or_default(),
        },
        command: List::default(),
        args: List::default(),
        working_dir: Text::default(),
        env: List::default(),
        ports: List::default(),
        resources: Resources::default(),
        mounts: List::default(),
        read_only_root: false,
    };
    let pod = Pod {
        id: PodId([6; 16]),
        identity: Hash([6; 32]),
        namespace: Text::cut("default"),
        name: Text::cut("intruder"),
        hostname: Text::cut("intruder"),
        runtime_class: RuntimeClass::Container,
        init_containers: List::default(),
        containers: List::try_from(vec![container]).unwrap_or_default(),
        volumes: List::default(),
        restart: RestartPolicy::Always,
        grace_ms: 1000,
        host_network: false,
        after: List::default(),
    };
    let part = postcard::to_allocvec(&pod).unwrap_or_default();
    let hash_of_part = Hash(Sha256::digest(&part).into());
    let assignment = Assignment { pods: List::try_from(vec![hash_of_part]).unwrap_or_default() };
    let body = postcard::to_allocvec(&assignment).unwrap_or_default();
    let mut forged = head.clone();
    forged.assignment.hash = Hash(Sha256::digest(&body).into());
    forged.length = u32::try_from(body.len()).unwrap_or(0);
    let hash = forged.assignment.hash;
    let chunk = |hash: Hash, content: Vec<u8>| {
        let length = u32::try_from(content.len()).unwrap_or(0);
        let bytes = Bytes::try_from(content).unwrap_or_default();
        Down::Part(Part { hash, length, offset: 0, bytes })
    };
    vec![Down::Head(forged), chunk(hash, body), chunk(hash_of_part, part)]
}
