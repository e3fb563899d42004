//! One behaviour broken on purpose, through a seam of the world, never by a switch in what ships: to show that the check
//! behind it can fail.

use firmware_compat::frame::Stamp;
use lichen_agent_core::Up;

use crate::World;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// The hub's store says that it has committed, and has not.
    HubForgetsSaves,
    /// The agent's disk is not told to make what it writes durable.
    AgentSavesWithoutSync,
    /// An agent does not start before its clock is right.
    AgentWaitsForTheTime,
    /// Every reconnect ends one process.
    ReconnectRestarts,
    /// A restarted agent takes what runs for lost.
    AgentForgetsWhatRuns,
    /// A head names a generation that is lower than the one before.
    HubCountsDown,
    /// A restored hub hides from itself what devices hold.
    RestoredHubLooksAway,
    /// A device that can't connect tries without a pause.
    ReconnectsWithoutPause,
    /// Something is written to disk every minute.
    AgentWritesWhenIdle,
    /// The hub commits when nothing has happened.
    HubSavesWhenIdle,
    /// The broker puts a body of its own in place of the hub's, with a head to match.
    BrokerForgesBodies,
    /// What is gone from a device is never reported as gone.
    RemovalsAreSwallowed,
    /// Statuses lose their reasons on the way.
    ReasonsAreLost,
    /// One device never gets a head.
    HeadsAreSwallowed,
    /// A deleted instance is left running by the device's shell.
    StopsAreIgnored,
}

impl Canary {
    /// Every one, with the check that must notice it.
    pub const EVERY: [(Self, &'static str); 15] = [
        (Self::HubForgetsSaves, "accepted-is-kept"),
        (Self::AgentSavesWithoutSync, "acknowledged-is-kept"),
        (Self::AgentWaitsForTheTime, "time-blocks-nothing"),
        (Self::ReconnectRestarts, "no-restart-without-reason"),
        (Self::AgentForgetsWhatRuns, "no-restart-without-reason"),
        (Self::HubCountsDown, "generations-rise"),
        (Self::RestoredHubLooksAway, "restored-hub-pauses"),
        (Self::ReconnectsWithoutPause, "wire-budget"),
        (Self::AgentWritesWhenIdle, "quiet-hour-saves-nothing"),
        (Self::HubSavesWhenIdle, "quiet-hour-saves-nothing"),
        (Self::BrokerForgesBodies, "runs-only-what-was-assigned"),
        (Self::RemovalsAreSwallowed, "bounds-hold"),
        (Self::ReasonsAreLost, "every-stop-has-a-reason"),
        (Self::HeadsAreSwallowed, "converges"),
        (Self::StopsAreIgnored, "deleted-is-gone"),
    ];
}

impl World {
    pub(crate) fn sabotage_head(&mut self, _device: &str, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    pub(crate) fn sabotage_body(&mut self, _board: usize, _bytes: &mut Vec<u8>) {}

    pub(crate) fn sabotage_up(&mut self, up: Up, _stamp: Stamp, _bytes: &mut Vec<u8>) -> Up {
        up
    }
}
