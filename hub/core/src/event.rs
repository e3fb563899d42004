//! Everything that can happen to the hub's engine.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::fmt;

use firmware_compat::{
    frame::Kind as FrameKind,
    id::{AgentId, BootId, Hash},
    time::UnixMs,
    v1::owned::{Artefacts, WasmSupport},
};

use crate::{
    actor::Actor,
    api::{ApiError, Kind, Object},
    signing::Sign,
};

/// Names a request until its reply. Chosen by the shell; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Something happened.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "events are moved one at a time, not kept in bulk")]
pub enum Event {
    /// An operator or a program asks for something. Answered by exactly one [`crate::effect::Effect::Reply`].
    Request {
        /// Comes back with the reply.
        id: RequestId,
        /// Who asks.
        actor: Arc<Actor>,
        /// What is asked.
        request: Request,
    },
    /// A frame arrived on `lichen/1/<device>/up/<kind>`.
    Frame {
        /// From the topic; the broker lets no other device write there.
        device: String,
        /// From the topic.
        kind: FrameKind,
        /// Untrusted.
        bytes: Vec<u8>,
    },
    /// The link to the broker is there. Devices may have been missed meanwhile.
    LinkUp,
    /// The link to the broker broke.
    LinkDown {
        /// Why, for people.
        reason: String,
    },
    /// A device's session closed.
    Disconnected {
        /// Its name.
        device: String,
    },
    /// A second connection with a device's name replaced the first.
    TakenOver {
        /// The name.
        device: String,
    },
    /// A board has shown a certificate of this hub's, and is no device here: the hub was restored from a backup that does not
    /// know it, or it was forgotten.
    Stranger {
        /// The name in the certificate.
        device: String,
        /// SHA-256 of its public key.
        key: Hash,
        /// From where it came.
        address: String,
    },
    /// Two boards come with one device's name, key and agent id.
    TwoBoards {
        /// The name.
        device: String,
        /// The one that had the name last, and the one that came.
        boards: [Board; 2],
    },
    /// The link dropped a frame of a device, for the engine had no room for it.
    FramesLost {
        /// Its name.
        device: String,
    },
    /// Answer to [`crate::effect::Effect::Supply`].
    Supplied {
        /// The question, as it was asked.
        need: ImageRequest,
        /// What to put into the assignment, or why there is nothing.
        result: Result<Artefacts, ImageError>,
    },
    /// The hub's signing keys are other ones from now on: it changes its key, or has done so.
    Signer(Arc<dyn Sign>),
    /// Time passed: what the engine's `poll_timeout` asked for.
    Timeout,
}

/// A board as the link knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// Of its agent.
    pub agent: AgentId,
    /// Changes with every boot.
    pub boot: BootId,
    /// From where it connects, for people.
    pub address: String,
}

/// Which form of an image a device needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageRequest {
    /// Digest of the image's manifest or index.
    pub root: Hash,
    /// For whom.
    pub target: Platform,
}

/// For which kind of device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Platform {
    /// A container on this architecture (Kubernetes' name).
    Container {
        /// `amd64`, `arm64`, `arm`, `riscv64`.
        arch: String,
    },
    /// Wasm, compiled for this class and engine.
    Wasm(WasmSupport),
}

/// Why an image can't be supplied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageError {
    /// CamelCase: `ImageHasNoBuild`, `WasmRefused`, `CompileLimit`, `CompilerMissing`, `ArtefactMissing`.
    pub reason: String,
    /// In words, with the fix.
    pub message: String,
    /// Whether asking again later may help.
    pub retry: bool,
}

