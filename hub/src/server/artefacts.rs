//! `GET /artefacts/sha256:<hex>`: content-addressed bytes for devices, with ranges and entity tags, streamed from disk.

use std::io::{self, Read, Seek, SeekFrom};

use axum::{
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use lichen_images::{
    Digest,
    conditional::{Answer, Conditions, evaluate},
    range::{Ranged, unsatisfied_range},
    store::{Opened, StoreError},
};

use tokio::sync::OwnedSemaphorePermit;

use super::api::Api;

/// Bytes read from disk at once, and held per download.
const CHUNK_BYTES: usize = 64 << 10;
/// What a digest names never changes.
const CACHE: &str = "public, max-age=31536000, immutable";

/// Answers GET and HEAD.
pub(crate) async fn get(
    State(api): State<Api>,
    Path(digest): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let digest = match Digest::parse(&digest) {
        Ok(digest) => digest,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let permit = match api.download_permit() {
        Ok(permit) => permit,
        Err(refusal) => return refusal.into_response(),
    };
    match open(&api.images, digest).await {
        Ok(Some(opened)) => {
            serve((opened, permit), &digest, "application/octet-stream", &method, &headers)
        }
        Ok(None) => {
            (StatusCode::NOT_FOUND, format!("there is no artefact {digest}\n")).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "could not open an artefact");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
        }
    }
}

/// Opens a blob off the async threads.
pub(crate) async fn open(
    images: &lichen_images::Store,
    digest: Digest,
) -> Result<Option<Opened>, StoreError> {
    let images = images.clone();
    let opened = tokio::task::spawn_blocking(move || images.get(&digest)).await;
    // A panic there is a bug here; it ends this request alone.
    opened.unwrap_or(Ok(None))
}

/// Answers with a blob, or the part of it that is asked for. The permission to download it is kept as long as its file is
/// open: until the client has taken everything, or has gone.
pub(crate) fn serve(
    (opened, permit): (Opened, OwnedSemaphorePermit),
    digest: &Digest,
    media_type: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Response {
    let len = opened.len;
    let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let if_none_match: Vec<&str> = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    let if_none_match = if_none_match.join(",");
    let conditions = Conditions {
        if_none_match: Some(if_none_match.as_str()).filter(|value| !value.is_empty()),
        if_range: header(header::IF_RANGE),
        range: header(header::RANGE).filter(|_| *method == Method::GET),
    };
    let answer = evaluate(&conditions, digest, len);
    let (code, first, sent) = match answer {
        Answer::NotModified => (StatusCode::NOT_MODIFIED, 0, 0),
        Answer::Content(Ranged::Whole) => (StatusCode::OK, 0, len),
        Answer::Content(Ranged::Part(span)) => {
            (StatusCode::PARTIAL_CONTENT, span.first, span.len())
        }
        Answer::Content(Ranged::Unsatisfiable) => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
    };
    let body = if *method == Method::HEAD || sent == 0 {
        Body::empty()
    } else {
        Body::from_stream(stream(opened, permit, first, sent))
    };
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::ETAG, digest.etag());
    set(header::CACHE_CONTROL, CACHE.to_owned());
    set(HeaderName::from_static("docker-content-digest"), digest.to_string());
    if code == StatusCode::NOT_MODIFIED {
        return response;
    }
    set(header::ACCEPT_RANGES, "bytes".to_owned());
    set(header::CONTENT_TYPE, media_type.to_owned());
    match answer {
        Answer::Content(Ranged::Part(span)) => set(header::CONTENT_RANGE, span.content_range(len)),
        Answer::Content(Ranged::Unsatisfiable) => {
            set(header::CONTENT_RANGE, unsatisfied_range(len));
        }
        Answer::NotModified | Answer::Content(Ranged::Whole) => {}
    }
    set(header::CONTENT_LENGTH, sent.to_string());
    response
}

/// The bytes of a part, read as the client takes them. A file that ends early breaks the connection off.
fn stream(
    opened: Opened,
    permit: OwnedSemaphorePermit,
    first: u64,
    len: u64,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    let state = (Some((opened.file, permit)), len);
    let mut seek = Some(first);
    futures_util::stream::unfold(state, move |(file, left)| {
        let seek = seek.take();
        async move {
            let (mut file, permit) = file.filter(|_| left > 0)?;
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let read = tokio::task::spawn_blocking(move || {
                if let Some(first) = seek {
                    file.seek(SeekFrom::Start(first))?;
                }
                let mut bytes = vec![0; want];
                file.read_exact(&mut bytes)?;
                Ok((file, Bytes::from(bytes)))
            });
            Some(match read.await.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
                Ok((file, bytes)) => (Ok(bytes), (Some((file, permit)), left - want as u64)),
                Err(error) => (Err(error), (None, 0)),
            })
        }
    })
}
