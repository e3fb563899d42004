//! Watches: one JSON object per line, for as long as the client stays and keeps up.
//!
//! A watcher reads the ring of its kind at the pace of its client. Selectors look at the objects of a change, and every
//! serialised form of it is made once for all watchers: see [`crate::server::watch_cache`].

use std::{collections::VecDeque, sync::Arc, time::Duration, vec};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::Response,
};
use lichen_hub_core::{api::Object, effect::Action};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::Instant,
};

use super::{
    Api,
    compression::Flowing,
    query::Query,
    respond::Form,
    selection::Selection,
    status::Refusal,
    table::{self, Include},
};
use crate::server::{
    clock::unix_ms,
    metrics::Counters,
    watch_cache::{Change, Encoding, WatchCache},
};

/// A watch that names no end gets this one; clients watch again.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// The longest that a client may ask for.
const MAX_TIMEOUT_S: u64 = 24 * 3600;
/// A client that asked for bookmarks gets one this often, so that it can go on from a newer version.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// The annotation of the bookmark after which a watch sends only changes.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";
/// Changes read from the ring at once.
const BATCH: usize = 64;
/// Bytes of what there is at the start that are serialised at once.
const CHUNK_BYTES: usize = 32 << 10;

/// Starts a watch. A version that is too old, or that this hub has never reached, is refused here and now: the client
/// knows another past, and has to list again.
pub(crate) fn start(
    api: &Api,
    selection: Selection,
    form: Form,
    query: &Query,
) -> Result<Response, Refusal> {
    let permit = api.stream_permit()?;
    let timeout = query
        .number("timeoutSeconds")?
        .filter(|s| *s > 0)
        .map(|s| Duration::from_secs(s.min(MAX_TIMEOUT_S)));
    // Newer clients list by a watch that starts with everything and says when that has been sent.
    let listing = query.flag("sendInitialEvents");
    let version = query.number("resourceVersion")?.filter(|version| *version > 0);
    if let Some(version) = version
        && (version > api.cache.version() || !listing && !is_there(api, &selection, version))
    {
        return Err(api.expired(version));
    }
    let woken = api.cache.woken(selection.kind);
    let (cursor, initial) = match version.filter(|_| !listing) {
        Some(version) => (version, Vec::new()),
        // Without a version, a watch starts with everything there is.
        None => {
            let page = api.cache.page(&selection.ask(None, None));
            let page = page.map_err(|_| Refusal::expired(0))?;
            (page.version, page.objects)
        }
    };
    let now = Instant::now();
    let watcher = Watcher {
        cache: api.cache.clone(),
        counters: api.counters.clone(),
        woken,
        stopping: api.stopping.clone(),
        cursor,
        initial: initial.into_iter(),
        mark_initial: listing,
        selection,
        form,
        with_columns: true,
        ends: now + timeout.unwrap_or(DEFAULT_TIMEOUT),
        bookmark: query.flag("allowWatchBookmarks").then(|| now + BOOKMARK_EVERY),
        lines: VecDeque::new(),
        ended: false,
        _permit: permit,
    };
    let lines = futures_util::stream::unfold(watcher, |mut watcher| async {
        let line = watcher.next_line().await?;
        Some((Ok::<_, std::convert::Infallible>(line), watcher))
    });
    let mut response = Response::new(Body::from_stream(lines));
    response.extensions_mut().insert(Flowing);
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

fn is_there(api: &Api, selection: &Selection, version: u64) -> bool {
    api.cache.since(selection.kind, version, 0).is_ok()
}

struct Watcher {
    cache: Arc<WatchCache>,
    counters: Arc<Counters>,
    woken: watch::Receiver<()>,
    stopping: watch::Receiver<bool>,
    /// Changes up to this version have been sent or are not wanted.
    cursor: u64,
    /// What there was at the start and has not been sent.
    initial: vec::IntoIter<Arc<Object>>,
    /// Whether to say when that has been sent.
    mark_initial: bool,
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
    async fn next_line(&mut self) -> Option<Bytes> {
        loop {
            // Whatever changes meanwhile: over a kind that never rests, it would never wait, and never look.
            if *self.stopping.borrow() {
                return None;
            }
            if let Some(lines) = self.initial_lines() {
                return Some(lines);
            }
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if self.ended || Instant::now() >= self.ends {
                return None;
            }
            self.woken.mark_unchanged();
            match self.cache.since(self.selection.kind, self.cursor, BATCH) {
                Err(_) => self.fall_behind(),
                Ok(changes) if !changes.is_empty() => {
                    changes.iter().for_each(|change| self.show(change));
                }
                Ok(_) => self.wait().await,
            }
        }
    }

    /// Some of what there was at the start.
    fn initial_lines(&mut self) -> Option<Bytes> {
        let mut lines = Vec::new();
        while lines.len() < CHUNK_BYTES {
            let Some(object) = self.initial.next() else {
                if std::mem::take(&mut self.mark_initial) {
                    self.add_bookmark(&json!({INITIAL_EVENTS_END: "true"}));
                }
                break;
            };
            lines.extend_from_slice(&self.made("ADDED", &object));
        }
        (!lines.is_empty()).then(|| lines.into())
    }

    fn show(&mut self, change: &Change) {
        self.cursor = change.version;
        let before = change.before.as_deref().is_some_and(|object| self.selection.selects(object));
        let after = self.selection.selects(&change.object);
        let Some(word) = word(change.action, before, after) else { return };
        let make = |watcher: &mut Self| match word {
            "DELETED" => watcher.made(word, &as_deleted(change)),
            _ => watcher.made(word, &change.object),
        };
        let line = if self.with_columns && self.form != Form::Objects {
            // Each client gets the columns once: this line is for it alone.
            make(self)
        } else {
            change.encoded(encoding(word, self.form), || make(self))
        };
        self.lines.push_back(line);
    }

    async fn wait(&mut self) {
        let wake = self.bookmark.unwrap_or(self.ends).min(self.ends);
        let late = tokio::select! {
            changed = self.woken.changed() => return self.ended = changed.is_err(),
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
        // A change is in the cache before its version is reached: none up to there is skipped.
        let reached = self.cache.version();
        let next = self.cache.since(self.selection.kind, self.cursor, 1);
        if !matches!(next, Ok(changes) if changes.is_empty()) {
            return;
        }
        self.cursor = self.cursor.max(reached);
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

    /// The client has read too slowly: it alone has to list again.
    fn fall_behind(&mut self) {
        self.counters.watcher_fell_behind();
        let refusal = Refusal::expired(self.cursor);
        let status = serde_json::from_slice::<Value>(&refusal.to_json());
        self.lines.push_back(line("ERROR", &status.unwrap_or_default()));
        self.ended = true;
    }

    fn made(&mut self, word: &str, object: &Object) -> Bytes {
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

/// Which serialised form of a change a watcher needs.
fn encoding(word: &'static str, form: Form) -> Encoding {
    let form = match form {
        Form::Objects => return Encoding { word, form: 0, second: 0 },
        Form::Table(Include::Metadata) => 1,
        Form::Table(Include::Object) => 2,
        Form::Table(Include::Nothing) => 3,
    };
    Encoding { word, form, second: unix_ms() / 1000 }
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
    object.meta_mut().resource_version = change.version.to_string();
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
    use lichen_hub_core::api::Kind;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::server::watch_cache::tests::told;

    /// A watcher of a kind that has changed `changes` times, with the sender that stops it.
    fn watcher(changes: u64) -> (Watcher, watch::Sender<bool>) {
        let cache = Arc::new(WatchCache::new());
        cache.take_in((1..=changes).map(|i| told(Action::Added, &format!("x{i}"), i)).collect());
        let (stop, stopping) = watch::channel(false);
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("there is one");
        let query = Query::parse(None);
        let watcher = Watcher {
            woken: cache.woken(Kind::ConfigMap),
            cache,
            counters: Arc::default(),
            stopping,
            cursor: 0,
            initial: Vec::new().into_iter(),
            mark_initial: false,
            selection: Selection::new(Kind::ConfigMap, None, &query).expect("a selection"),
            form: Form::Objects,
            with_columns: true,
            ends: Instant::now() + DEFAULT_TIMEOUT,
            bookmark: None,
            lines: VecDeque::new(),
            ended: false,
            _permit: permit,
        };
        (watcher, stop)
    }

    #[tokio::test]
    async fn a_watch_over_a_kind_that_never_rests_ends_in_time() {
        let (mut watcher, _stop) = watcher(3 * BATCH as u64);
        assert!(watcher.next_line().await.is_some());
        watcher.ends = Instant::now();
        let mut rest = 0;
        while watcher.next_line().await.is_some() {
            rest += 1;
        }
        assert_eq!(rest, BATCH - 1, "what was read from the ring is sent, and no more is read");
    }

    #[tokio::test]
    async fn a_watch_over_a_kind_that_never_rests_ends_with_the_hub() {
        let (mut watcher, stop) = watcher(3 * BATCH as u64);
        assert!(watcher.next_line().await.is_some());
        stop.send_replace(true);
        assert_eq!(watcher.next_line().await, None);
    }

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
