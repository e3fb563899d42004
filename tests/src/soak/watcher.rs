//! Reads the API all the time, and notes Pods that do not run and have no reason for it.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::history::{History, What};
use crate::api::Api;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(150);

/// Looks until the time is over.
pub fn watch(api: &Api, history: &History, until: Instant) {
    while Instant::now() < until {
        look(api, history);
        thread::sleep(PAUSE);
    }
}

/// Looks once.
pub fn look(api: &Api, history: &History) {
    for pod in api.pods() {
        if !pod.ready && (pod.reason.is_empty() || pod.message.is_empty()) {
            let shown = format!("{pod:?}");
            history.add(What::NoReason { pod: pod.name, shown });
        }
    }
}
