//! `lichen apply`: everything is read and checked, then created or changed object by object.

use serde_json::Value;
use ureq::http::Method;

use super::{
    Context,
    args::ApplyArgs,
    client::{Client, ClientError},
    discovery::ObjectRef,
    error::CliError,
    files,
    ui::{Tone, plain},
};
use crate::manifest::{Manifest, Problems, remarks};

/// Runs the command.
///
/// # Errors
/// What is wrong with the manifests, or with the hub.
pub fn run(context: &mut Context, args: &ApplyArgs) -> Result<(), CliError> {
    let usual = context.namespace(&args.namespace);
    let mut manifests = files::read_all(&args.files, &args.namespace, &usual)?;
    files::check_all(&manifests)?;
    files::sort(&mut manifests);
    if args.dry_run {
        for manifest in &manifests {
            context.ui.line(&format!("{} checked", ObjectRef::known(&manifest.key()).label()))?;
        }
        return Ok(());
    }
    apply(context, &manifests)
}

/// Sends objects, and tells what became of each. What fails does not keep the others from being tried, unless no hub
/// answers at all.
///
/// # Errors
/// Those that failed.
pub fn apply(context: &mut Context, manifests: &[Manifest]) -> Result<(), CliError> {
    let mut failed = 0;
    for manifest in manifests {
        for remark in remarks(&manifest.node.to_value()) {
            let label = ObjectRef::known(&manifest.key()).label();
            context.ui.warn(&plain(&format!("{label}: {remark}")));
        }
        match send(&context.client, manifest) {
            Ok(outcome) => {
                let line = format!(
                    "{} {}",
                    ObjectRef::known(&manifest.key()).label(),
                    outcome.shown(context)
                );
                context.ui.line(&line)?;
            }
            Err(CliError::Client(error)) if error.is_of_connection() => return Err(error.into()),
            Err(error) => {
                failed += 1;
                error.print(&mut context.ui);
            }
        }
    }
    match failed {
        0 => Ok(()),
        _ => {
            Err(CliError::Told(format!("{failed} of {} objects were not applied", manifests.len())))
        }
    }
}

/// What applying an object did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Created,
    Configured,
    Unchanged,
}

impl Outcome {
    fn shown(self, context: &Context) -> String {
        match self {
            Self::Created => context.ui.tinted("created", Tone::Good),
            Self::Configured => context.ui.tinted("configured", Tone::Warn),
            Self::Unchanged => "unchanged".to_owned(),
        }
    }
}

fn send(client: &Client, manifest: &Manifest) -> Result<Outcome, CliError> {
    let object = ObjectRef::known(&manifest.key());
    let before = client.read(&object)?;
    let mut body = serde_json::to_value(&manifest.object).map_err(|error| {
        CliError::Failed(format!("could not write {} as JSON: {error}", object.label()))
    })?;
    if is_of_another(manifest, before.as_ref())
        && let Some(metadata) = body["metadata"].as_object_mut()
    {
        metadata.remove("resourceVersion");
    }
    let is_there = before.is_some();
    let answer = match write(client, &object, &body, is_there) {
        Err(error) if is_overtaken(&error, &object) => write(client, &object, &body, !is_there),
        answer => answer,
    };
    match answer {
        Ok((201, _)) => Ok(Outcome::Created),
        Ok((_, after)) => Ok(match before {
            Some(before) if version(&before) == version(&after) => Outcome::Unchanged,
            _ => Outcome::Configured,
        }),
        Err(error) => Err(explained(error, manifest, &object)),
    }
}

/// Whether a manifest was written by the server of another object, such as one of another cluster: its version says nothing
/// here.
fn is_of_another(manifest: &Manifest, before: Option<&Value>) -> bool {
    let written = manifest.node.get("metadata").and_then(|metadata| metadata.get("uid"));
    let there = before.map(|object| &object["metadata"]["uid"]);
    written.is_some_and(|uid| there != Some(&uid.to_value()))
}

/// Creates an object or replaces it, for either of which a role may have the right alone.
fn write(
    client: &Client,
    object: &ObjectRef,
    body: &Value,
    is_there: bool,
) -> Result<(u16, Value), ClientError> {
    match is_there {
        true => client.call(Method::PUT, &object.path(), Some(body)),
        false => {
            let target = object.resource.collection(Some(&object.namespace));
            client.call(Method::POST, &target, Some(body))
        }
    }
}

/// Whether somebody else has created or deleted the object meanwhile.
fn is_overtaken(error: &ClientError, object: &ObjectRef) -> bool {
    let ClientError::Refused(refused) = error else { return false };
    let gone = refused.reason == "NotFound" && refused.about == object.resource.plural;
    gone || refused.reason == "AlreadyExists"
}

fn version(object: &Value) -> Option<&str> {
    object["metadata"]["resourceVersion"].as_str()
}

/// The hub's no, with the place in the manifest.
fn explained(error: ClientError, manifest: &Manifest, object: &ObjectRef) -> CliError {
    let ClientError::Refused(refused) = &error else { return error.into() };
    if !refused.causes.is_empty() {
        let problems = refused.causes.iter().map(|cause| manifest.problem(cause)).collect();
        return CliError::Manifests(Problems(problems));
    }
    if refused.code == 404 && refused.about == "namespaces" {
        return CliError::Failed(format!(
            "could not apply {}: there is no namespace {namespace}; apply a manifest of it: \
             {{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}",
            object.label(),
            namespace = object.namespace,
        ));
    }
    CliError::Failed(format!("could not apply {}: {refused}", object.label()))
}
