//! The listener that devices connect to, and the pipe from each of them to the broker behind it.
//!
//! Why the broker does not listen itself, each from a failing probe of rmqtt 0.24: it closes a connection before it
//! writes the DISCONNECT that says why, so that a replaced client never learns of it; it waits for a CONNECT for ever;
//! and its TLS is tied to another cryptography library than ours. The front says why, closes what stays silent, and is
//! where TLS will end.
//!
//! An idle connection costs a task and two sockets here, no buffers.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    identity::Credential,
    sessions::{Peer, Phase, Sessions},
};
use crate::LinkError;

/// Connections that the system completes before we accept them: every device at once, after a hub's restart.
pub(crate) const BACKLOG: i32 = 4096;
/// Connections at once. The loopback ports towards the broker are the scarcest part of one.
pub(crate) const MAX_CONNECTIONS: usize = 24_000;
/// Connections that have not sent their CONNECT.
const MAX_SILENT: usize = 4096;
/// How long a connection may take to send its CONNECT.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest CONNECT: names, a will with its frame, some properties.
const MAX_CONNECT_BYTES: usize = 4096;
/// Bytes moved at once. Allocated only while there are any.
const CHUNK_BYTES: usize = 16 * 1024;
/// A device that takes no bytes for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the broker may take to end a session whose connection has closed, and to say why.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take to read why it is being closed.
const LINGER: Duration = Duration::from_secs(1);
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

