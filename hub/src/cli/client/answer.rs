//! What comes back when a request does not succeed, in the operator's words.

use std::{
    io,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use lichen_hub_core::api::{FieldError, time::rfc3339};
use rustls::AlertDescription;
use serde_json::Value;

use super::{Connection, Credentials, Distrust, Server};
use crate::cli::kubeconfig::KubeconfigError;

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It is not known which hub is meant, or what it takes to reach it.
    #[error(transparent)]
    Kubeconfig(Arc<KubeconfigError>),
    /// Nobody listens there.
    #[error(
        "no hub answers at {server} ({origin}); start one with `lichen hub`, or name another with --context or --server"
    )]
    NoHub {
        /// The hub's address.
        server: Server,
        /// Where that was read.
        origin: String,
    },
    /// Something is in the way.
    #[error("could not reach the hub at {server} ({origin}): {cause}; is that the right address?")]
    Unreachable {
        /// The hub's address.
        server: Server,
        /// Where that was read.
        origin: String,
        /// What the system says.
        cause: String,
    },
    /// Something listens there that does not encrypt.
    #[error(
        "what answers at {0} does not speak TLS; is it a Lichen hub, and its port for operators?"
    )]
    NotTls(Server),
    /// It can't be known that it is the hub that is meant.
    #[error(
        "the hub at {server} is not believed to be the one of {origin}: {distrust}; {}",
        fix(server, distrust)
    )]
    Distrusted {
        /// The hub's address.
        server: Server,
        /// Where its authority was read.
        origin: String,
        /// What is wrong with what it shows.
        distrust: Box<Distrust>,
    },
    /// The hub does not take the client's certificate.
    #[error(
        "the hub at {server} does not take the client certificate of {origin} ({cause}); log in again: \
         lichen login {} --token TOKEN", server.authority()
    )]
    CertificateRefused {
        /// The hub's address.
        server: Server,
        /// Where the certificate was read.
        origin: String,
        /// The hub's answer.
        cause: String,
    },
    /// The hub does not know who is asking.
    #[error("the hub at {server} does not know who is asking ({message}): {cause}; log in again: \
             lichen login {} --token TOKEN", server.authority())]
    Unknown {
        /// The hub's address.
        server: Server,
        /// Its words.
        message: String,
        /// What is known of the credentials.
        cause: String,
    },
    /// It stopped in the middle.
    #[error("the connection to the hub broke while reading {url}: {cause}")]
    Broken {
        /// What was asked.
        url: String,
        /// What the system says.
        cause: String,
    },
    /// The answer means nothing.
    #[error("the answer to {url} can't be used: {cause}; is it a Lichen hub?")]
    Answer {
        /// What was asked.
        url: String,
        /// What is wrong.
        cause: String,
    },
    /// The hub says no.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// A hub's no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// The HTTP status.
    pub code: u16,
    /// Kubernetes' reason: `NotFound`, `Invalid`…
    pub reason: String,
    /// In words.
    pub message: String,
    /// The kind that `NotFound` is about, as a plural.
    pub about: String,
    /// The fields that can't be taken.
    pub causes: Vec<FieldError>,
}

impl Refused {
    /// Reads Kubernetes' `Status`, the registry's errors, or whatever it is.
    #[must_use]
    pub fn read(code: u16, bytes: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let causes = value["details"]["causes"].as_array().into_iter().flatten();
        let errors = value["errors"].as_array().into_iter().flatten();
        let messages: Vec<&str> = errors
            .filter_map(|error| error["message"].as_str())
            .filter(|m| !m.is_empty())
            .collect();
        let message = match value["message"].as_str() {
            Some(message) => message.to_owned(),
            None if !messages.is_empty() => messages.join("; "),
            None => format!("the hub answered with HTTP status {code}"),
        };
        Self {
            code,
            reason: text(&value["reason"]),
            message,
            about: text(&value["details"]["kind"]),
            causes: causes
                .map(|c| FieldError::new(text(&c["field"]), text(&c["message"])))
                .collect(),
        }
    }
}

