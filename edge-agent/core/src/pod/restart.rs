//! The restart policy: whether a container that ended is started again, and when.

use alloc::{
    format,
    string::{String, ToString},
};
use core::time::Duration;

use firmware_compat::v1::owned::{Exit, RestartPolicy};

use crate::spec::ContainerId;

/// Whether a container that ended with this code is started again. An init container that succeeded never is; one that
/// failed is by every policy but Never.
pub(super) fn is_restarted(policy: RestartPolicy, container: ContainerId, code: i32) -> bool {
    match (policy, container) {
        (RestartPolicy::Always, ContainerId::Main(_)) => true,
        (RestartPolicy::Always, ContainerId::Init(_)) | (RestartPolicy::OnFailure, _) => code != 0,
        (RestartPolicy::Never, _) => false,
    }
}

pub(super) fn again_in(delay: Duration) -> String {
    match delay.as_secs() {
        0 => "starts again at once".into(),
        seconds => format!("starts again after {seconds} s"),
    }
}

/// Kubernetes' word for how it ended.
pub(super) fn end_reason(exit: Option<&Exit>) -> String {
    match exit {
        Some(exit) if !exit.reason.is_empty() => exit.reason.to_string(),
        Some(exit) if exit.code == 0 => "Completed".into(),
        Some(_) | None => "Error".into(),
    }
}

pub(super) fn how_it_ended(exit: Option<&Exit>) -> String {
    let reason = end_reason(exit);
    let Some(exit) = exit else { return "it ended, nobody knows how".into() };
    match (exit.code, exit.message.as_str()) {
        (code, "") => format!("ended with code {code} ({reason})"),
        (code, message) => format!("ended with code {code} ({reason}): {message}"),
    }
}
