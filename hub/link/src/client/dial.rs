//! Makes the stream of one connection: tries the places where the broker may be in turn, and wraps TLS around what it gets.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use rumqttc::{NetworkOptions, default_socket_connect};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::way::{Place, Tls, Way};

/// How long one place may take, its TLS handshake included.
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long after the broker has closed a connection it is looked for: one that stops may close its connections before
/// its listener.
const LOOK_AFTER: Duration = Duration::from_millis(100);
/// How long that may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// Whatever leads to a broker.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// Which place is tried first: the one that worked last.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn(Arc<AtomicUsize>);

impl Turn {
    /// The place that is tried first, or was used last.
    pub(super) fn first<'w>(&self, way: &'w Way) -> Option<&'w Place> {
        way.places.get(self.0.load(Relaxed).checked_rem(way.places.len())?)
    }

    /// The next place shall be tried first.
    pub(super) fn pass(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn order(&self, places: usize) -> impl Iterator<Item = usize> + use<> {
        let first = self.0.load(Relaxed);
        (0..places).map(move |step| first.wrapping_add(step) % places)
    }
}

/// No place took the connection: each with its reason.
#[derive(Debug)]
pub(super) struct Unreached(Vec<(Place, io::Error)>);

impl Unreached {
    /// What is wrong with TLS, if that is what kept every place.
    pub(super) fn tls(&self) -> Option<&rustls::Error> {
        let all = self.0.iter().map(|(_, error)| tls_error(error));
        all.collect::<Option<Vec<_>>>()?.first().copied()
    }
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no address of the broker is known");
        }
        f.write_str("could not reach the broker")?;
        for (number, (place, error)) in self.0.iter().enumerate() {
            let before = if number == 0 { " at" } else { ", nor at" };
            write!(f, "{before} {place}: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Unreached {}

/// What rustls says, if that is what an IO error holds.
pub(super) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Goes through the places once. The one that took the connection is first next time.
pub(super) async fn dial(
    way: &Way,
    turn: &Turn,
    network: &NetworkOptions,
) -> Result<Box<dyn Stream>, Unreached> {
    let mut failures = Vec::new();
    for number in turn.order(way.places.len()) {
        let place = &way.places[number];
        let connecting = timeout(DIAL_TIMEOUT, connect(place, way.tls.as_ref(), network));
        match connecting.await.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                turn.0.store(number, Relaxed);
                return Ok(stream);
            }
            Err(error) => failures.push((place.clone(), error)),
        }
    }
    Err(Unreached(failures))
}

async fn connect(
    place: &Place,
    tls: Option<&Tls>,
    network: &NetworkOptions,
) -> io::Result<Box<dyn Stream>> {
    let (host, port) = match place {
        Place::Tcp { host, port } => (host, port),
        Place::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
    };
    // Of several addresses of a host the first that takes the connection is used.
    let stream = default_socket_connect(format!("{host}:{port}"), network.clone()).await?;
    let Some(Tls { config, name }) = tls else { return Ok(Box::new(stream)) };
    let name = match name {
        Some(name) => name.clone(),
        None => ServerName::try_from(host.clone()).map_err(io::Error::other)?,
    };
    Ok(Box::new(TlsConnector::from(config.clone()).connect(name, stream).await?))
}

/// Whether the broker that has just closed the connection still listens.
pub(super) async fn still_listens(way: &Way, turn: &Turn) -> bool {
    sleep(LOOK_AFTER).await;
    let looking = async {
        match turn.first(way)? {
            Place::Tcp { host, port } => {
                TcpStream::connect((host.as_str(), *port)).await.ok().map(drop)
            }
            Place::Unix(path) => UnixStream::connect(path).await.ok().map(drop),
        }
    };
    timeout(LOOK_TIMEOUT, looking).await.is_ok_and(|found| found.is_some())
}