/// What an operator or a program asks for.
#[derive(Clone, Debug)]
pub enum Request {
    /// Create an object. Fails with `AlreadyExists`.
    Create(Object),
    /// Replace an object's metadata and spec. `resourceVersion`, if given, must be the current one. With `create`,
    /// an absent object is created.
    Replace {
        /// The whole object.
        object: Object,
        /// Whether absence is no error.
        create: bool,
    },
    /// Change an object as it is now: read, altered and stored in one step, so that no other change comes between.
    Alter {
        /// Its kind.
        kind: Kind,
        /// Its namespace, empty for kinds of the cluster.
        namespace: String,
        /// Its name.
        name: String,
        /// From the object to what it is to be.
        alter: Alter,
    },
    /// Delete a Pod whose containers have so many seconds to end, whatever its spec says.
    DeletePod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Seconds between the stop signal and the kill. With none, the Pod of a device that can't be heard is gone at once.
        grace_s: u64,
    },
    /// Delete an object.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its namespace, empty for kinds of the cluster.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Read one object. Tests ask; in a hub every read is answered by the watch cache.
    Get {
        /// Its kind.
        kind: Kind,
        /// Its namespace, empty for kinds of the cluster.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Read all objects of a kind. A hub fills its watch cache with this, once, and answers every list from there.
    List {
        /// The kind.
        kind: Kind,
        /// Only in this namespace.
        namespace: Option<String>,
    },
    /// Say why an object is as it is.
    Explain {
        /// Its kind: a workload, a Pod or a Node.
        kind: Kind,
        /// Its namespace, empty for kinds of the cluster.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Read the log of a container. Parts arrive as [`crate::effect::Effect::LogPart`].
    Logs {
        /// The Pod's namespace.
        namespace: String,
        /// The Pod's name.
        name: String,
        /// Which of its containers; `None` for its only one.
        container: Option<String>,
        /// Keep sending.
        follow: bool,
        /// Only so many lines from the end.
        tail: Option<u32>,
        /// The run before the current one.
        previous: bool,
        /// Times in front of the lines.
        timestamps: bool,
    },
    /// Nobody reads the log of this request any more.
    CancelLogs(RequestId),
    /// An image was pushed: this name now means this digest.
    NameImage {
        /// `name:tag`.
        reference: String,
        /// Digest of its manifest or index.
        root: Hash,
    },
    /// A name is to mean nothing any more.
    ForgetImage {
        /// `name:tag`.
        reference: String,
    },
    /// All names and digests of images.
    ListImages,
    /// Which board holds a device's session.
    Session {
        /// The device.
        device: String,
        /// Which board of it asks, if it says so.
        asker: Option<Board>,
    },
    /// A board asks to be a device of this hub.
    Enrol(EnrolRequest),
    /// A device asks for a new certificate.
    Renew(RenewRequest),
    /// A device has shown its key to the hub, and may come in with it.
    Shown {
        /// The device.
        device: String,
        /// SHA-256 of its public key.
        key: Hash,
    },
    /// A device's certificate was issued.
    Certified {
        /// The device.
        device: String,
        /// Until when it lasts, in milliseconds since 1970.
        not_after_ms: UnixMs,
        /// SHA-256 of the certificate of the CA that issued it.
        authority: Hash,
        /// Its serial number, big-endian.
        serial: Vec<u8>,
    },
    /// Which certificates of devices are worth nothing any more.
    ListRevoked,
    /// How many devices have certificates of a CA, and the newest signing key.
    CountTrust {
        /// SHA-256 of its certificate.
        authority: Hash,
    },
    /// Only one CA is believed from now on.
    OnlyAuthority {
        /// SHA-256 of its certificate.
        authority: Hash,
    },
    /// Let the hub take over a device whose assignment another or a newer hub wrote.
    Resume {
        /// The device.
        device: String,
    },
    /// Counters, for monitoring.
    Metrics,
}

/// What a board says when it asks to be a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolRequest {
    /// Its permission: name of the token, and SHA-256 of the secret.
    pub token: Option<(String, Hash)>,
    /// How it would be called.
    pub name: String,
    /// SHA-256 of its public key.
    pub key: Hash,
    /// The X25519 public key to which its secrets are to be sealed.
    pub sealing_key: Hash,
    /// The agent's id.
    pub agent: AgentId,
    /// Its serial number; empty if it knows none.
    pub serial_number: String,
    /// What it says that it is.
    pub model: String,
    /// From where it asks.
    pub address: String,
}

/// What a device says when it asks for a new certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewRequest {
    /// Its name, as its certificate says.
    pub device: String,
    /// SHA-256 of the public key in the certificate that it has.
    pub key: Hash,
    /// The same of the key that the new one is for.
    pub new_key: Hash,
    /// The X25519 public key to which its secrets are to be sealed.
    pub sealing_key: Hash,
    /// The agent's id.
    pub agent: AgentId,
}

/// From an object to what it is to be; a pure function of the object.
#[derive(Clone)]
pub struct Alter(Arc<AlterFn>);

type AlterFn = dyn Fn(&Object) -> Result<Object, ApiError> + Send + Sync;

impl Alter {
    /// A change by this function.
    pub fn new(
        alter: impl Fn(&Object) -> Result<Object, ApiError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(alter))
    }

    /// What an object is to be.
    ///
    /// # Errors
    /// Why it can't be changed so.
    pub fn apply(&self, object: &Object) -> Result<Object, ApiError> {
        (self.0)(object)
    }
}

impl fmt::Debug for Alter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alter")
    }
}

/// Every object of a list, at one resource version.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Ordered by namespace and name.
    pub objects: Vec<Arc<Object>>,
    /// Watch from here.
    pub resource_version: u64,
}

/// The shell's clocks, read when it calls the engine.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deciding.
    pub instant: firmware_compat::time::Instant,
    /// For people. What is said to devices of it never goes back.
    pub unix_ms: UnixMs,
}
