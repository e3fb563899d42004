//! One device's bytes on their way to the broker and back, and the last word when the broker closes.
//!
//! An idle connection costs a task and two sockets here, no buffers.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    time::timeout,
};

use super::{
    connect::Connect,
    front::Front,
    identity::Credential,
    sessions::{Peer, Phase},
};
use crate::LinkEvent;

/// Bytes moved at once. Allocated only while there are any.
const CHUNK_BYTES: usize = 16 * 1024;
/// A device that takes no bytes for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the broker may take to end a session whose connection has closed, and to say why.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take to read why it is being closed.
const LINGER: Duration = Duration::from_secs(1);

/// A connection whose CONNECT is there.
pub(crate) struct Knock {
    pub(crate) device: TcpStream,
    pub(crate) remote: SocketAddr,
    pub(crate) connect: Connect,
    /// The CONNECT and whatever came behind it.
    pub(crate) bytes: Vec<u8>,
}

/// Carries bytes between a device and the broker until either closes, and sees the session to its end.
pub(crate) async fn carry_both_ways(knock: Knock, front: Front) -> io::Result<()> {
    let Knock { mut device, remote, connect, bytes } = knock;
    let mut broker = TcpStream::connect(front.broker).await?;
    broker.set_nodelay(true)?;
    let port = broker.local_addr()?.port();
    let registration = front.sessions.register(port, remote, Credential::Loopback);
    let peer = &registration.peer;
    broker.write_all(&bytes).await?;
    drop(bytes);

    let (device_read, mut device_write) = device.split();
    let (broker_read, mut broker_write) = broker.split();
    let closed_by_broker = tokio::select! {
        _ = carry(&device_read, &mut broker_write) => false,
        _ = carry(&broker_read, &mut device_write) => true,
    };
    if !closed_by_broker {
        let _closed = broker_write.shutdown().await;
        let _drained = timeout(END_TIMEOUT, drain(&broker_read)).await;
    }
    // The connection stays registered until the broker has ended the session, for its hooks look it up.
    let code = ended(peer).await;
    if let Some(code @ 0x80..) = code
        && closed_by_broker
        && connect.version_5
    {
        say_why(code, &device_read, &mut device_write).await;
    }
    if let Some(device) = front.sessions.abandon(peer) {
        front.reporter.presence(LinkEvent::Disconnected { device }).await;
    }
    Ok(())
}

/// Tells an MQTT 5 client why the broker has closed its connection. The broker ends a connection only between two
/// packets, so the DISCONNECT stands where a packet may begin.
async fn say_why(code: u8, device_read: &ReadHalf<'_>, device_write: &mut WriteHalf<'_>) {
    let disconnect = [0xE0, 2, code, 0];
    if let Ok(Ok(())) = timeout(LINGER, device_write.write_all(&disconnect)).await {
        // Closing with unread bytes would reset the connection and take the DISCONNECT with it.
        let _closed = device_write.shutdown().await;
        let _drained = timeout(LINGER, drain(device_read)).await;
    }
}

/// Waits until the broker has ended the session, and returns the reason. `None` at once if there never was a session:
/// the client was refused, and told so in the CONNACK. `None` too if the broker says nothing.
async fn ended(peer: &Peer) -> Option<u8> {
    let mut phase = peer.phase.subscribe();
    if *phase.borrow() == Phase::Knocking {
        return None;
    }
    let ended = phase.wait_for(|phase| matches!(phase, Phase::Ended { .. }));
    match *timeout(END_TIMEOUT, ended).await.ok()?.ok()? {
        Phase::Ended { code } => Some(code),
        Phase::Knocking | Phase::Open => None,
    }
}

async fn carry(from: &ReadHalf<'_>, to: &mut WriteHalf<'_>) -> io::Result<()> {
    loop {
        from.readable().await?;
        let mut chunk = Vec::new();
        read_available(from.as_ref(), &mut chunk)?;
        timeout(WRITE_TIMEOUT, to.write_all(&chunk)).await??;
    }
}

/// Reads and forgets until the other side closes.
async fn drain(from: &ReadHalf<'_>) -> io::Result<()> {
    loop {
        from.readable().await?;
        read_available(from.as_ref(), &mut Vec::new())?;
    }
}

/// Adds what there is, up to a chunk, to `buffer`: perhaps nothing. The end of the stream is an error.
pub(crate) fn read_available(from: &TcpStream, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.reserve_exact(CHUNK_BYTES);
    match from.try_read_buf(buffer) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
