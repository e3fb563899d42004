//! The words that kubectl users read in a Pod's row: what it does, in one word, and how much of it runs.

use lichen_hub_core::api::core::pod::{ContainerState, Pod};

/// The status column: the most telling of the phase and the containers' states.
pub(super) fn status(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let states = pod.status.container_statuses.iter().map(|status| &status.state);
    let container = states.filter_map(word).next_back();
    let reason = Some(&pod.status.reason).filter(|reason| !reason.is_empty());
    let phase = Some(&pod.status.phase).filter(|phase| !phase.is_empty());
    container
        .or_else(|| reason.cloned())
        .or_else(|| phase.cloned())
        .unwrap_or_else(|| "Unknown".to_owned())
}

/// What a container that does not run has to say.
fn word(state: &ContainerState) -> Option<String> {
    if let Some(waiting) = &state.waiting {
        return Some(waiting.reason.clone()).filter(|reason| !reason.is_empty());
    }
    let ended = state.terminated.as_ref()?;
    if ended.reason.is_empty() {
        return Some(format!("ExitCode:{}", ended.exit_code));
    }
    Some(ended.reason.clone())
}

/// `1/1`.
pub(super) fn ready(pod: &Pod) -> String {
    let ready = pod.status.container_statuses.iter().filter(|status| status.ready).count();
    format!("{ready}/{}", pod.spec.containers.len())
}

/// How often its containers were started again.
pub(super) fn restarts(pod: &Pod) -> u32 {
    let counts = pod.status.container_statuses.iter().map(|status| status.restart_count);
    counts.fold(0, u32::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lichen_hub_core::api::{Kind, Object};

    fn check(status_json: &str, deleted: bool, expected: &str) {
        let json = format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"x"{}}},"spec":{{}},"status":{status_json}}}"#,
            if deleted { r#","deletionTimestamp":"2020-01-01T00:00:00Z""# } else { "" }
        );
        let Ok(Object::Pod(pod)) = Object::from_json(Kind::Pod, json.as_bytes()) else {
            panic!("not a pod: {json}")
        };
        assert_eq!(status(&pod), expected, "{json}");
    }

    #[test]
    fn the_most_telling_word_is_shown() {
        check(r#"{"phase":"Running"}"#, false, "Running");
        check(r#"{"phase":"Running"}"#, true, "Terminating");
        check(r#"{"phase":"Pending","reason":"NoDevice"}"#, false, "NoDevice");
        check(r#"{}"#, false, "Unknown");
        let state = |state: &str| {
            format!(r#"{{"phase":"Running","containerStatuses":[{{"name":"a","state":{state}}}]}}"#)
        };
        check(&state(r#"{"running":{}}"#), false, "Running");
        check(&state(r#"{"waiting":{"reason":"CrashLoopBackOff"}}"#), false, "CrashLoopBackOff");
        check(&state(r#"{"terminated":{"exitCode":1,"reason":"Error"}}"#), false, "Error");
        check(&state(r#"{"terminated":{"exitCode":3,"reason":""}}"#), false, "ExitCode:3");
    }
}
