//! From an accepted connection to one of which it is known who is at its far end, within bounds of time: for the first
//! byte, for its turn, and for the handshake itself. Nobody else waits for it.

use std::{
    io::{self, ErrorKind::UnexpectedEof},
    net::SocketAddr,
    sync::Arc,
};

use rustls::ServerConfig;
use tokio::{net::TcpStream, time::timeout};

use super::{
    connection::Shared,
    doors::{Place, Turn},
    limits::{FIRST_BYTE_TIMEOUT, HANDSHAKE_TIMEOUT, LINGER, TURN_TIMEOUT},
    tls::{HandshakeError, Tls},
};
use crate::event::{Counters, count};

/// Why there was no handshake.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It said nothing.
    #[error("it said nothing in time")]
    Silent,
    /// Too many were before it.
    #[error("too many handshakes were before it")]
    NoTurn,
    /// It took too long.
    #[error("the handshake took too long")]
    TooSlow,
    /// It came to nothing.
    #[error(transparent)]
    Broken(#[from] HandshakeError),
}

/// Shakes hands. Whatever comes of it is counted.
pub(crate) async fn shake(
    stream: TcpStream,
    remote: SocketAddr,
    place: &Place,
    shared: &Shared,
) -> Option<Tls<TcpStream>> {
    match attempt(stream, place, shared.tls.clone()).await {
        Ok(tls) => {
            let Counters { handshakes_full, handshakes_resumed, .. } = &*shared.counters;
            count(if tls.is_resumed() { handshakes_resumed } else { handshakes_full });
            Some(tls)
        }
        Err((failure, tls)) => {
            note(&failure, remote, shared);
            if let Some(mut tls) = tls {
                let _in_vain = timeout(LINGER, tls.say_why()).await;
            }
            None
        }
    }
}

/// With a failure comes what can still be said, if the far end understands it.
async fn attempt(
    stream: TcpStream,
    place: &Place,
    config: Arc<ServerConfig>,
) -> Result<Tls<TcpStream>, (Failure, Option<Tls<TcpStream>>)> {
    let silent = |failure| (failure, None);
    let turn = begin(&stream, place).await.map_err(silent)?;
    let tls = Tls::new(stream, config);
    let mut tls = tls.map_err(|error| silent(HandshakeError::Tls(error).into()))?;
    let shaken = timeout(HANDSHAKE_TIMEOUT, tls.shake()).await;
    drop(turn);
    match shaken {
        Ok(Ok(())) => Ok(tls),
        Ok(Err(error @ HandshakeError::Tls(_))) => Err((error.into(), Some(tls))),
        Ok(Err(error)) => Err(silent(error.into())),
        Err(_late) => Err(silent(Failure::TooSlow)),
    }
}

/// Waits for the first byte, and then for its turn: whoever says nothing takes none from others.
async fn begin(stream: &TcpStream, place: &Place) -> Result<Turn, Failure> {
    match timeout(FIRST_BYTE_TIMEOUT, stream.peek(&mut [0])).await {
        Ok(Ok(1..)) => {}
        Ok(Ok(0)) => return Err(HandshakeError::from(io::Error::from(UnexpectedEof)).into()),
        Ok(Err(error)) => return Err(HandshakeError::from(error).into()),
        Err(_silent) => return Err(Failure::Silent),
    }
    timeout(TURN_TIMEOUT, place.turn()).await.ok().flatten().ok_or(Failure::NoTurn)
}

fn note(failure: &Failure, remote: SocketAddr, shared: &Shared) {
    count(&shared.counters.handshakes_failed);
    if shared.said.handshakes.is_due() {
        tracing::info!(%remote, "a handshake came to nothing: {failure}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use lichen_trust::Trust;
    use tokio::{io::AsyncWriteExt, net::TcpListener, time::Instant};

    use super::*;
    use crate::endpoint::{
        doors::{Doors, Source},
        limits::{ADDRESS_HANDSHAKES, HANDSHAKES},
    };

    /// A client that has said these bytes and says no more; what became of it, and after how long.
    async fn say(bytes: &[u8], doors: &Arc<Doors>) -> (Failure, std::time::Duration) {
        let dir = tempfile::tempdir().unwrap();
        let trust = Trust::open(&dir.path().join("trust"), Vec::new()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let (stream, remote) = listener.accept().await.unwrap();
        let place = doors.knock(Source::of(remote.ip())).unwrap();
        let started = Instant::now();
        let failed = attempt(stream, &place, trust.server_config(&[b"mqtt"])).await;
        let (failure, _) = failed.unwrap_err();
        drop(client);
        (failure, started.elapsed())
    }

    /// The first bytes of what any TLS client says: a record of a handshake, and a hello of 512 bytes.
    const HELLO: &[u8] = &[22, 3, 1, 2, 4, 1, 0, 2, 0, 3, 3];

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_talking_is_let_go_in_time_and_takes_nothing_along() {
        let doors = Doors::new(1000);
        let (failure, after) = say(b"", &doors).await;
        assert!(matches!(failure, Failure::Silent), "{failure}");
        assert!(after >= FIRST_BYTE_TIMEOUT && after < FIRST_BYTE_TIMEOUT * 2, "{after:?}");
        for part in [1, 5, 6, HELLO.len()] {
            let (failure, after) = say(&HELLO[..part], &doors).await;
            assert!(matches!(failure, Failure::TooSlow), "{failure}");
            assert!(after >= HANDSHAKE_TIMEOUT && after < HANDSHAKE_TIMEOUT * 2, "{after:?}");
        }
        assert_eq!((doors.connections(), doors.handshakes_left()), (0, HANDSHAKES));
    }

    #[tokio::test(start_paused = true)]
    async fn whose_turn_does_not_come_is_let_go_in_time() {
        let doors = Doors::new(10_000);
        let crowd = doors.knock(Source::of([127, 0, 0, 1].into())).unwrap();
        let mut turns = Vec::new();
        for _ in 0..ADDRESS_HANDSHAKES {
            turns.push(crowd.turn().await.unwrap());
        }
        let (failure, after) = say(HELLO, &doors).await;
        assert!(matches!(failure, Failure::NoTurn), "{failure}");
        assert!(after >= TURN_TIMEOUT && after < TURN_TIMEOUT * 2, "{after:?}");
        drop(turns);
        let (failure, _) = say(HELLO, &doors).await;
        assert!(matches!(failure, Failure::TooSlow), "{failure}");
    }
}
