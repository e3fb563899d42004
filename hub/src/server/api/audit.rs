//! `GET /lichen/v1/audit`: entries of the audit log, oldest first, one line of JSON each, as they are in the files; and
//! `GET /lichen/v1/audit/verify`: whether anybody has altered those.
//!
//! | parameter | |
//! |---|---|
//! | `since`, `until` | RFC 3339, or how long ago, in seconds: `90s` |
//! | `actor`, `node`, `verb`, `resource`, `namespace` | of these only |
//! | `refused` | only what was refused |
//! | `follow` | go on as more comes |

use std::{convert::Infallible, io};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use lichen_hub_core::api::time;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{Api, compression::Flowing, query::Query, respond, status::Refusal};
use crate::audit::{
    filter::Filter,
    read::{Batch, Reader},
    verify,
};

/// Answers with entries.
pub(super) async fn read(api: &Api, query: &Query) -> Result<Response, Refusal> {
    let now_ms = api.trust.time().written_ms();
    let text = |name: &str| query.text(name).map(str::to_owned);
    let filter = Filter {
        since_ms: query.text("since").map(|text| moment("since", text, now_ms)).transpose()?,
        until_ms: query.text("until").map(|text| moment("until", text, now_ms)).transpose()?,
        actor: text("actor"),
        node: text("node"),
        verb: text("verb"),
        resource: text("resource"),
        namespace: text("namespace"),
        refused: query.flag("refused"),
    };
    // If it does not, what is there is read all the same.
    let _settled = api.audit.settle().await;
    let stream = Stream {
        reader: Some(Reader::new(api.audit.dir(), filter)),
        follow: query.flag("follow"),
        written: api.audit.written(),
        stopping: api.stopping.clone(),
        _permit: api.stream_permit()?,
    };
    let bytes = futures_util::stream::unfold(stream, |mut stream| async {
        let bytes = stream.next().await?;
        Some((Ok::<_, Infallible>(bytes), stream))
    });
    let mut response = Response::new(Body::from_stream(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(Flowing);
    Ok(response)
}

/// A moment, in milliseconds since 1970.
fn moment(name: &str, text: &str, now_ms: u64) -> Result<u64, Refusal> {
    let ago = text.strip_suffix('s').and_then(|seconds| seconds.parse::<u64>().ok());
    let ago = ago.map(|seconds| now_ms.saturating_sub(seconds.saturating_mul(1000)));
    ago.or_else(|| time::unix_ms(text)).ok_or_else(|| {
        Refusal::bad_request(format!(
            "{name} must be like 2026-05-01T09:30:00Z, or how long ago, like 90s, not {text:?}"
        ))
    })
}

struct Stream {
    /// None after the disk refused.
    reader: Option<Reader>,
    follow: bool,
    written: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Stream {
    /// The next lines.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if *self.stopping.borrow() {
                return None;
            }
            // What comes after this moment wakes.
            self.written.mark_unchanged();
            let Batch { lines, at_end } = match self.look().await? {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::warn!(%error, "could not read the audit log");
                    let line =
                        serde_json::json!({"error": format!("the hub could not read on: {error}")});
                    return Some(Bytes::from(format!("{line}\n")));
                }
            };
            if at_end && !self.follow {
                // One last piece, and then nothing.
                self.reader = None;
                return (!lines.is_empty()).then(|| Bytes::from(lines));
            }
            if !lines.is_empty() {
                return Some(Bytes::from(lines));
            }
            if at_end {
                tokio::select! {
                    changed = self.written.changed() => changed.ok()?,
                    _ = self.stopping.wait_for(|stopping| *stopping) => return None,
                }
            }
        }
    }

    /// Looks at some more, on a thread for that. None if there is nothing to look at any more.
    async fn look(&mut self) -> Option<io::Result<Batch>> {
        let mut reader = self.reader.take()?;
        let looked = tokio::task::spawn_blocking(move || {
            let batch = reader.look();
            (reader, batch)
        });
        let (reader, batch) = looked.await.ok()?;
        if batch.is_ok() {
            self.reader = Some(reader);
        }
        Some(batch)
    }
}

/// Answers with what a check has found.
pub(super) async fn verify(api: &Api) -> Result<Response, Refusal> {
    let permit = api.checks.clone().try_acquire_owned().map_err(|_| {
        Refusal::too_many("the audit log is being checked; try again when that is done")
    })?;
    // If it does not, what is there is read all the same.
    let _settled = api.audit.settle().await;
    let dir = api.audit.dir().to_owned();
    let checked = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        verify::verify(&dir)
    });
    let internal = |error: &dyn std::fmt::Display| {
        Refusal::internal(format!("the hub could not check the audit log: {error}"))
    };
    let report =
        checked.await.map_err(|error| internal(&error))?.map_err(|error| internal(&error))?;
    Ok(respond::json(StatusCode::OK, &report))
}
