//! TLS for ureq with the configuration of this device: ureq's own would bring the web's certificate authorities along.

use std::{
    io::{self, Read, Write},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use ureq::{
    Agent, Error,
    unversioned::{
        resolver::DefaultResolver,
        transport::{
            Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, TcpConnector,
            Transport, TransportAdapter,
        },
    },
};

use super::{BUFFER_BYTES, STEP_DEADLINE};

/// A client for one call.
pub(super) fn client(tls: Arc<ClientConfig>, deadline: Option<Duration>) -> Agent {
    let config = Agent::config_builder()
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
        .build();
    Agent::with_parts(
        config,
        TcpConnector::default().chain(TlsConnector(tls)),
        DefaultResolver::default(),
    )
}

/// Wraps TLS around what the connector before it made.
struct TlsConnector(Arc<ClientConfig>);

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = TlsTransport;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(transport) = chained else { return Ok(None) };
        let host = details.uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        // The verifier has the name that counts; this one is for who passes connections on by their name.
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        let mut conn =
            ClientConnection::new(self.0.clone(), name).map_err(std::io::Error::other)?;
        let mut sock = TransportAdapter::new(transport.boxed(), details.current_time.clone());
        sock.set_timeout(details.timeout);
        if let Err(error) = conn.complete_io(&mut sock) {
            return Err(said_by(&conn, error).into());
        }
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(TlsTransport { buffers, stream: StreamOwned { conn, sock } }))
    }
}

/// The error of a handshake. What was said before the other side had shown who it is may be said by anybody on the way: it
/// is no more than a connection that broke.
fn said_by(conn: &ClientConnection, error: io::Error) -> io::Error {
    let is_alert = matches!(
        error.get_ref().and_then(|error| error.downcast_ref()),
        Some(rustls::Error::AlertReceived(_))
    );
    match is_alert && conn.peer_certificates().is_none() {
        true => io::Error::new(io::ErrorKind::ConnectionAborted, error.to_string()),
        false => error,
    }
}

impl std::fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsConnector")
    }
}

struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.get_mut().set_timeout(timeout);
        self.stream.write_all(&self.buffers.output()[..amount])?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl std::fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsTransport")
    }
}