/// Accepts until it is dropped, and then closes every connection.
pub(crate) async fn serve(listener: TcpListener, broker: SocketAddr, sessions: Arc<Sessions>) {
    let silent = Arc::new(Semaphore::new(MAX_SILENT));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((device, remote)) => {
                    let Ok(permit) = silent.clone().try_acquire_owned() else { continue };
                    if connections.len() >= MAX_CONNECTIONS {
                        tracing::warn!(%remote, limit = MAX_CONNECTIONS, "closed a connection: there are too many");
                        continue;
                    }
                    let sessions = sessions.clone();
                    connections.spawn(async move {
                        let mut device = device;
                        let connect = timeout(CONNECT_TIMEOUT, read_connect(&mut device)).await;
                        drop(permit);
                        match connect {
                            Ok(Ok(connect)) => {
                                if let Err(error) = pipe(device, remote, connect, broker, &sessions).await {
                                    tracing::debug!(%remote, %error, "connection ended");
                                }
                            }
                            Ok(Err(error)) => tracing::debug!(%remote, %error, "closed a connection without a CONNECT"),
                            Err(_) => tracing::debug!(%remote, "closed a connection that stayed silent"),
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// A whole CONNECT, with whatever the client sent behind it.
struct Connect {
    bytes: Vec<u8>,
    /// Whether the client speaks MQTT 5, which knows a DISCONNECT from the server.
    version_5: bool,
}

async fn read_connect(device: &mut TcpStream) -> io::Result<Connect> {
    device.set_nodelay(true)?;
    let mut bytes = Vec::new();
    loop {
        if let Some(length) = connect_length(&bytes)?
            && bytes.len() >= length
        {
            let version_5 = bytes.windows(7).take(8).any(|window| window == b"\0\x04MQTT\x05");
            return Ok(Connect { bytes, version_5 });
        }
        device.readable().await?;
        match read_available(&mut bytes, |buffer| device.try_read_buf(buffer)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// The length of the CONNECT that `bytes` begin with, once it can be told (MQTT 5, 2.1 and 3.1).
fn connect_length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let invalid = |why: &'static str| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    if first != 0x10 {
        return invalid("the first packet is not a CONNECT");
    }
    let mut length = 0;
    for (place, &byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            let whole = 1 + place + 1 + length;
            return if whole > MAX_CONNECT_BYTES {
                invalid("the CONNECT is too large")
            } else {
                Ok(Some(whole))
            };
        }
    }
    if rest.len() >= 4 { invalid("the CONNECT has no valid length") } else { Ok(None) }
}

/// Carries bytes between a device and the broker until either closes.
async fn pipe(
    mut device: TcpStream,
    remote: SocketAddr,
    connect: Connect,
    broker: SocketAddr,
    sessions: &Arc<Sessions>,
) -> io::Result<()> {
    let mut broker = TcpStream::connect(broker).await?;
    broker.set_nodelay(true)?;
    let registration = sessions.register(broker.local_addr()?.port(), remote, Credential::Loopback);
    broker.write_all(&connect.bytes).await?;
    drop(connect.bytes);

    let (device_read, mut device_write) = device.split();
    let (broker_read, mut broker_write) = broker.split();
    let closed_by_broker = tokio::select! {
        _ = carry(&device_read, &mut broker_write) => false,
        _ = carry(&broker_read, &mut device_write) => true,
    };
    if closed_by_broker {
        if connect.version_5 {
            say_why(&registration.peer, &device_read, &mut device_write).await;
        }
    } else {
        // The connection stays registered until the broker has ended the session, for its hooks look it up.
        let _closed = broker_write.shutdown().await;
        let _ended = timeout(END_TIMEOUT, drain(&broker_read)).await;
        if *registration.peer.phase.borrow() == Phase::Open {
            let _ended = timeout(END_TIMEOUT, ended(&registration.peer)).await;
        }
    }
    Ok(())
}

/// Tells a client why the broker has closed its connection. The broker ends a connection only between two packets, so
/// the DISCONNECT stands where a packet may begin.
async fn say_why(peer: &Peer, device_read: &ReadHalf<'_>, device_write: &mut WriteHalf<'_>) {
    if *peer.phase.borrow() == Phase::Knocking {
        return; // Refused, and told so in the CONNACK.
    }
    if let Ok(Some(code @ 0x80..)) = timeout(END_TIMEOUT, ended(peer)).await {
        let disconnect = [0xE0, 2, code, 0];
        if let Ok(Ok(())) = timeout(LINGER, device_write.write_all(&disconnect)).await {
            // Closing with unread bytes would reset the connection and take the DISCONNECT with it.
            let _closed = device_write.shutdown().await;
            let _read = timeout(LINGER, drain(device_read)).await;
        }
    }
}

/// Waits until the broker has ended the session, and returns the reason.
async fn ended(peer: &Peer) -> Option<u8> {
    let mut phase = peer.phase.subscribe();
    let phase = phase.wait_for(|phase| matches!(phase, Phase::Ended { .. })).await.ok()?;
    match *phase {
        Phase::Ended { code } => Some(code),
        Phase::Knocking | Phase::Open => None,
    }
}

async fn carry(from: &ReadHalf<'_>, to: &mut WriteHalf<'_>) -> io::Result<()> {
    loop {
        from.readable().await?;
        let mut chunk = Vec::new();
        match read_available(&mut chunk, |buffer| from.try_read_buf(buffer)) {
            Ok(0) => return Ok(()),
            Ok(_) => timeout(WRITE_TIMEOUT, to.write_all(&chunk)).await??,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads and forgets until the other side closes.
async fn drain(from: &ReadHalf<'_>) -> io::Result<()> {
    loop {
        from.readable().await?;
        match read_available(&mut Vec::new(), |buffer| from.try_read_buf(buffer)) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads what is there, up to a chunk, at the end of `buffer`.
fn read_available(
    buffer: &mut Vec<u8>,
    read: impl FnOnce(&mut Vec<u8>) -> io::Result<usize>,
) -> io::Result<usize> {
    buffer.reserve_exact(CHUNK_BYTES);
    read(buffer)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_connect_is_told_as_soon_as_its_header_is_there() {
        assert_eq!(connect_length(&[]).unwrap(), None);
        assert_eq!(connect_length(&[0x10]).unwrap(), None);
        assert_eq!(connect_length(&[0x10, 0x80]).unwrap(), None);
        assert_eq!(connect_length(&[0x10, 12]).unwrap(), Some(14));
        assert_eq!(connect_length(&[0x10, 0x80, 0x01]).unwrap(), Some(131));
    }

    #[test]
    fn other_packets_oversized_connects_and_endless_lengths_are_refused() {
        for refused in [
            &[0x30][..],
            &[0x11],
            b"GET / HTTP/1.1",
            &[0x10, 0xFF, 0x7F],
            &[0x10, 0xFF, 0xFF, 0xFF, 0xFF],
        ] {
            assert!(connect_length(refused).is_err(), "{refused:?}");
        }
    }
}
