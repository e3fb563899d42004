//! The accept loop: a bounded number of connections, some of them kept free for who has just come, and an orderly end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};

use super::{authn::Peer, config::ApiTimes, connection, metrics::Counters};

/// One in so many connections is kept free for short requests: who gets one of these is let go after one answer.
const RESERVE: usize = 8;
/// Pause after a failed accept, which is mostly a lack of file descriptors that others must give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time between two log lines about failed accepts: they come as long as the lack lasts.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
/// How long requests may take to finish when the hub stops.
const STOP_TIME: Duration = Duration::from_secs(5);

/// What every connection is served with.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) router: Router,
    pub(crate) times: ApiTimes,
    pub(crate) counters: Arc<Counters>,
    /// Becomes true when the hub stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Serves until the hub stops, and then until every request has its answer, or for as long as it may take.
pub(crate) async fn serve(listener: TcpListener, most: usize, serving: Serving) {
    let permits = Arc::new(Semaphore::new(most));
    let mut connections = JoinSet::new();
    let mut stopping = serving.stopping.clone();
    let mut complained = None;
    loop {
        tokio::select! {
            // The sender going away means the same.
            _ = stopping.wait_for(|stopping| *stopping) => break,
            ((stream, peer), permit) = accept(&listener, &permits, &mut complained) => {
                let keep_alive = permits.available_permits() >= (most / RESERVE).max(1);
                let serving = serving.clone();
                connections.spawn(async move {
                    let _counted = Counted::new(&serving.counters, permit);
                    connection::serve(stream, peer, keep_alive, &serving).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_TIME, all).await.is_err() {
        tracing::warn!("some requests did not finish and are broken off");
        connections.shutdown().await;
    }
}

/// A connection that counts for as long as it is served.
struct Counted {
    counters: Arc<Counters>,
    _permit: OwnedSemaphorePermit,
}

impl Counted {
    fn new(counters: &Arc<Counters>, permit: OwnedSemaphorePermit) -> Self {
        counters.connection_opened();
        Self { counters: counters.clone(), _permit: permit }
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
) -> ((TcpStream, Peer), OwnedSemaphorePermit) {
    let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // Answers are written whole; waiting for more only delays them. Refusal changes nothing else.
                let _ = stream.set_nodelay(true);
                // Nobody else can reach the listener: see `listen`.
                let peer = Peer { address, certificate: None, local: true };
                return ((stream, peer), permit);
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
