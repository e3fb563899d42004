//! What the hub asks to be done once, and the answers. Compiled once per form, see [`crate::v1`].

use serde::{Deserialize, Serialize};

use super::{Bytes, List, Text, capacity};
use crate::id::{Lineage, PodId, PublicKey};

/// Something that one device is to do once. Signed, and bound to one connection of the device: the frame's session is the
/// one that the device drew for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Of the hub's store.
    pub lineage: Lineage,
    /// Given by the hub, each greater than the one before; every part of the answer carries it. A repeated id is carried
    /// out once.
    pub id: u64,
    /// What to do.
    pub action: Action,
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Send the log of a container.
    Logs {
        /// Which Pod.
        pod: PodId,
        /// Which of its containers or init containers; empty if it has one container.
        container: Text<{ capacity::NAMESPACE }>,
        /// Keep sending new lines until cancelled.
        follow: bool,
        /// Only so many lines from the end.
        tail: Option<u32>,
        /// The run before the current one: Kubernetes' `previous`.
        previous: bool,
        /// Put the time in front of each line.
        timestamps: bool,
    },
    /// End an earlier command.
    Cancel {
        /// The earlier command's id.
        command: u64,
    },
    /// Say hello and report in full, at once. The report is the answer.
    Report,
    /// Know the hub by these keys from now on, in place of all others. A hello that names them is the answer.
    Keys {
        /// Newest first.
        keys: List<PublicKey, { capacity::SIGNING_KEYS }>,
    },
    /// Give the containers of a Pod so long to end, whatever its spec says, when an assignment is without it.
    Grace {
        /// Which Pod.
        pod: PodId,
        /// Time between the stop signal and the kill, in milliseconds.
        grace_ms: u32,
    },
}

/// Part of the answer to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The command's id.
    pub command: u64,
    /// 0 for the first part, rising by one.
    pub part: u32,
    /// What this part says.
    pub outcome: Outcome,
}

/// What a part of an answer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Some bytes of the answer.
    Data(Bytes<{ capacity::CHUNK }>),
    /// The answer is complete.
    Done,
    /// The command can't be carried out.
    Failed {
        /// CamelCase reason.
        reason: Text<{ capacity::REASON }>,
        /// In words.
        message: Text<{ capacity::MESSAGE }>,
    },
}
