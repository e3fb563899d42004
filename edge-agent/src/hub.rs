//! The hub's HTTP side: how to reach the broker, who holds a name, and artefacts.
//!
//! Every call blocks, on a thread that ends with the call, so that an idle agent holds no HTTP state. Answers are
//! untrusted: bounded, and checked before use. What to do about a failure is the core's business.

use std::{
    io::{self, Read},
    time::Duration,
};

use firmware_compat::{
    id::{AgentId, Hash},
    keys::PinnedHub,
};
use serde::{Deserialize, Serialize};
use ureq::{Body, http::Response};

use crate::{
    address::{Address, AddressError},
    pinned::{PinnedError, PinnedText},
};

mod download;

pub use download::download;

/// Largest JSON answer that is read.
const MAX_JSON: u64 = 16 * 1024;
/// How long a small call may take.
const CALL_DEADLINE: Duration = Duration::from_secs(20);
/// How long a connection, or the next bytes of a download, may take. A slow link is not a broken one.
const STEP_DEADLINE: Duration = Duration::from_secs(30);
/// Buffers of one connection; the defaults are ten times that.
const BUFFER_BYTES: usize = 16 * 1024;

/// Why a call to the hub failed.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Nobody there, or the connection broke.
    #[error("could not reach the hub at {url}: {cause}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What went wrong.
        cause: String,
    },
    /// The hub does not have it.
    #[error("the hub does not have {url}")]
    NotFound {
        /// What was asked for.
        url: String,
    },
    /// The hub answered with an error.
    #[error("the hub answered {url} with status {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The answer does not mean anything.
    #[error("the hub's answer to {url} is unusable: {cause}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The bytes are not those that were asked for.
    #[error("{url} is not what its name says: {cause}")]
    Corrupt {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Nobody wants it any more.
    #[error("cancelled")]
    Cancelled,
    /// The device could not keep it.
    #[error("could not store {what}: {source}")]
    Disk {
        /// The file.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
}

/// How to connect, as the hub tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Where the broker is.
    pub broker: Address,
    /// Who the hub is.
    pub hub: PinnedHub,
}

#[derive(Serialize, Deserialize)]
struct ConnectText {
    broker: String,
    #[serde(flatten)]
    hub: PinnedText,
}

/// Why a connect document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not JSON with `broker`, `lineage` and `signingKeys`.
    #[error("not {{\"broker\": …, \"lineage\": …, \"signingKeys\": […]}}: {0}")]
    Json(serde_json::Error),
    /// The broker's URL is not one.
    #[error("broker: {0}")]
    Broker(#[from] AddressError),
    /// It does not say who the hub is.
    #[error(transparent)]
    Hub(#[from] PinnedError),
}

impl Connect {
    /// Reads the JSON form.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn parse(text: &str) -> Result<Self, ConnectError> {
        let ConnectText { broker, hub } = serde_json::from_str(text).map_err(ConnectError::Json)?;
        Ok(Self { broker: Address::parse_broker(&broker)?, hub: hub.read()? })
    }

    /// Writes the JSON form.
    #[must_use]
    pub fn to_text(&self) -> String {
        let text = ConnectText { broker: self.broker.to_string(), hub: self.hub.into() };
        serde_json::to_string(&text).expect("texts encode")
    }
}

#[derive(Deserialize)]
struct SessionText {
    agent: Option<String>,
}

/// Asks how to connect.
///
/// # Errors
/// See [`HubError`].
pub fn connect(hub: &Address) -> Result<Connect, HubError> {
    let (url, text) = get_json(hub, "/lichen/v1/connect")?;
    Connect::parse(&text).map_err(|error| HubError::Answer { url, cause: error.to_string() })
}

