//! The listener that devices connect to. It accepts, and hands each connection to a task of its own; nothing that a
//! connection does or leaves undone holds up the next one.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    connection::{self, Shared},
    identity::Credential,
    limits::{ACCEPT_PAUSE, BACKLOG, OVERFLOW, SHUTDOWN_TIMEOUT},
    paced::Paced,
};
use crate::LinkError;

/// Listens for devices.
pub(crate) fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), LinkError> {
    let bind = || -> io::Result<(TcpListener, SocketAddr)> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let actual = listener.local_addr()?;
        Ok((listener, actual))
    };
    bind().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => LinkError::AddressInUse { address },
        _ => LinkError::Listen { address, source },
    })
}

/// Accepts until it is told to stop; then tells every device so and closes.
pub(crate) async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let refused = Paced::default();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_ended) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(_) if connections.len() >= shared.limit + OVERFLOW => {
                shared.turn_away();
            }
            Ok((stream, remote)) => {
                connections.spawn(serve_one(stream, remote, shared.clone()));
            }
            // Its far end has left before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if refused.is_due() {
                    tracing::warn!(%error, "could not accept a connection of a device");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    shared.registry.shut_down();
    // Whoever has not come in yet, or does not listen, is cut off.
    let _cut_off = timeout(SHUTDOWN_TIMEOUT, shared.registry.until_empty()).await;
}

async fn serve_one(stream: TcpStream, remote: SocketAddr, shared: Arc<Shared>) {
    // Messages are written whole; waiting for more only delays them. Refusal changes nothing else.
    let _slower = stream.set_nodelay(true);
    connection::serve(stream, remote, Credential::Loopback, shared).await;
}
