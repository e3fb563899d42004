//! What comes back when a request does not succeed, in the operator's words.

use std::io;

use lichen_hub_core::api::FieldError;
use serde_json::Value;

use super::Server;

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error(
        "no hub answers at {0}; start one with `lichen hub`, or name another with --server or LICHEN_SERVER"
    )]
    NoHub(Server),
    /// Something is in the way.
    #[error("could not reach the hub at {server}: {cause}; is --server (or LICHEN_SERVER) right?")]
    Unreachable {
        /// The hub's address.
        server: Server,
        /// What the system says.
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
    pub(super) fn from_ureq(server: &Server, url: &str, error: ureq::Error) -> Self {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, UnexpectedEof};
        let unreachable = |cause: String| Self::Unreachable { server: server.clone(), cause };
        match error {
            ureq::Error::ConnectionFailed => Self::NoHub(server.clone()),
            ureq::Error::Io(error) => match error.kind() {
                ConnectionRefused => Self::NoHub(server.clone()),
                ConnectionReset | ConnectionAborted | UnexpectedEof => {
                    Self::Broken { url: url.to_owned(), cause: error.to_string() }
                }
                _ => unreachable(error.to_string()),
            },
            ureq::Error::Timeout(_) => unreachable("it does not answer".to_owned()),
            ureq::Error::HostNotFound => unreachable("there is no such host".to_owned()),
            ureq::Error::Protocol(error) => {
                Self::Answer { url: url.to_owned(), cause: error.to_string() }
            }
            other => unreachable(other.to_string()),
        }
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
