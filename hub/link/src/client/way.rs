//! Where the broker is and how the connection to it is protected. The owner is asked before each connection, so that a
//! certificate that was renewed, or an address that was learned meanwhile, counts from the next one on and no connection
//! that stands is dropped.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc};

use rustls::pki_types::ServerName;

/// One place where the broker may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A TCP port.
    Tcp {
        /// A host's name, or an address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A socket of this machine.
    Unix(PathBuf),
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// How one connection is made.
#[derive(Clone, Debug)]
pub struct Way {
    /// Tried in turn, the one that worked last first.
    pub places: Vec<Place>,
    /// Without it what is sent can be read on the way: for this machine alone.
    pub tls: Option<Tls>,
}

/// How a connection is protected. The configuration says who is believed, what this side shows, and the ALPN.
#[derive(Clone)]
pub struct Tls {
    /// Shared by connections that may resume each other's sessions.
    pub config: Arc<rustls::ClientConfig>,
    /// For the server to choose its certificate by; `None`: the host that is dialled.
    pub name: Option<ServerName<'static>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Says how the next connection is made.
#[derive(Clone)]
pub struct Route(Arc<dyn Fn() -> Way + Send + Sync>);

impl Route {
    /// Asks `way` before each connection. It must not block.
    pub fn new(way: impl Fn() -> Way + Send + Sync + 'static) -> Self {
        Self(Arc::new(way))
    }

    /// The same way each time.
    #[must_use]
    pub fn fixed(way: Way) -> Self {
        Self::new(move || way.clone())
    }

    /// One place, without TLS: for a broker of this machine.
    #[must_use]
    pub fn plain(place: Place) -> Self {
        Self::fixed(Way { places: vec![place], tls: None })
    }

    pub(super) fn way(&self) -> Way {
        (self.0)()
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Route")
    }
}
