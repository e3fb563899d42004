//! How a device watches over a container while it runs. Compiled once per form, see [`crate::v1`].

use serde::{Deserialize, Serialize};

use super::{List, Text, capacity};

/// What is asked of a container, and done at its start and end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervision {
    /// At most one for each purpose.
    pub probes: List<Probe, { capacity::PROBES }>,
    /// At most one for each moment.
    pub hooks: List<Hook, { capacity::HOOKS }>,
    /// An init container that runs along with the containers: Kubernetes' `restartPolicy: Always` of an init container.
    pub sidecar: bool,
    /// The file that it may leave a last word in; empty for `/dev/termination-log`.
    pub message_path: Text<{ capacity::MESSAGE_PATH }>,
    /// Whether the end of its log is its last word, if it failed and left no other.
    pub message_from_log: bool,
}

/// What a probe decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Purpose {
    /// Whether the container has come up. The others wait for it, and one that does not come up is started again.
    Startup,
    /// Whether the container is to be started again.
    Liveness,
    /// Whether the container is of use.
    Readiness,
}

/// A question that is asked again and again. Kubernetes' `Probe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What it decides.
    pub purpose: Purpose,
    /// How it is asked. Never [`Handler::Sleep`].
    pub action: Handler,
    /// Not before so many seconds after the container's start.
    pub initial_delay_s: u32,
    /// Every so many seconds.
    pub period_s: u32,
    /// Without an answer after so many seconds it has failed.
    pub timeout_s: u32,
    /// So many good answers in a row are needed.
    pub success_threshold: u32,
    /// So many bad answers in a row are needed.
    pub failure_threshold: u32,
    /// Time between the stop signal and the kill, in milliseconds, in place of the Pod's; 0 for the Pod's.
    pub grace_ms: u32,
}

/// When a hook is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Moment {
    /// Just after its start.
    PostStart,
    /// Before it is asked to stop.
    PreStop,
}

/// What is done at the start or the end of a container. Kubernetes' `LifecycleHandler`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// When.
    pub moment: Moment,
    /// What. Never [`Handler::Grpc`].
    pub action: Handler,
}

/// What is done for a probe or a hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handler {
    /// A program in the container: it must end with code 0.
    Exec {
        /// The program and its arguments.
        command: List<Text<{ capacity::ARGUMENT }>, { capacity::ARGUMENTS }>,
    },
    /// A GET by HTTP: the answer's status must be 200 to 399.
    HttpGet {
        /// Whom; empty for the Pod itself.
        host: Text<{ capacity::NAME }>,
        /// Where.
        port: u16,
        /// What, with a slash in front.
        path: Text<{ capacity::PATH }>,
        /// Over TLS. The certificate is not looked at.
        tls: bool,
        /// Sent along.
        headers: List<Header, { capacity::HEADERS }>,
    },
    /// A TCP connection, which must come about.
    TcpSocket {
        /// To whom; empty for the Pod itself.
        host: Text<{ capacity::NAME }>,
        /// Where.
        port: u16,
    },
    /// The protocol `grpc.health.v1`: the answer must be `SERVING`.
    Grpc {
        /// Where.
        port: u16,
        /// Which service; empty for the server as a whole.
        service: Text<{ capacity::NAME }>,
    },
    /// Nothing, for so long.
    Sleep {
        /// In seconds.
        seconds: u32,
    },
}

/// A header of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name.
    pub name: Text<{ capacity::HEADER_NAME }>,
    /// Its value.
    pub value: Text<{ capacity::HEADER_VALUE }>,
}
