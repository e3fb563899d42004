//! `GET /lichen/v1/backup`: a backup of this hub, streamed as it is made. An answer that breaks off is no backup, and has no
//! end by which it could be taken for one.

use std::{
    io::{self, Write},
    sync::Arc,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use tokio::sync::{Semaphore, mpsc, watch};

use super::{Api, query::Query, status::Refusal};
use crate::{
    backup::{
        BackupError,
        source::{Keys, Source, Wanted},
    },
    cli::error::chain,
};

/// Backups that may be made at once: each reads all that the hub has.
const MOST: usize = 1;
/// Bytes that leave at once, and how many such pieces may wait for the client.
const PIECE: usize = 64 << 10;
const WAITING: usize = 4;

/// Makes backups.
#[derive(Clone)]
pub(crate) struct Backups {
    source: Source,
    permits: Arc<Semaphore>,
}

impl Backups {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, permits: Arc::new(Semaphore::new(MOST)) }
    }
}

impl std::fmt::Debug for Backups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Backups")
    }
}

/// Answers with a backup.
pub(super) async fn stream(api: &Api, query: &Query) -> Result<Response, Refusal> {
    let wanted = wanted(query)?;
    let Backups { source, permits } = api.backups.clone();
    let permit = permits.try_acquire_owned().map_err(|_| {
        Refusal::too_many("a backup of this hub is being made; try again when it is done")
    })?;
    let prepared = tokio::task::spawn_blocking(move || source.prepare(wanted)).await;
    let prepared = prepared.map_err(internal)?.map_err(|error| internal(chain(&error)))?;
    let (pieces, mut ready) = mpsc::channel(WAITING);
    let mut out = Pieces { pieces, stopping: api.stopping.clone(), piece: Vec::new() };
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let ended = prepared.write(&mut out).map(drop);
        match ended.and_then(|()| out.flush().map_err(BackupError::Write)) {
            Ok(()) => tracing::info!(?wanted, "a backup was made"),
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(error, "a backup was broken off");
                // Without it the answer would seem to have come to its end.
                let _gone = out.pieces.blocking_send(Err(io::Error::other(error)));
            }
        }
    });
    let pieces = futures_util::stream::poll_fn(move |context| ready.poll_recv(context));
    let mut response = Response::new(Body::from_stream(pieces));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/gzip"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn wanted(query: &Query) -> Result<Wanted, Refusal> {
    let keys = match query.text("keys") {
        None | Some("include") => Keys::Inside,
        Some("none") => Keys::LeftOut,
        Some("only") => Keys::Alone,
        Some(other) => {
            return Err(Refusal::bad_request(format!(
                "keys must be include, none or only, not {other:?}"
            )));
        }
    };
    Ok(Wanted { keys, artefacts: query.text("artefacts").is_none() || query.flag("artefacts") })
}

fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal::internal(format!("the hub could not make a backup: {error}"))
}

/// Writes to whoever takes the answer.
struct Pieces {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    stopping: watch::Receiver<bool>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if *self.stopping.borrow() {
            return Err(io::Error::other("the hub is stopping"));
        }
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.piece));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone");
        self.pieces.blocking_send(Ok(piece)).map_err(gone)
    }
}
