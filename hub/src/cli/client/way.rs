//! The way to one hub: an HTTP client that encrypts, and gives up in time.

use std::time::Duration;

use ureq::{
    Agent,
    unversioned::{
        resolver::DefaultResolver,
        transport::{Connector, TcpConnector},
    },
};

use super::{Connection, tls::Tls};
use crate::cli::kubeconfig::KubeconfigError;

/// How long connecting to a machine that is up may take, with both sides' cryptography, on a slow one that is busy.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long the beginning of an answer may take. The hub itself gives up on its disk after 30 seconds.
const ANSWER_TIME: Duration = Duration::from_secs(40);

/// The way to a hub.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) agent: Agent,
    pub(super) connection: Connection,
}

impl Way {
    pub(super) fn new(connection: Connection) -> Result<Self, KubeconfigError> {
        let tls = Tls::new(&connection).map_err(|cause| KubeconfigError::Unusable {
            origin: connection.origin.clone(),
            cause,
        })?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIME))
            .timeout_recv_response(Some(ANSWER_TIME))
            .user_agent(concat!("lichen/", env!("CARGO_PKG_VERSION")))
            .build();
        let connector = ().chain(TcpConnector::default()).chain(tls);
        let agent = Agent::with_parts(config, connector, DefaultResolver::default());
        Ok(Self { agent, connection })
    }
}