impl ClientError {
    pub(super) fn from_ureq(connection: &Connection, url: &str, error: ureq::Error) -> Self {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
        let (server, origin) = (connection.server.clone(), connection.origin.clone());
        match error {
            ureq::Error::ConnectionFailed => Self::NoHub { server, origin },
            ureq::Error::Io(error) => match error.kind() {
                ConnectionReset | ConnectionAborted | UnexpectedEof => {
                    Self::Broken { url: url.to_owned(), cause: error.to_string() }
                }
                _ => Self::from_io(&server, &origin, error),
            },
            ureq::Error::Timeout(_) => {
                Self::Unreachable { server, origin, cause: "it does not answer".to_owned() }
            }
            ureq::Error::HostNotFound => {
                Self::Unreachable { server, origin, cause: "there is no such host".to_owned() }
            }
            ureq::Error::Protocol(error) => {
                Self::Answer { url: url.to_owned(), cause: error.to_string() }
            }
            other => Self::Unreachable { server, origin, cause: other.to_string() },
        }
    }

    pub(super) fn from_io(server: &Server, origin: &str, error: io::Error) -> Self {
        let (server, origin) = (server.clone(), origin.to_owned());
        match (tls(&error), error.kind()) {
            (Some(error), _) => Self::from_tls(server, origin, error),
            (None, io::ErrorKind::ConnectionRefused) => Self::NoHub { server, origin },
            (None, io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
                Self::Unreachable { server, origin, cause: "it does not answer".to_owned() }
            }
            (None, _) => Self::Unreachable { server, origin, cause: error.to_string() },
        }
    }

    fn from_tls(server: Server, origin: String, error: &rustls::Error) -> Self {
        if let Some(distrust) = Distrust::of(error) {
            return Self::Distrusted { server, origin, distrust: Box::new(distrust) };
        }
        match error {
            rustls::Error::InvalidMessage(_) => Self::NotTls(server),
            rustls::Error::AlertReceived(alert) if is_of_certificate(*alert) => {
                let cause = format!("its answer is {alert:?}");
                Self::CertificateRefused { server, origin, cause }
            }
            other => Self::Unreachable { server, origin, cause: other.to_string() },
        }
    }

    /// A 401, with what is known of the credentials on this side.
    pub(super) fn unknown(connection: &Connection, refused: &Refused) -> Self {
        let Connection { server, origin, credentials, .. } = connection;
        let cause = match credentials {
            Credentials::Nobody => format!("{origin} has no credentials"),
            Credentials::Token(_) => format!("the token of {origin} is not good, or no longer"),
            Credentials::Certificate(own) => match own.not_after() {
                Some(end) if end <= now() => {
                    let end = rfc3339(end.saturating_mul(1000));
                    format!("the client certificate of {origin} has ended at {end}")
                }
                _ => format!("the client certificate of {origin} is not good, or no longer"),
            },
        };
        Self::Unknown { server: server.clone(), message: refused.message.clone(), cause }
    }

    /// Whether every other request would end in the same way.
    #[must_use]
    pub fn is_of_connection(&self) -> bool {
        !matches!(self, Self::Broken { .. } | Self::Answer { .. } | Self::Refused(_))
    }

    /// Whether the named object is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.code == 404)
    }

    /// Whether the version to watch from is too old.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.code == 410)
    }
}

/// What the TLS library says, if the error is its own.
fn tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// Alerts that are about what the client has shown of itself.
fn is_of_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied
    )
}

fn fix(server: &Server, distrust: &Distrust) -> String {
    let login = format!("lichen login {}", server.authority());
    match distrust {
        Distrust::Stranger { .. } => format!("if the hub was set up anew: {login} --token TOKEN"),
        Distrust::Name { wanted, .. } => {
            format!(
                "log in again: {login} --token TOKEN; or start the hub with --advertise {wanted}"
            )
        }
        Distrust::Ended { .. } => {
            "is this machine's clock right? A hub renews its certificate while it runs".to_owned()
        }
        Distrust::Other(_) => "is it a Lichen hub?".to_owned(),
    }
}

/// Seconds since 1970, by this machine's clock.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
