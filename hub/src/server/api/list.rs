//! Lists: in pages, if the client asks for them, and in chunks, so that a list of any length takes little memory and
//! delays nobody. What is serialised is what the client has made room for.

use std::{convert::Infallible, sync::Arc, vec};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::Response,
};
use lichen_hub_core::api::{Key, Kind, Object};
use serde::Serialize;

use super::{
    Api, continuation::Continuation, query::Query, respond::Form, selection::Selection,
    status::Refusal, table,
};
use crate::server::{clock::unix_ms, watch_cache::Page};

/// Bytes that are serialised at once: some hundred microseconds, and what a socket takes.
const CHUNK_BYTES: usize = 64 << 10;

/// Answers a list.
pub(super) fn answer(
    api: &Api,
    selection: &Selection,
    form: Form,
    query: &Query,
) -> Result<Response, Refusal> {
    let limit = query.number("limit")?.filter(|limit| *limit > 0);
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let start = Start::of(selection.kind, query)?;
    if let Start::NotOlderThan(version) = start
        && version > api.cache.version()
    {
        return Err(api.expired(version));
    }
    let go_on = match &start {
        Start::Now | Start::NotOlderThan(_) => None,
        Start::Exactly(version, after) => Some((*version, after)),
    };
    let page = api.cache.page(&selection.ask(limit, go_on)).map_err(|_| start.expired(api))?;
    Ok(respond(form, selection.kind, page))
}

/// From where a list is read.
enum Start {
    /// Whatever is newest.
    Now,
    /// The same, but a version must have been reached.
    NotOlderThan(u64),
    /// As of a version, behind a key.
    Exactly(u64, Key),
}

impl Start {
    fn of(kind: Kind, query: &Query) -> Result<Self, Refusal> {
        let version = query.number("resourceVersion")?;
        if let Some(token) = query.text("continue") {
            if version.is_some_and(|version| version > 0) {
                return Err(Refusal::bad_request(
                    "resourceVersion can't be given with continue, which holds one",
                ));
            }
            let Continuation { version, after } = Continuation::read(kind, token)?;
            return Ok(Self::Exactly(version, after));
        }
        match (query.text("resourceVersionMatch"), version) {
            (None | Some("NotOlderThan"), Some(version)) => Ok(Self::NotOlderThan(version)),
            (None, None) => Ok(Self::Now),
            (Some("Exact"), Some(version)) if version > 0 => {
                Ok(Self::Exactly(version, Key::new(kind, "", "")))
            }
            (Some(other), _) => Err(Refusal::bad_request(format!(
                "resourceVersionMatch={other} needs a resourceVersion, and must be NotOlderThan or Exact"
            ))),
        }
    }

    fn expired(&self, api: &Api) -> Refusal {
        match self {
            Self::Now | Self::NotOlderThan(_) => Refusal::expired(0),
            Self::Exactly(version, _) => api.expired(*version),
        }
    }
}

/// A page on its way: its head, its items, its tail.
struct Pieces {
    head: Option<Vec<u8>>,
    items: vec::IntoIter<Arc<Object>>,
    form: Form,
    now_ms: u64,
    first: bool,
    ended: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#continue: Option<String>,
}

fn respond(form: Form, kind: Kind, page: Page) -> Response {
    let version = page.version;
    let more = page.more_after.map(|after| Continuation { version, after }.write());
    let meta = ListMeta { resource_version: version.to_string(), r#continue: more };
    let mut pieces = Pieces {
        head: Some(head(form, kind, &meta)),
        items: page.objects.into_iter(),
        form,
        now_ms: unix_ms(),
        first: true,
        ended: false,
    };
    // Most lists are one chunk, and a body of known length.
    let first = pieces.next().unwrap_or_default();
    let body = if pieces.ended {
        Body::from(first)
    } else {
        let rest = std::iter::from_fn(move || pieces.next());
        let chunks = std::iter::once(first).chain(rest).map(Ok::<_, Infallible>);
        Body::from_stream(futures_util::stream::iter(chunks))
    };
    let mut response = Response::new(body);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Everything before the first item.
fn head(form: Form, kind: Kind, meta: &ListMeta) -> Vec<u8> {
    let meta = json(meta);
    match form {
        Form::Objects => format!(
            r#"{{"kind":"{kind}List","apiVersion":"{}","metadata":{meta},"items":["#,
            kind.api_version()
        ),
        Form::Table(_) => format!(
            r#"{{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{meta},"columnDefinitions":{},"rows":["#,
            json(&table::definitions(kind))
        ),
    }
    .into_bytes()
}

/// See [`super::respond::json`]: these types are always JSON.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

impl Pieces {
    fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut bytes = self.head.take().unwrap_or_default();
        while bytes.len() < CHUNK_BYTES {
            let Some(object) = self.items.next() else {
                bytes.extend(b"]}");
                self.ended = true;
                break;
            };
            if !std::mem::take(&mut self.first) {
                bytes.push(b',');
            }
            // Writing into memory does not fail.
            let _ = match self.form {
                Form::Objects => serde_json::to_writer(&mut bytes, object.as_ref()),
                Form::Table(include) => {
                    serde_json::to_writer(&mut bytes, &table::row(&object, include, self.now_ms))
                }
            };
        }
        Some(Bytes::from(bytes))
    }
}
