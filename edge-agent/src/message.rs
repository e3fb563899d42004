//! What the agent's tasks tell its one loop. The channel is bounded, and the loop itself never waits on it.

use firmware_compat::{id::PodId, v1::owned::Reply};
use lichen_agent_core::{ContainerId, Event};
use tokio::sync::{mpsc, oneshot};

use crate::runtime::{Containers, Ready};

/// Messages on their way to the loop. Tasks wait when it is full; the loop empties it faster than any of them fills it.
pub const CAPACITY: usize = 64;

/// The tasks' end of the channel.
pub type Sender = mpsc::Sender<Message>;

/// Something for the loop.
#[derive(Debug)]
pub enum Message {
    /// For the core, as it is.
    Happened(Event),
    /// A new connection stands; its frames carry this session.
    LinkUp {
        /// Which client of the link.
        client: u32,
        /// Drawn for this connection.
        session: u32,
    },
    /// The connection ended, or an attempt failed.
    LinkDown {
        /// Which client of the link.
        client: u32,
        /// Another connection with this name took its place.
        taken_over: bool,
        /// One of both sides does not want the other.
        refused: bool,
        /// In words.
        why: String,
    },
    /// The certificate was renewed, or the hub has moved: the next connection may be made now.
    MembershipChanged,
    /// The container runtimes were looked for and tried.
    Probed(Containers),
    /// Trying the container runtimes takes long: the link shall not wait for it.
    ProbeIsSlow,
    /// Somebody on the device asks.
    Asked {
        /// What.
        question: crate::local::Question,
        /// Told the text.
        answer: oneshot::Sender<String>,
    },
    /// How much is left of the device, and how long it took to see.
    Measured {
        /// What is left.
        measured: lichen_agent_core::event::Measured,
        /// The time.
        took: std::time::Duration,
    },
    /// A container is ready to be started.
    Prepared {
        /// Of which Pod.
        pod: PodId,
        /// Which container.
        container: ContainerId,
        /// What its shim is to run.
        ready: Box<Ready>,
    },
    /// Part of an answer, to be sent when the link has room. The answer says whether it was.
    Reply {
        /// The part.
        reply: Reply,
        /// Told true once it was handed to the link, false if there is none.
        sent: oneshot::Sender<bool>,
    },
}
