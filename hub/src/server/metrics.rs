//! The hub's figures: the engine's own, the link's, and what the shell counts.

use std::{
    fmt::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::http::StatusCode;
use lichen_link::LinkCounts;

use super::watch_cache::WatchCache;
use crate::store;

/// What the shell counts since its start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    link_up: AtomicBool,
    link: Mutex<LinkCounts>,
    commits: AtomicU64,
    commit_us: AtomicU64,
    records: AtomicU64,
    compiles: AtomicU64,
    compiles_failed: AtomicU64,
    connections: AtomicU64,
    connections_timed_out: AtomicU64,
    connections_refused: AtomicU64,
    unauthorized: AtomicU64,
    forbidden: AtomicU64,
    watchers_behind: AtomicU64,
    store: Mutex<store::Sizes>,
}

impl Counters {
    pub(crate) fn set_link_up(&self, up: bool) {
        self.link_up.store(up, Relaxed);
    }

    pub(crate) fn link_is_up(&self) -> bool {
        self.link_up.load(Relaxed)
    }

    pub(crate) fn set_link(&self, counts: LinkCounts) {
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    pub(crate) fn committed(&self, records: usize, took: Duration) {
        self.commits.fetch_add(1, Relaxed);
        self.records.fetch_add(records as u64, Relaxed);
        self.commit_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// A connection was closed because its client took too long.
    pub(crate) fn timed_out(&self) {
        self.connections_timed_out.fetch_add(1, Relaxed);
    }

    /// A connection was closed because its address has too many.
    pub(crate) fn connection_refused(&self) {
        self.connections_refused.fetch_add(1, Relaxed);
    }

    /// A request was refused at the gate.
    pub(crate) fn refused(&self, code: StatusCode) {
        let unknown = code == StatusCode::UNAUTHORIZED;
        let counter = if unknown { &self.unauthorized } else { &self.forbidden };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn watcher_fell_behind(&self) {
        self.watchers_behind.fetch_add(1, Relaxed);
    }

    pub(crate) fn set_store(&self, sizes: store::Sizes) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = sizes;
    }

    pub(crate) fn compiled(&self, well: bool) {
        let counter = if well { &self.compiles } else { &self.compiles_failed };
        counter.fetch_add(1, Relaxed);
    }

    /// Everything in the text format of Prometheus. By its convention, what only rises ends in `_total`.
    pub(crate) fn print(&self, engine: &[(&'static str, u64)], cache: &WatchCache) -> String {
        let link = *self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (name, value) in engine {
            one(&mut text, name, value);
        }
        one(&mut text, "lichen_link_up", u8::from(self.link_is_up()));
        one(&mut text, "lichen_link_received_frames_total", link.received);
        one(&mut text, "lichen_link_sent_frames_total", link.sent);
        one(&mut text, "lichen_link_received_dropped_frames_total", link.received_dropped);
        one(&mut text, "lichen_link_sent_dropped_frames_total", link.sent_dropped);
        one(&mut text, "lichen_link_refused_total", link.refused);
        one(&mut text, "lichen_link_unwelcome_total", link.unwelcome);
        one(&mut text, "lichen_link_second_boards_total", link.second_boards);
        one(&mut text, "lichen_link_turned_away_total", link.turned_away);
        one(&mut text, "lichen_link_crowded_total", link.crowded);
        one(&mut text, "lichen_link_too_often_total", link.too_often);
        one(&mut text, "lichen_link_slowed_total", link.slowed);
        one(&mut text, "lichen_link_http_refused_total", link.http_refused);
        one(&mut text, "lichen_link_handshakes_full_total", link.handshakes_full);
        one(&mut text, "lichen_link_handshakes_resumed_total", link.handshakes_resumed);
        one(&mut text, "lichen_link_handshakes_failed_total", link.handshakes_failed);
        one(&mut text, "lichen_link_takeovers_total", link.takeovers);
        one(&mut text, "lichen_link_waiting_frames", link.waiting);
        one(&mut text, "lichen_link_devices", link.devices);
        one(&mut text, "lichen_link_devices_limit", link.devices_limit);
        one(&mut text, "lichen_link_connections", link.connections);
        one(&mut text, "lichen_link_http_connections", link.http);
        one(&mut text, "lichen_store_commits_total", self.commits.load(Relaxed));
        one(&mut text, "lichen_store_records_total", self.records.load(Relaxed));
        let seconds = Duration::from_micros(self.commit_us.load(Relaxed)).as_secs_f64();
        one(&mut text, "lichen_store_commit_seconds_total", seconds);
        one(&mut text, "lichen_wasm_compiles_total", self.compiles.load(Relaxed));
        one(&mut text, "lichen_wasm_compiles_failed_total", self.compiles_failed.load(Relaxed));
        let store = *self.store.lock().unwrap_or_else(PoisonError::into_inner);
        one(&mut text, "lichen_store_file_bytes", store.file_bytes);
        one(&mut text, "lichen_store_live_bytes", store.live_bytes);
        one(&mut text, "lichen_store_compactions_total", store.compactions);
        let sizes = cache.sizes();
        one(&mut text, "lichen_cache_objects", sizes.objects);
        one(&mut text, "lichen_cache_object_bytes", sizes.object_bytes);
        one(&mut text, "lichen_cache_changes", sizes.changes);
        one(&mut text, "lichen_cache_change_bytes", sizes.change_bytes);
        one(&mut text, "lichen_watchers", cache.watchers());
        one(&mut text, "lichen_watchers_behind_total", self.watchers_behind.load(Relaxed));
        one(&mut text, "lichen_api_connections", self.connections.load(Relaxed));
        let timed_out = self.connections_timed_out.load(Relaxed);
        one(&mut text, "lichen_api_connections_timed_out_total", timed_out);
        let refused = self.connections_refused.load(Relaxed);
        one(&mut text, "lichen_api_connections_refused_total", refused);
        one(&mut text, "lichen_api_unauthorized_total", self.unauthorized.load(Relaxed));
        one(&mut text, "lichen_api_forbidden_total", self.forbidden.load(Relaxed));
        text
    }
}

fn one(text: &mut String, name: &str, value: impl std::fmt::Display) {
    let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
    // Writing to a String can't fail.
    let _ = writeln!(text, "# TYPE {name} {kind}\n{name} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_type_and_a_value() {
        let counters = Counters::default();
        counters.committed(3, Duration::from_millis(1500));
        counters.set_link_up(true);
        let text = counters.print(&[("lichen_devices", 7)], &WatchCache::new());
        for line in [
            "# TYPE lichen_devices gauge",
            "lichen_devices 7",
            "lichen_link_up 1",
            "lichen_store_commits_total 1",
            "lichen_store_commit_seconds_total 1.5",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
        assert_eq!(text.lines().count() % 2, 0);
    }
}
