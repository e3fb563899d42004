//! `lichen rollout`: what kubectl's does, with nothing but the public API: fields and status of workloads, and the objects in
//! which Kubernetes keeps their revisions.

mod history;
mod revision;
mod status;
mod undo;

use std::time::{SystemTime, UNIX_EPOCH};

use lichen_hub_core::api::time::rfc3339;
use serde_json::{Value, json};

use super::{
    Context,
    args::{RolloutCommand, WorkloadArgs},
    client::ClientError,
    discovery::ObjectRef,
    error::CliError,
};

/// The annotation of a template that says when it was asked to be restarted.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Runs the command.
///
/// # Errors
/// There is no such workload, it can't be done to it, or the hub can't be reached.
pub fn run(context: &mut Context, command: &RolloutCommand) -> Result<(), CliError> {
    let (name, args) = match command {
        RolloutCommand::Status(args) => ("status", &args.workloads),
        RolloutCommand::History(args) => ("history", &args.workloads),
        RolloutCommand::Undo(args) => ("undo", &args.workloads),
        RolloutCommand::Pause(args) => ("pause", args),
        RolloutCommand::Resume(args) => ("resume", args),
        RolloutCommand::Restart(args) => ("restart", args),
    };
    for workload in workloads(context, args, name)? {
        match command {
            RolloutCommand::Status(args) => status::run(context, args, &workload)?,
            RolloutCommand::History(args) => history::run(context, args, &workload)?,
            RolloutCommand::Undo(args) => undo::run(context, args, &workload)?,
            RolloutCommand::Pause(_) => pause(context, &workload, true)?,
            RolloutCommand::Resume(_) => pause(context, &workload, false)?,
            RolloutCommand::Restart(_) => restart(context, &workload)?,
        }
    }
    Ok(())
}

fn workloads(
    context: &Context,
    args: &WorkloadArgs,
    verb: &str,
) -> Result<Vec<ObjectRef>, CliError> {
    let namespace = context.namespace(&args.namespace);
    context.objects(&args.words, &namespace, &format!("rollout {verb}"))
}

/// A workload that must be there and have Pods of a template.
fn must_read(context: &Context, workload: &ObjectRef) -> Result<Value, CliError> {
    let value = context.must_read(workload)?;
    if value["spec"]["template"].is_object() {
        return Ok(value);
    }
    Err(CliError::Usage(format!(
        "a {} has no rollout; name a deployment or another workload",
        workload.resource.singular
    )))
}

fn is_paused(workload: &Value) -> bool {
    workload["spec"]["paused"] == true
}

fn pause(context: &mut Context, workload: &ObjectRef, paused: bool) -> Result<(), CliError> {
    let before = must_read(context, workload)?;
    if workload.resource.kind != "Deployment" {
        return Err(CliError::Usage(format!(
            "a {} can't be paused; a deployment can",
            workload.resource.singular
        )));
    }
    let word = if paused { "paused" } else { "resumed" };
    if is_paused(&before) == paused {
        let state = if paused { "already paused" } else { "not paused" };
        return Err(CliError::Failed(format!("{} is {state}", workload.label())));
    }
    merge(context, workload, &json!({"spec": {"paused": paused}}))?;
    context.ui.line(&format!("{} {word}", workload.label()))?;
    Ok(())
}

fn restart(context: &mut Context, workload: &ObjectRef) -> Result<(), CliError> {
    if is_paused(&must_read(context, workload)?) {
        return Err(CliError::Failed(format!(
            "{label} is paused, so nothing would restart; first run: lichen rollout resume {label}",
            label = workload.label()
        )));
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = rfc3339(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let annotations = json!({"annotations": {RESTARTED_AT: now}});
    merge(context, workload, &json!({"spec": {"template": {"metadata": annotations}}}))?;
    context.ui.line(&format!("{} restarted", workload.label()))?;
    Ok(())
}

fn merge(context: &Context, workload: &ObjectRef, patch: &Value) -> Result<Value, CliError> {
    context.client.merge(workload, patch).map_err(|error| refused(error, workload))
}

/// The hub's no, with the workload's name.
fn refused(error: ClientError, workload: &ObjectRef) -> CliError {
    match error {
        error if error.is_not_found() => workload.not_found(),
        ClientError::Refused(refused) => {
            CliError::Failed(format!("could not change {}: {refused}", workload.label()))
        }
        error => error.into(),
    }
}