/// Asks which agent is connected under a device's name; `None` if none is.
///
/// # Errors
/// See [`HubError`].
pub fn session(hub: &Address, device: &str) -> Result<Option<AgentId>, HubError> {
    let (url, text) = get_json(hub, &format!("/lichen/v1/devices/{device}/session"))?;
    let unusable = |cause: String| HubError::Answer { url: url.clone(), cause };
    let text: SessionText =
        serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
    let Some(agent) = text.agent else { return Ok(None) };
    match AgentId::parse(&agent) {
        Some(agent) => Ok(Some(agent)),
        None => Err(unusable(format!("agent {agent:?} is not 32 lower-case hex digits"))),
    }
}

fn get_json(hub: &Address, path: &str) -> Result<(String, String), HubError> {
    let url = format!("{hub}{path}");
    let mut response = get(&client(Some(CALL_DEADLINE)), &url, 0)?;
    refuse_errors(&response, &url)?;
    let mut text = String::new();
    let read = response.body_mut().as_reader().take(MAX_JSON).read_to_string(&mut text);
    read.map_err(|error| HubError::Answer { url: url.clone(), cause: error.to_string() })?;
    Ok((url, text))
}

fn client(deadline: Option<Duration>) -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .max_idle_connections(0)
        .input_buffer_size(BUFFER_BYTES)
        .output_buffer_size(BUFFER_BYTES)
        .user_agent(concat!("lichen-agent/", env!("CARGO_PKG_VERSION")))
        .timeout_global(deadline)
        .timeout_connect(Some(STEP_DEADLINE))
        .timeout_recv_response(Some(STEP_DEADLINE))
        .timeout_per_read(Some(STEP_DEADLINE))
        .build()
        .into()
}

/// Asks for `url` from byte `offset` on.
fn get(client: &ureq::Agent, url: &str, offset: u64) -> Result<Response<Body>, HubError> {
    let mut request = client.get(url);
    if offset > 0 {
        request = request.header("range", format!("bytes={offset}-"));
    }
    request
        .call()
        .map_err(|error| HubError::Unreachable { url: url.to_owned(), cause: error.to_string() })
}

fn refuse_errors(response: &Response<Body>, url: &str) -> Result<(), HubError> {
    let url = url.to_owned();
    match response.status().as_u16() {
        200 | 206 => Ok(()),
        404 => Err(HubError::NotFound { url }),
        status => Err(HubError::Status { url, status }),
    }
}

/// Where the hub serves an artefact.
fn artefact_url(hub: &Address, digest: &Hash) -> String {
    format!("{hub}/artefacts/sha256:{digest}")
}

#[cfg(test)]
mod tests {
    use firmware_compat::id::{Lineage, PublicKey};

    use super::*;

    #[test]
    fn the_connect_document_reads_back_as_it_was_written() {
        let text = format!(
            r#"{{"broker":"mqtt://127.0.0.1:1883","lineage":"{}","signingKeys":["{}"]}}"#,
            "0a".repeat(16),
            "0b".repeat(32)
        );
        let connect = Connect::parse(&text).expect("sound");
        assert_eq!(connect.hub.lineage, Lineage([10; 16]));
        assert_eq!(connect.hub.keys.oldest(), PublicKey([11; 32]));
        assert_eq!(connect.to_text(), text);
    }

    #[test]
    fn an_unusable_connect_document_says_what_is_wrong() {
        for (text, cause) in [
            ("", "not {"),
            (r#"{"broker":"mqtt://127.0.0.1"}"#, "lineage"),
            (r#"{"broker":"mqtt://127.0.0.1","lineage":""}"#, "signingKeys"),
            (r#"{"broker":"mqtt://10.1.1.1","lineage":"","signingKeys":[]}"#, "not this machine"),
            (
                r#"{"broker":"mqtt://127.0.0.1","lineage":"x","signingKeys":[]}"#,
                "32 lower-case hex digits",
            ),
        ] {
            let error = Connect::parse(text).expect_err(text).to_string();
            assert!(error.contains(cause), "{text}: {error}");
        }
    }
}
