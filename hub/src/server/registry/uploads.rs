//! Uploads of blobs, in one piece or in chunks. An upload that nobody goes on with is forgotten.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{
    body::Bytes,
    http::{HeaderName, Method, StatusCode, header},
    response::Response,
};
use futures_util::StreamExt;
use lichen_images::{Digest, Name, distribution::Code, range::parse_chunk_range, store::Upload};
use tokio::sync::OwnedMutexGuard;

use super::{Call, Denial, blocking, digest_header, empty, touch};
use crate::server::api::Api;

/// Uploads at once. A push has a handful; each holds an open file.
pub(crate) const MAX_UPLOADS: usize = 64;
/// An upload that is not touched for so long is dropped with its bytes.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
/// How long a sender may pause within a chunk.
const PAUSE: Duration = Duration::from_secs(60);
/// Bytes gathered before they are written: fewer hops between threads.
const GATHER_BYTES: usize = 256 << 10;

type Slot = Arc<tokio::sync::Mutex<Option<Upload>>>;

/// An upload in progress.
#[derive(Debug)]
struct Begun {
    /// The image that it is for. Whoever may push that one may go on with it, and nobody else.
    name: Name,
    slot: Slot,
    used: Instant,
}

/// The uploads in progress.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uploads {
    slots: Arc<Mutex<BTreeMap<String, Begun>>>,
    next: Arc<AtomicU64>,
}

impl Uploads {
    fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Begun>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, upload: Upload, name: &Name) -> Result<String, Denial> {
        let now = Instant::now();
        let mut slots = self.slots();
        slots.retain(|_, begun| {
            Arc::strong_count(&begun.slot) > 1 || now.duration_since(begun.used) < FORGOTTEN_AFTER
        });
        if slots.len() >= MAX_UPLOADS {
            let message = format!("{MAX_UPLOADS} uploads are in progress; try again later");
            return Err(Denial::new(Code::TooManyRequests, message));
        }
        let id = format!("u{}", self.next.fetch_add(1, Relaxed));
        let slot = Arc::new(tokio::sync::Mutex::new(Some(upload)));
        slots.insert(id.clone(), Begun { name: name.clone(), slot, used: now });
        Ok(id)
    }

    /// An upload, for one request at a time.
    fn take(&self, name: &Name, id: &str) -> Result<OwnedMutexGuard<Option<Upload>>, Denial> {
        let mut slots = self.slots();
        let Some(begun) = slots.get_mut(id).filter(|begun| begun.name == *name) else {
            let message = format!("there is no upload {id} of {name}; start the push again");
            return Err(Denial::new(Code::BlobUploadUnknown, message));
        };
        begun.used = Instant::now();
        begun.slot.clone().try_lock_owned().map_err(|_| {
            let message = format!("another request is working on upload {id}");
            Denial::new(Code::BlobUploadInvalid, message)
        })
    }

    fn remove(&self, id: &str) {
        self.slots().remove(id);
    }
}

/// POST: starts an upload, completes it at once if a digest and the bytes come along, or does without if the blob is
/// there already.
pub(super) async fn start(api: &Api, call: Call, name: &Name) -> Result<Response, Denial> {
    if let Some(digest) = call.query.text("mount") {
        // One store serves every name, so there is nothing to mount; absent, the client uploads.
        let digest = parse_digest(digest)?;
        if touch(api, digest).await?.is_some() {
            return Ok(created(name, &digest));
        }
    }
    let images = api.images.clone();
    let upload = blocking(move || Ok(images.begin()?)).await?;
    let expected = call.query.text("digest").map(parse_digest).transpose()?;
    let id = api.uploads.add(upload, name)?;
    match expected {
        Some(digest) => finish(api, call, name, &id, digest).await,
        None => Ok(accepted(name, &id, 0, StatusCode::ACCEPTED)),
    }
}

/// PATCH, PUT, GET and DELETE of an upload.
pub(super) async fn go_on(
    api: &Api,
    call: Call,
    name: &Name,
    id: &str,
) -> Result<Response, Denial> {
    match call.method {
        Method::PATCH => {
            let slot = api.uploads.take(name, id)?;
            let slot = receive(slot, call).await?;
            Ok(accepted(name, id, offset(&slot), StatusCode::ACCEPTED))
        }
        Method::PUT => {
            let digest = call.query.text("digest");
            let missing = || Denial::new(Code::DigestInvalid, "the parameter digest is missing");
            let digest = parse_digest(digest.ok_or_else(missing)?)?;
            finish(api, call, name, id, digest).await
        }
        Method::GET | Method::HEAD => {
            let slot = api.uploads.take(name, id)?;
            Ok(accepted(name, id, offset(&slot), StatusCode::NO_CONTENT))
        }
        Method::DELETE => {
            api.uploads.take(name, id)?;
            api.uploads.remove(id);
            Ok(empty(StatusCode::NO_CONTENT, &[]))
        }
        method => Err(Denial::new(Code::Unsupported, format!("an upload does not take {method}"))),
    }
}

