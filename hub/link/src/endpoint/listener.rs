//! The listener that devices connect to. It accepts, and hands each connection to a task of its own; nothing that a
//! connection does or leaves undone holds up the next one.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use firmware_compat::enrolment::ALPN_HTTP;
use rustix::net::sockopt::set_ipv6_v6only;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    connection::{self, Shared},
    doors::{NoPlace, Place, Source},
    handshake, http,
    identity::Credential,
    limits::{ACCEPT_PAUSE, BACKLOG, SHUTDOWN_TIMEOUT},
    paced::Paced,
};
use crate::LinkError;

/// Listens for devices. Every address of this machine (`[::]`) means those of IPv4 too, and those of IPv4 alone where
/// there is no IPv6.
pub(crate) fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), LinkError> {
    let bound = match bind(address) {
        Err(error) if address.ip().is_unspecified() && is_without_ipv6(&error) => {
            bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        bound => bound,
    };
    bound.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => LinkError::AddressInUse { address },
        _ => LinkError::Listen { address, source },
    })
}

fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        let socket = TcpSocket::new_v6()?;
        set_ipv6_v6only(&socket, false)?;
        socket
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let actual = listener.local_addr()?;
    Ok((listener, actual))
}

/// Whether a socket could not be had or bound for lack of IPv6: it is not in the kernel, or switched off.
fn is_without_ipv6(error: &io::Error) -> bool {
    let unsupported = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    error.raw_os_error() == Some(unsupported) || error.kind() == io::ErrorKind::AddrNotAvailable
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
            Ok((stream, remote)) => {
                let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
                match shared.doors.knock(Source::of(remote.ip())) {
                    Ok(place) => {
                        connections.spawn(serve_one(stream, remote, place, shared.clone()));
                    }
                    Err(NoPlace::Full) => shared.turn_away(),
                    Err(NoPlace::Crowded) => shared.turn_away_one_of_many(remote),
                }
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
    shared.guestbook.shut_down();
    // Whoever has not come in yet, or does not listen, is cut off.
    let all_gone = async {
        shared.registry.until_empty().await;
        shared.guestbook.until_empty().await;
    };
    let _cut_off = timeout(SHUTDOWN_TIMEOUT, all_gone).await;
}

/// One connection, from its first byte to its end. Each stage has memory of its own, and only while it lasts: most of the
/// time there is an idle session and nothing else.
async fn serve_one(stream: TcpStream, remote: SocketAddr, place: Place, shared: Arc<Shared>) {
    // Messages are written whole; waiting for more only delays them. Refusal changes nothing else.
    let _slower = stream.set_nodelay(true);
    let shaken = Box::pin(handshake::shake(stream, remote, &place, &shared)).await;
    let Some(tls) = shaken else { return };
    let credential = Credential::of(tls.certificate());
    let serving: Pin<Box<dyn Future<Output = ()> + Send>> = if tls.protocol() == Some(ALPN_HTTP) {
        Box::pin(http::serve(tls, remote, credential, place, shared))
    } else {
        Box::pin(connection::serve(tls, remote, credential, place, shared))
    };
    serving.await;
}
