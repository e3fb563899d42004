//! Watches: one JSON object per line, for as long as the client stays and keeps up.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use lichen_hub_core::{
    api::Object,
    effect::{Action, Change},
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::Instant,
};

use super::{Api, query::Query, respond::Form, selection::Selection, status::Refusal, table};
use crate::server::{
    clock::unix_ms,
    feed::{Feed, News},
};

/// A watch that names no end gets this one; clients watch again.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// The longest that a client may ask for.
const MAX_TIMEOUT_S: u64 = 24 * 3600;
/// How long to wait for a version that is not there yet, before the client is told to list again.
const FUTURE_PATIENCE: Duration = Duration::from_secs(2);
/// A client that asked for bookmarks gets one this often, so that it can go on from a newer version.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// The annotation of the bookmark after which a watch sends only changes.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";
/// Changes read from the feed at once.
const BATCH: usize = 64;

/// Starts a watch.
pub(crate) async fn start(
    api: &Api,
    selection: Selection,
    form: Form,
    query: &Query,
) -> Result<Response, Refusal> {
    let permit = api.stream_permit()?;
    let timeout =
        query.number("timeoutSeconds")?.map(|s| Duration::from_secs(s.min(MAX_TIMEOUT_S)));
    // Newer clients list by a watch that starts with everything and says when that has been sent.
    let listing = query.flag("sendInitialEvents");
    let version = query.number("resourceVersion")?.filter(|version| *version > 0 && !listing);
    let now = Instant::now();
    let mut watcher = Watcher {
        feed: api.feed.clone(),
        newest: api.feed.newest(),
        stopping: api.stopping.clone(),
        cursor: version.unwrap_or_default(),
        selection,
        form,
        with_columns: true,
        ends: now + timeout.unwrap_or(DEFAULT_TIMEOUT),
        bookmark: query.flag("allowWatchBookmarks").then(|| now + BOOKMARK_EVERY),
        lines: VecDeque::new(),
        ended: false,
        _permit: permit,
    };
    match version {
        Some(version) => watcher.check(version).await?,
        None => watcher.show_all(api).await?,
    }
    if listing {
        watcher.add_bookmark(&json!({INITIAL_EVENTS_END: "true"}));
    }
    let lines = futures_util::stream::unfold(watcher, |mut watcher| async {
        let line = watcher.next_line().await?;
        Some((Ok::<_, std::convert::Infallible>(line), watcher))
    });
    let mut response = Response::new(Body::from_stream(lines));
    *response.status_mut() = StatusCode::OK;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

struct Watcher {
    feed: Arc<Feed>,
    newest: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    /// Changes up to this version have been sent or are not wanted.
    cursor: u64,
    selection: Selection,
    form: Form,
    with_columns: bool,
    ends: Instant,
    bookmark: Option<Instant>,
    lines: VecDeque<Bytes>,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

#[derive(Serialize)]
struct Line<'a, T: Serialize> {
    r#type: &'a str,
    object: T,
}

impl Watcher {
    /// Refuses a version that is too old, or that this hub has never reached: the client knows another past.
    async fn check(&mut self, version: u64) -> Result<(), Refusal> {
        let reached = self.newest.wait_for(|newest| *newest >= version);
        let reached = tokio::time::timeout(FUTURE_PATIENCE, reached).await;
        if !matches!(reached, Ok(Ok(_))) || self.feed.since(version, 0).is_err() {
            return Err(Refusal::expired(version));
        }
        Ok(())
    }

    /// Without a version, a watch starts with everything there is.
    async fn show_all(&mut self, api: &Api) -> Result<(), Refusal> {
        let listing = self.selection.list(api).await?;
        self.cursor = listing.resource_version;
        for object in &listing.objects {
            let line = self.object_line("ADDED", object);
            self.lines.push_back(line);
        }
        Ok(())
    }

    async fn next_line(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            self.newest.mark_unchanged();
            match self.feed.since(self.cursor, BATCH) {
                Err(_) => self.end_with(&Refusal::expired(self.cursor)),
                Ok(news) if !news.is_empty() => news.iter().for_each(|news| self.show(news)),
                Ok(_) => self.wait().await,
            }
        }
    }

    fn show(&mut self, news: &News) {
        self.cursor = news.change.resource_version;
        let before = news.before.as_deref().is_some_and(|object| self.selection.selects(object));
        let after = self.selection.selects(&news.change.object);
        let Some(word) = word(news.change.action, before, after) else { return };
        let line = match word {
            "DELETED" => self.object_line(word, &as_deleted(&news.change)),
            _ => self.object_line(word, &news.change.object),
        };
        self.lines.push_back(line);
    }

    async fn wait(&mut self) {
        let wake = self.bookmark.unwrap_or(self.ends).min(self.ends);
        let late = tokio::select! {
            changed = self.newest.changed() => return self.ended = changed.is_err(),
            _ = self.stopping.wait_for(|stopping| *stopping) => return self.ended = true,
            () = tokio::time::sleep_until(wake) => Instant::now() >= self.ends,
        };
        self.set_bookmark();
        self.ended = late;
    }

    /// Tells the client from where it can go on, although nothing that it wants has changed.
    fn set_bookmark(&mut self) {
        let Some(bookmark) = &mut self.bookmark else { return };
        *bookmark = Instant::now() + BOOKMARK_EVERY;
        let newest = *self.newest.borrow();
        // A change is in the feed before its version is the newest: none up to there is skipped.
        if !matches!(self.feed.since(self.cursor, 1), Ok(news) if news.is_empty()) {
            return;
        }
        self.cursor = self.cursor.max(newest);
        self.add_bookmark(&json!({}));
    }

    fn add_bookmark(&mut self, annotations: &Value) {
        let object = json!({
            "kind": self.selection.kind.as_str(),
            "apiVersion": self.selection.kind.api_version(),
            "metadata": {"resourceVersion": self.cursor.to_string(), "annotations": annotations},
        });
        self.lines.push_back(line("BOOKMARK", &object));
    }

    fn end_with(&mut self, refusal: &Refusal) {
        let status = serde_json::from_slice::<Value>(&refusal.to_json());
        self.lines.push_back(line("ERROR", &status.unwrap_or_default()));
        self.ended = true;
    }

    fn object_line(&mut self, word: &str, object: &Object) -> Bytes {
        match self.form {
            Form::Objects => line(word, object),
            Form::Table(include) => {
                let version = object.meta().resource_version.clone();
                let with_columns = std::mem::take(&mut self.with_columns);
                let kind = object.kind();
                let now = unix_ms();
                line(word, &table::table(kind, &[object], include, version, with_columns, now))
            }
        }
    }
}

