//! `rollout status`: waits until a rollout is done, and tells each step once, in kubectl's words.

use std::time::Instant;

use serde_json::Value;

use super::{is_paused, must_read};
use crate::cli::{
    Context,
    args::StatusArgs,
    client::{Form, News, Selectors},
    discovery::ObjectRef,
    error::CliError,
};

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    /// On its way, and what it waits for.
    Waits(String),
    /// Done.
    Done(String),
    /// It will not get there by itself.
    Stuck(String),
}

pub(super) fn run(
    context: &mut Context,
    args: &StatusArgs,
    workload: &ObjectRef,
) -> Result<(), CliError> {
    let value = must_read(context, workload)?;
    let kind = workload.resource.kind.as_str();
    if is_paused(&value) {
        context.ui.note(&format!(
            "{label} is paused: it goes on after lichen rollout resume {label}",
            label = workload.label()
        ));
    }
    let first = progress(kind, &value);
    if !args.watch || !matches!(first, Progress::Waits(_)) {
        return tell(context, first, workload).map(drop);
    }
    let patience = (!args.timeout.is_zero()).then_some(args.timeout);
    let ends = patience.map(|patience| Instant::now() + patience);
    let selectors =
        Selectors { fields: format!("metadata.name={}", workload.name), ..Selectors::default() };
    let client = context.client.clone();
    let namespace = Some(workload.namespace.as_str());
    let mut follow =
        client.follow(&workload.resource, namespace, selectors, Form::Objects, patience);
    let mut said = None;
    while let Some(news) = follow.next_news()? {
        let value = match news {
            News::All(items) => items.into_iter().next().map(|item| item.object),
            News::Changed(item) => Some(item.object),
            News::Deleted(_) => None,
        };
        let Some(value) = value else {
            return Err(CliError::Failed(format!("{} was deleted meanwhile", workload.label())));
        };
        let progress = progress(kind, &value);
        if said.as_ref() != Some(&progress) {
            said = Some(progress.clone());
            if tell(context, progress, workload)? {
                return Ok(());
            }
        }
        if ends.is_some_and(|ends| Instant::now() >= ends) {
            break;
        }
    }
    Err(CliError::Failed(format!(
        "{label} is not rolled out after {:?}; see why with: lichen explain {label}",
        args.timeout,
        label = workload.label()
    )))
}

/// Tells it; true at the end.
fn tell(context: &mut Context, progress: Progress, workload: &ObjectRef) -> Result<bool, CliError> {
    match progress {
        Progress::Waits(line) => context.ui.line(&line)?,
        Progress::Done(line) => {
            context.ui.line(&line)?;
            return Ok(true);
        }
        Progress::Stuck(cause) => {
            return Err(CliError::Failed(format!(
                "{cause}; see why with: lichen explain {}",
                workload.label()
            )));
        }
    }
    Ok(false)
}