async fn finish(
    api: &Api,
    call: Call,
    name: &Name,
    id: &str,
    digest: Digest,
) -> Result<Response, Denial> {
    let slot = api.uploads.take(name, id)?;
    let mut slot = receive(slot, call).await?;
    let upload = slot.take();
    api.uploads.remove(id);
    let Some(upload) = upload else {
        return Err(Denial::new(
            Code::BlobUploadUnknown,
            format!("upload {id} is complete already"),
        ));
    };
    let digest = blocking(move || Ok(upload.finish(Some(digest))?)).await?;
    Ok(created(name, &digest))
}

/// Adds the body to the upload. What came stays if the sender breaks off, so that it can go on from there.
async fn receive(
    mut slot: OwnedMutexGuard<Option<Upload>>,
    call: Call,
) -> Result<OwnedMutexGuard<Option<Upload>>, Denial> {
    let range = call.headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    if let Some(range) = range {
        let span = parse_chunk_range(range).ok_or_else(|| {
            let message = format!("Content-Range {range:?} is not <first>-<last>");
            Denial::new(Code::BlobUploadInvalid, message)
        })?;
        if span.first != offset(&slot) {
            let at = offset(&slot);
            let message = format!(
                "the chunk starts at byte {}, but the upload stands at byte {at}",
                span.first
            );
            return Err(Denial::new(Code::BlobUploadInvalid, message));
        }
    }
    let mut stream = call.body.into_data_stream();
    let mut gathered: Vec<Bytes> = Vec::new();
    let mut bytes = 0;
    loop {
        let paused = |_| Denial::new(Code::BlobUploadInvalid, "the sender paused for too long");
        let chunk = tokio::time::timeout(PAUSE, stream.next()).await.map_err(paused)?;
        let broken =
            |error| Denial::new(Code::BlobUploadInvalid, format!("the body broke off: {error}"));
        let chunk = chunk.transpose().map_err(broken);
        let last = !matches!(chunk, Ok(Some(_)));
        if let Ok(Some(chunk)) = &chunk {
            bytes += chunk.len();
            gathered.push(chunk.clone());
        }
        if bytes >= GATHER_BYTES || (last && bytes > 0) {
            slot = append(slot, std::mem::take(&mut gathered)).await?;
            bytes = 0;
        }
        if last {
            chunk?;
            return Ok(slot);
        }
    }
}

async fn append(
    mut slot: OwnedMutexGuard<Option<Upload>>,
    chunks: Vec<Bytes>,
) -> Result<OwnedMutexGuard<Option<Upload>>, Denial> {
    blocking(move || {
        let gone = || Denial::new(Code::BlobUploadUnknown, "the upload is complete already");
        let upload = slot.as_mut().ok_or_else(gone)?;
        for chunk in chunks {
            upload.append(&chunk)?;
        }
        Ok(slot)
    })
    .await
}

fn offset(slot: &Option<Upload>) -> u64 {
    slot.as_ref().map_or(0, Upload::offset)
}

fn parse_digest(text: &str) -> Result<Digest, Denial> {
    Digest::parse(text).map_err(|error| Denial::new(Code::DigestInvalid, error.to_string()))
}

fn accepted(name: &Name, id: &str, offset: u64, code: StatusCode) -> Response {
    empty(
        code,
        &[
            (header::LOCATION, format!("/v2/{name}/blobs/uploads/{id}")),
            // Of what is there; the specification writes nothing at all as 0-0 too.
            (header::RANGE, format!("0-{}", offset.saturating_sub(1))),
            (HeaderName::from_static("docker-upload-uuid"), id.to_owned()),
        ],
    )
}

fn created(name: &Name, digest: &Digest) -> Response {
    let location = format!("/v2/{name}/blobs/{digest}");
    empty(StatusCode::CREATED, &[(header::LOCATION, location), digest_header(digest)])
}
