//! Why a link could not be started. Once it runs, trouble is reported as [`crate::LinkEvent::Down`].

use std::{io, net::SocketAddr};

/// Why a link could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Another program listens on the address.
    #[error(
        "could not listen for devices on {address}: the port is in use; stop the program that holds it (perhaps \
         another hub) or choose another address with --devices"
    )]
    AddressInUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("could not listen for devices on {address}; choose another address with --devices")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There are no threads to serve devices with.
    #[error("could not start the threads that serve devices")]
    Threads(#[source] io::Error),
}
