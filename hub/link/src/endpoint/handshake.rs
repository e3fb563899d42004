//! From an accepted connection to one of which it is known who is at its far end, within bounds of time: for the first
//! byte, for its turn, and for the handshake itself. Nobody else waits for it.

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::{net::TcpStream, time::timeout};

use super::{
    doors::Place,
    limits::{FIRST_BYTE_TIMEOUT, HANDSHAKE_TIMEOUT, LINGER, TURN_TIMEOUT},
    tls::{HandshakeError, Tls},
};

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

/// Shakes hands.
pub(crate) async fn shake(
    stream: TcpStream,
    place: &Place,
    config: Arc<ServerConfig>,
) -> Result<Tls<TcpStream>, Failure> {
    // Whoever says nothing takes no turn from others.
    match timeout(FIRST_BYTE_TIMEOUT, stream.readable()).await {
        Ok(readable) => readable.map_err(HandshakeError::Io)?,
        Err(_silent) => return Err(Failure::Silent),
    }
    let turn = timeout(TURN_TIMEOUT, place.turn()).await.ok().flatten().ok_or(Failure::NoTurn)?;
    let mut tls = Tls::new(stream, config).map_err(HandshakeError::Tls)?;
    let Ok(shaken) = timeout(HANDSHAKE_TIMEOUT, tls.shake()).await else {
        return Err(Failure::TooSlow);
    };
    drop(turn);
    if let Err(error) = shaken {
        let _in_vain = timeout(LINGER, tls.say_why()).await;
        return Err(error.into());
    }
    Ok(tls)
}
