//! One behaviour broken on purpose, through a seam of the world, never by a switch in what ships: to show that the check
//! behind it can fail.

use firmware_compat::{
    frame::{self, Kind, Message, Stamp},
    id::Generation,
    v1::owned::{Action, Command, Head, List, Phase, Text},
};
use lichen_agent_core::Up;

use crate::{Due, World, board::Wake, broker::Packet, step::Step};

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
    /// The shell starts another Pod than it is told to.
    ShellStartsAnother,
    /// An agent's check says that every signature is its hub's.
    AgentBelievesAnyone,
    /// An agent draws the same number for each of its connections.
    SessionsAreAllAlike,
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
    /// The hub's seals hide nothing.
    NothingIsSealed,
    /// The hub's shell does not tell its endpoint whom to keep out.
    RevocationsAreNotHeard,
    /// An agent's shell does not call for a new certificate.
    RenewalsAreForgotten,
    /// The hub does not take a certificate that has ended for a new one.
    GraceIsForgotten,
    /// An agent that is kept out stops what it runs.
    KeptOutStopsWork,
    /// Every board says the same boot.
    BootsAreAllAlike,
    /// The hub's shell does not tell its engine of a copied card.
    CopiesAreNotTold,
    /// What hands over the hub's new keys is lost.
    KeysAreSwallowed,
    /// A device says that it knows the hub's keys, whichever it knows.
    DeafnessIsNotTold,
    /// Statuses say of what runs that it has ended well.
    EndsAreMadeUp,
    /// Operators delete the Nodes of devices that still run, and did not mean it.
    NodesAreDeletedInError,
    /// The data of a claim goes with the Pod that had it.
    ClaimsGoWithPods,
}

impl Canary {
    /// Every one, the check that must notice it, and within how many seeds.
    pub const EVERY: [(Self, &'static str, u64); 32] = [
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
        (Self::ShellStartsAnother, "runs-only-what-was-assigned", 50),
        (Self::AgentBelievesAnyone, "hub-alone-is-heard", 50),
        (Self::SessionsAreAllAlike, "hub-alone-is-heard", 50),
        (Self::HubRepeatsItself, "bounds-hold", 50),
        (Self::ReasonsAreLost, "every-stop-has-a-reason", 50),
        (Self::HeadsAreSwallowed, "converges", 50),
        (Self::StopsAreIgnored, "deleted-is-gone", 50),
        (Self::InitEndsAreMadeUp, "init-containers-come-first", 50),
        (Self::NothingIsSealed, "secrets-stay-sealed", 50),
        (Self::RevocationsAreNotHeard, "revoked-stays-out", 200),
        (Self::RenewalsAreForgotten, "expired-renews-and-returns", 200),
        (Self::GraceIsForgotten, "expired-renews-and-returns", 200),
        (Self::KeptOutStopsWork, "work-needs-no-certificate", 200),
        (Self::BootsAreAllAlike, "one-board-has-the-name", 200),
        (Self::CopiesAreNotTold, "two-boards-are-told", 200),
        (Self::KeysAreSwallowed, "new-keys-are-handed-over", 200),
        (Self::DeafnessIsNotTold, "unknown-key-is-told", 400),
        (Self::EndsAreMadeUp, "job-counts-once", 200),
        (Self::NodesAreDeletedInError, "one-pod-of-a-name", 50),
        (Self::ClaimsGoWithPods, "claimed-data-stays", 200),
    ];

    /// The beginning of a step without which a history can't show anything. Drawing is cheap, running is not.
    #[must_use]
    pub fn needs(self) -> &'static str {
        match self {
            Self::RestoredHubIsNotTold => "hub restore",
            Self::RevocationsAreNotHeard => "revoke",
            Self::RenewalsAreForgotten | Self::GraceIsForgotten | Self::KeptOutStopsWork => {
                "certificates"
            }
            Self::BootsAreAllAlike | Self::CopiesAreNotTold => "clone",
            Self::KeysAreSwallowed | Self::DeafnessIsNotTold => "hub drop-key",
            Self::EndsAreMadeUp => "job",
            Self::ClaimsGoWithPods => "set",
            _ => "",
        }
    }

    /// What goes on after a history, where what is broken takes long to show: a restored hub must have made more
    /// generations than it had forgotten, and a broker must repeat a command in a later connection.
    #[must_use]
    pub fn epilogue(self) -> Vec<Step> {
        const BOARDS: [&str; 5] = ["a", "b", "c", "d", "e"];
        let of_each = |verb: &str| BOARDS.map(|name| verb.replace('*', name));
        let lines: Vec<String> = match self {
            Self::RestoredHubIsNotTold => (10..40)
                .flat_map(|version| {
                    let set = format!("daemonset probe image=steady:1 version={version} tolerates");
                    [set, "pass 20s".to_owned()]
                })
                .collect(),
            Self::SessionsAreAllAlike => {
                let apply = "daemonset probe image=steady:1 version=1 tolerates".to_owned();
                let logs = ["pass 5m"].iter().chain(&["logs"; 20]).chain(&["pass 1m"]);
                let logs = logs.map(|line| (*line).to_owned());
                let replays = (0..20).flat_map(|_| of_each("forge * replayed"));
                let closed = of_each("close *").into_iter().chain(["pass 5m".to_owned()]);
                [apply].into_iter().chain(logs).chain(closed).chain(replays).collect()
            }
            Self::NodesAreDeletedInError => {
                let set = ["set db replicas=2 version=1", "pass 5m"].map(str::to_owned);
                set.into_iter().chain(of_each("retire *")).collect()
            }
            _ => return Vec::new(),
        };
        let prologue = ["hub start", "weather", "hub disk-free", "broker up"].map(str::to_owned);
        let lines = prologue.into_iter().chain(of_each("plug *")).chain(lines);
        lines.zip(1..).map(|(line, salt)| Step::new(&line, salt)).collect()
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

    /// Whether a frame is lost on its last step.
    pub(crate) fn is_swallowed(&self, board: usize, packet: &Packet) -> bool {
        let hands_over = || {
            let command = frame::decode::<Command>(&packet.bytes);
            command.is_ok_and(|(_, command)| matches!(command.action, Action::Keys { .. }))
        };
        self.is(Canary::HeadsAreSwallowed) && board == 0 && packet.kind == Kind::Head
            || self.is(Canary::KeysAreSwallowed) && hands_over()
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
            (Up::Status(mut status), Some(Canary::EndsAreMadeUp)) => {
                let mut pods = status.pods.to_vec();
                for pod in pods.iter_mut().filter(|i| i.phase == Phase::Running) {
                    (pod.phase, pod.reason) = (Phase::Succeeded, Text::cut("Completed"));
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
            (Up::Hello(mut hello), Some(Canary::DeafnessIsNotTold)) => {
                let keys: Vec<_> = crate::trust::keys(&self.hubs[0].keys).ids().collect();
                hello.keys = List::try_from(keys).unwrap_or_default();
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
}