/// What a workload's status says of its rollout.
fn progress(kind: &str, workload: &Value) -> Progress {
    let meta = &workload["metadata"];
    let name = meta["name"].as_str().unwrap_or_default();
    let (spec, status) = (&workload["spec"], &workload["status"]);
    let count = |name: &str| status[name].as_u64().unwrap_or(0);
    let what = words(kind);
    let waits = |text: String| {
        Progress::Waits(format!("Waiting for {what} {name:?} rollout to finish: {text}..."))
    };
    // A status of before the last change says nothing about it.
    let generation = meta["generation"].as_u64().unwrap_or(0);
    if status["observedGeneration"].as_u64().unwrap_or(generation) < generation {
        return Progress::Waits(format!("Waiting for {what} spec update to be observed..."));
    }
    let (updated, wanted, all, available) = match kind {
        "DaemonSet" | "StatefulSet"
            if spec["updateStrategy"]["type"].as_str().is_some_and(|kind| kind == "OnDelete") =>
        {
            return Progress::Stuck(format!(
                "{what} {name:?} has the update strategy OnDelete, which has no rollout to wait for"
            ));
        }
        "StatefulSet" => {
            // Those below the partition stay as they are.
            let replicas = spec["replicas"].as_u64().unwrap_or(1);
            let rolling = &spec["updateStrategy"]["rollingUpdate"];
            let wanted = replicas.saturating_sub(rolling["partition"].as_u64().unwrap_or(0));
            let ready = count("availableReplicas");
            let missing = replicas.saturating_sub(ready);
            (count("updatedReplicas"), wanted, 0, wanted.saturating_sub(missing))
        }
        "DaemonSet" => (
            count("updatedNumberScheduled"),
            count("desiredNumberScheduled"),
            0,
            count("numberAvailable"),
        ),
        _ => (
            count("updatedReplicas"),
            spec["replicas"].as_u64().unwrap_or(1),
            count("replicas"),
            count("availableReplicas"),
        ),
    };
    if exceeded(status) {
        return Progress::Stuck(format!("{what} {name:?} exceeded its progress deadline"));
    }
    if updated < wanted {
        let new = if kind == "DaemonSet" { "new pods" } else { "new replicas" };
        return waits(format!("{updated} out of {wanted} {new} have been updated"));
    }
    if all > updated {
        return waits(format!("{} old replicas are pending termination", all - updated));
    }
    if available < wanted {
        let updated_pods = if kind == "DaemonSet" { "updated pods" } else { "updated replicas" };
        return waits(format!("{available} of {wanted} {updated_pods} are available"));
    }
    Progress::Done(format!("{what} {name:?} successfully rolled out"))
}

/// Whether it has made no progress for too long.
fn exceeded(status: &Value) -> bool {
    let mut conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| {
        condition["type"] == "Progressing" && condition["reason"] == "ProgressDeadlineExceeded"
    })
}

/// `DaemonSet` as kubectl says it: `daemon set`.
fn words(kind: &str) -> String {
    let mut text = String::new();
    for letter in kind.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(kind: &str, spec: &Value, status: &Value, expected: &str) {
        let workload =
            json!({"metadata": {"name": "web", "generation": 2}, "spec": spec, "status": status});
        let shown = match progress(kind, &workload) {
            Progress::Waits(text) => format!("… {text}"),
            Progress::Done(text) => format!("+ {text}"),
            Progress::Stuck(text) => format!("- {text}"),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_deployment_goes_through_kubectls_steps() {
        let check = |status: Value, expected: &str| {
            check("Deployment", &json!({"replicas": 3}), &status, expected);
        };
        check(
            json!({"observedGeneration": 1}),
            "… Waiting for deployment spec update to be observed...",
        );
        check(
            json!({"observedGeneration": 2, "updatedReplicas": 1, "replicas": 3}),
            "… Waiting for deployment \"web\" rollout to finish: 1 out of 3 new replicas have been updated...",
        );
        check(
            json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 4}),
            "… Waiting for deployment \"web\" rollout to finish: 1 old replicas are pending termination...",
        );
        check(
            json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 2}),
            "… Waiting for deployment \"web\" rollout to finish: 2 of 3 updated replicas are available...",
        );
        check(
            json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 3}),
            "+ deployment \"web\" successfully rolled out",
        );
        check(
            json!({"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}),
            "- deployment \"web\" exceeded its progress deadline",
        );
    }

    #[test]
    fn a_daemon_set_goes_device_by_device() {
        let status = json!({"desiredNumberScheduled": 2, "updatedNumberScheduled": 1});
        check(
            "DaemonSet",
            &json!({}),
            &status,
            "… Waiting for daemon set \"web\" rollout to finish: 1 out of 2 new pods have been updated...",
        );
        let status = json!({"desiredNumberScheduled": 2, "updatedNumberScheduled": 2,
            "numberAvailable": 2});
        check("DaemonSet", &json!({}), &status, "+ daemon set \"web\" successfully rolled out");
        check(
            "DaemonSet",
            &json!({"updateStrategy": {"type": "OnDelete"}}),
            &status,
            "- daemon set \"web\" has the update strategy OnDelete, which has no rollout to wait for",
        );
    }
}
