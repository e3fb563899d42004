//! Conditions of workloads, as Kubernetes has them.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use crate::api::{meta::Condition, time::rfc3339};

/// A condition that may be new: it keeps its time while its status stays.
pub(super) fn condition(
    old: &[Condition],
    kind: &str,
    status: bool,
    reason: &str,
    message: String,
    unix_ms: u64,
) -> Condition {
    let status = if status { "True" } else { "False" };
    let known = old.iter().find(|known| known.kind == kind && known.status == status);
    Condition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: known
            .and_then(|known| known.last_transition_time.clone())
            .or_else(|| Some(rfc3339(unix_ms))),
    }
}

/// Conditions in the order in which they are shown.
pub(super) fn both(available: Condition, progressing: Condition) -> Vec<Condition> {
    Vec::from([available, progressing])
}
