//! The listener that devices connect to, in front of the broker.
//!
//! Why the broker does not listen itself, each from a failing probe of rmqtt 0.24: it closes a connection before it
//! writes the DISCONNECT that says why, so that a replaced client never learns of it; it waits for a CONNECT for ever;
//! and its TLS is tied to another cryptography library than ours. The front closes what stays silent, hands the rest to
//! a [`super::pipe`], which says why, and is where TLS will end.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    connect::Connect,
    pipe::{self, Knock},
    sessions::Sessions,
};
use crate::{LinkError, event::Reporter};

/// Connections that the system completes before we accept them: every device at once, after a hub's restart.
pub(crate) const BACKLOG: i32 = 4096;
/// Connections at once. The loopback ports towards the broker are the scarcest part of one.
pub(crate) const MAX_CONNECTIONS: usize = 24_000;
/// Connections that have not sent their CONNECT.
const MAX_SILENT: usize = 4096;
/// How long a connection may take to send its CONNECT.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after the system refused to accept, for want of file descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Listens for devices.
pub(crate) fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), LinkError> {
    let bind = || -> io::Result<(TcpListener, SocketAddr)> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG.unsigned_abs())?;
        let actual = listener.local_addr()?;
        Ok((listener, actual))
    };
    bind().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => LinkError::AddressInUse { address },
        _ => LinkError::Listen { address, source },
    })
}

/// What every connection's task needs.
#[derive(Clone)]
pub(crate) struct Front {
    /// Where the broker listens.
    pub(crate) broker: SocketAddr,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) reporter: Reporter,
}

impl Front {
    /// Accepts until it is dropped, and then closes every connection.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let silent = Arc::new(Semaphore::new(MAX_SILENT));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                Some(_ended) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((device, remote)) => {
                    let Ok(permit) = silent.clone().try_acquire_owned() else { continue };
                    if connections.len() >= MAX_CONNECTIONS {
                        tracing::warn!(%remote, limit = MAX_CONNECTIONS, "closed a connection: there are too many");
                        continue;
                    }
                    let front = self.clone();
                    connections.spawn(async move {
                        let knock = timeout(CONNECT_TIMEOUT, read_connect(device, remote)).await;
                        drop(permit);
                        front
                            .let_in(
                                knock.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
                                remote,
                            )
                            .await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn let_in(self, knock: io::Result<Knock>, remote: SocketAddr) {
        let ended = match knock {
            Ok(knock) => pipe::carry_both_ways(knock, self).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::debug!(%remote, %error, "a connection came to nothing");
        }
    }
}

async fn read_connect(device: TcpStream, remote: SocketAddr) -> io::Result<Knock> {
    device.set_nodelay(true)?;
    let mut bytes = Vec::new();
    let connect = loop {
        match Connect::parse(&bytes) {
            Ok(Some(connect)) => break connect,
            Ok(None) => {}
            Err(why) => return Err(io::Error::new(io::ErrorKind::InvalidData, why)),
        }
        device.readable().await?;
        pipe::read_available(&device, &mut bytes)?;
    };
    // Its sender may have given up meanwhile, and a CONNECT that reaches the broker after the sender's next one would
    // replace that.
    pipe::read_available(&device, &mut bytes)?;
    Ok(Knock { device, remote, connect, bytes })
}
