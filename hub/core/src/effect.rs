//! Everything that the hub's engine can ask of its shell. Carried out in order; a turn's `Save` comes before all else,
//! and if it fails the shell must end the process: what memory holds is then no longer what the store holds.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt;

use firmware_compat::{
    frame::Kind as FrameKind,
    id::{AgentId, BootId, Hash},
};

use crate::{
    api::{ApiError, Key, Object},
    event::{ImageRequest, Listing, RequestId},
};

/// Do this.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Commit these records in one transaction, durably.
    Save(Vec<Record>),
    /// Answer a request.
    Reply {
        /// The request.
        id: RequestId,
        /// The answer.
        result: Result<Response, ApiError>,
    },
    /// Tell those who watch.
    Changed(Change),
    /// Publish a device's assignment head, retained.
    SetHead {
        /// The device.
        device: String,
        /// The frame.
        frame: Vec<u8>,
    },
    /// Forget a device's assignment head.
    ClearHead {
        /// The device.
        device: String,
    },
    /// Send a frame to a device, not retained.
    Send {
        /// The device.
        device: String,
        /// The topic's kind.
        kind: FrameKind,
        /// The frame.
        frame: Vec<u8>,
    },
    /// Send a frame to every device.
    SendAll {
        /// The topic's kind.
        kind: FrameKind,
        /// The frame.
        frame: Vec<u8>,
    },
    /// Let a device in that shows one of these keys (SHA-256 of the public key in its certificate).
    Admit {
        /// The device.
        device: String,
        /// The newest first.
        keys: Vec<Hash>,
    },
    /// End a device's session and keep it out.
    Dismiss {
        /// The device.
        device: String,
        /// What it is told.
        why: String,
    },
    /// End a device's session: it is nobody here, until it is admitted.
    Disown {
        /// The device.
        device: String,
    },
    /// Find or make what a device needs of an image, and answer with [`crate::event::Event::Supplied`].
    Supply(ImageRequest),
    /// A piece of a log, for the request that asked.
    LogPart {
        /// The request.
        id: RequestId,
        /// What came.
        part: LogPart,
    },
}

/// One record to write or, without a value, to remove.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Unique, ordered; UTF-8.
    pub key: String,
    /// Version byte and content. Not for everybody if [`crate::record::is_confidential`] says so of the key.
    pub value: Option<Vec<u8>>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}: {} bytes", self.key, value.len()),
            None => write!(f, "{}: nothing", self.key),
        }
    }
}

/// An object changed.
#[derive(Clone, Debug)]
pub struct Change {
    /// How.
    pub action: Action,
    /// The object after the change; before it, if deleted.
    pub object: Arc<Object>,
    /// Of this change; rises.
    pub resource_version: u64,
}

/// How an object changed. Kubernetes' words in a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is new.
    Added,
    /// It was there before.
    Modified,
    /// It is gone.
    Deleted,
}

/// A piece of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPart {
    /// Some bytes.
    Data(Vec<u8>),
    /// No more will come.
    End,
    /// The device could not go on; no more will come.
    Failed {
        /// CamelCase.
        reason: String,
        /// In words.
        message: String,
    },
}

/// A request's good answer.
#[derive(Clone, Debug)]
pub enum Response {
    /// The object as it is now. `created` tells 201 from 200.
    Object {
        /// The object.
        object: Arc<Object>,
        /// Whether it is new.
        created: bool,
    },
    /// The deleted object, as it was.
    Deleted(Arc<Object>),
    /// All of a kind.
    List(Listing),
    /// Why an object is as it is.
    Explanation(Vec<Line>),
    /// The log's parts follow.
    LogStarted,
    /// Names and digests of images.
    Images(Vec<Image>),
    /// Which agent holds a session, in which boot.
    Session(Option<(AgentId, BootId)>),
    /// Serial numbers of certificates that are worth nothing, each once.
    Revoked(Vec<Vec<u8>>),
    /// Who has which keys.
    TrustCounts(TrustCounts),
    /// A board may be a device of this name.
    Enrolled {
        /// The device's name.
        name: String,
    },
    /// A board has to wait until an operator has approved it.
    EnrolmentPending {
        /// The device's name.
        name: String,
    },
    /// Counters, for monitoring: name, value.
    Metrics(Vec<(&'static str, u64)>),
    /// Done.
    Done,
}

/// One line of an explanation.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Line {
    /// 0 for the subject, 1 and on for what it depends on.
    pub depth: u8,
    /// Whether all is well with it.
    pub good: bool,
    /// What is so, and what to do about it.
    pub text: String,
}

/// A name in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// `name:tag`.
    pub reference: String,
    /// Digest of its manifest or index.
    pub root: Hash,
    /// Workloads that refer to it, or of which Pods still run it.
    pub used_by: Vec<Key>,
}

/// Who has which of the hub's keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrustCounts {
    /// Devices that have a certificate.
    pub certificates: usize,
    /// Those of the CA that was asked for.
    pub of_authority: usize,
    /// Devices that were heard of.
    pub agents: usize,
    /// Those that know the newest signing key.
    pub with_newest_key: usize,
}
