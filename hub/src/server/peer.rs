//! Who is at the far end of a connection of the API, as far as the connection itself tells: where from, and with which
//! verified certificate. It goes with every request of the connection.

use std::net::SocketAddr;

use lichen_trust::ClientCertificate;

/// The far end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// What its certificate says; none if it showed none.
    pub(crate) certificate: Option<ClientCertificate>,
    /// In which era of the hub's trust the certificate was verified.
    pub(crate) era: u64,
}
