//! Who is at the far end of a connection of the API, as far as the connection itself tells: where from, and with which
//! verified certificate. It goes with every request of the connection.

use std::net::SocketAddr;

use lichen_trust::{ClientCertificate, Verified};

/// The far end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// What its certificate says, and the certificate itself; none if it showed none.
    pub(crate) certificate: Option<(ClientCertificate, Verified)>,
}
