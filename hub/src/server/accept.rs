//! The accept loop of the operators' listener: a bounded number of connections, some of them kept free for who has just
//! come, TLS within a deadline, and an orderly end.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use lichen_trust::{ClientCertificate, Era, Verified};
use rustls::ServerConfig;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    addresses::{self, Addresses},
    connection::{self, Serving},
    metrics::Counters,
    peer::Peer,
};

/// One in so many connections is kept free for short requests: who gets one of these is let go after one answer.
const RESERVE: usize = 8;
/// One address may have one in so many connections: a proxy in front of many operators has enough, and leaves as many.
const PER_ADDRESS: usize = 2;
/// Pause after a failed accept, which is mostly a lack of file descriptors that others must give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time between two log lines about failed accepts: they come as long as the lack lasts.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// How long requests may take to finish when the hub stops.
const STOP_TIME: Duration = Duration::from_secs(5);
/// The first byte of every TLS handshake (RFC 8446 5.1: a record of type 22).
const HANDSHAKE: u8 = 22;
/// What a client that speaks plain HTTP is told.
const USE_HTTPS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
    the hub speaks HTTPS here: use https://\n";

/// The operators' listener.
#[derive(Clone)]
pub(crate) struct Operators {
    pub(crate) serving: Serving,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) era: Arc<Era>,
    /// Becomes true when the hub stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Serves until the hub stops, and then until every request has its answer, or for as long as it may take.
pub(crate) async fn serve(listener: TcpListener, most: usize, operators: Operators) {
    let permits = Arc::new(Semaphore::new(most));
    let addresses = Arc::new(Addresses::default());
    let mut connections = JoinSet::new();
    let mut stopping = operators.stopping.clone();
    let mut complained = None;
    loop {
        tokio::select! {
            // The sender going away means the same.
            _ = stopping.wait_for(|stopping| *stopping) => break,
            (stream, address, permit) = accept(&listener, &permits, &mut complained) => {
                let share = (most / PER_ADDRESS).max(1);
                let Some(of_address) = addresses.enter(address.ip(), share) else {
                    operators.serving.counters.connection_refused();
                    continue;
                };
                let keep_alive = permits.available_permits() >= (most / RESERVE).max(1);
                let operators = operators.clone();
                connections.spawn(async move {
                    let _counted = Counted::new(&operators.serving.counters, permit, of_address);
                    welcome(stream, address, keep_alive, &operators).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(STOP_TIME, all).await.is_err() {
        tracing::warn!("some requests did not finish and are broken off");
        connections.shutdown().await;
    }
}

/// Serves one connection, once TLS stands.
async fn welcome(stream: TcpStream, address: SocketAddr, keep_alive: bool, operators: &Operators) {
    let Operators { serving, tls, era, stopping } = operators;
    // Before the handshake, which may take long enough for an authority to end.
    let era = era.now();
    let Ok(shaken) = timeout(serving.times.head, handshake(stream, tls)).await else {
        return serving.counters.timed_out();
    };
    let Some(stream) = shaken else { return };
    // What can't be read was not issued by this hub.
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let Ok(certificate) = shown.map(ClientCertificate::read).transpose() else { return };
    let certificate = certificate.zip(shown.map(|certificate| Verified::new(era, certificate)));
    let peer = Peer { address, certificate };
    let mut stopping = stopping.clone();
    let stop = async move { drop(stopping.wait_for(|stopping| *stopping).await) };
    connection::serve(stream, Arc::new(peer), keep_alive, stop, serving).await;
}

async fn handshake(mut stream: TcpStream, tls: &Arc<ServerConfig>) -> Option<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await.ok()? == 1 && first[0] != HANDSHAKE {
        // Whether it is heard or not: the connection ends.
        let _ = stream.write_all(USE_HTTPS).await;
        let _ = stream.shutdown().await;
        return None;
    }
    TlsAcceptor::from(tls.clone()).accept(stream).await.ok()
}

/// A connection that counts for as long as it is served.
struct Counted {
    counters: Arc<Counters>,
    _permit: OwnedSemaphorePermit,
    _of_address: addresses::Counted,
}

impl Counted {
    fn new(
        counters: &Arc<Counters>,
        permit: OwnedSemaphorePermit,
        of_address: addresses::Counted,
    ) -> Self {
        counters.connection_opened();
        Self { counters: counters.clone(), _permit: permit, _of_address: of_address }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counters.connection_closed();
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    complained: &mut Option<Instant>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Answers are written whole; waiting for more only delays them. Refusal changes nothing else.
                let _ = stream.set_nodelay(true);
                return (stream, address, permit);
            }
            Err(error) => {
                if complained.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
                    *complained = Some(Instant::now());
                    tracing::warn!(%error, "could not accept a connection of the API");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