/// What a change means to a client that sees only what its selector selects.
fn word(action: Action, before: bool, after: bool) -> Option<&'static str> {
    match (action, before, after) {
        (Action::Added, _, true) => Some("ADDED"),
        (Action::Modified, false, true) => Some("ADDED"),
        (Action::Modified, true, true) => Some("MODIFIED"),
        (Action::Modified, true, false) => Some("DELETED"),
        (Action::Deleted, true, _) | (Action::Deleted, _, true) => Some("DELETED"),
        (Action::Added | Action::Modified | Action::Deleted, _, false) => None,
    }
}

/// A deleted object carries the version of its deletion, so that a client can go on from there.
fn as_deleted(change: &Change) -> Object {
    let mut object = Object::clone(&change.object);
    object.meta_mut().resource_version = change.resource_version.to_string();
    object
}

fn line(word: &str, object: &impl Serialize) -> Bytes {
    // See `respond::json`: these types are always JSON.
    let mut bytes = serde_json::to_vec(&Line { r#type: word, object }).unwrap_or_default();
    bytes.push(b'\n');
    Bytes::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_leaves_the_selection_is_deleted_for_its_watcher() {
        assert_eq!(word(Action::Added, false, true), Some("ADDED"));
        assert_eq!(word(Action::Added, false, false), None);
        assert_eq!(word(Action::Modified, false, true), Some("ADDED"));
        assert_eq!(word(Action::Modified, true, true), Some("MODIFIED"));
        assert_eq!(word(Action::Modified, true, false), Some("DELETED"));
        assert_eq!(word(Action::Modified, false, false), None);
        assert_eq!(word(Action::Deleted, true, true), Some("DELETED"));
        assert_eq!(word(Action::Deleted, false, false), None);
    }
}
