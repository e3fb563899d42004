//! `lichen apply`: everything is read and checked, then created or changed object by object.

use lichen_hub_core::api::Key;
use serde_json::Value;
use ureq::http::Method;

use super::{
    Context,
    args::ApplyArgs,
    client::{Client, ClientError, path_of},
    error::CliError,
    files, kinds,
    ui::Tone,
};
use crate::manifest::{Manifest, Problems};

/// Runs the command.
///
/// # Errors
/// What is wrong with the manifests, or with the hub.
pub fn run(context: &mut Context, args: &ApplyArgs) -> Result<(), CliError> {
    let mut manifests = files::read_all(&args.files, args.namespace.namespace.as_deref())?;
    files::check_all(&manifests)?;
    files::sort(&mut manifests);
    if args.dry_run {
        for manifest in &manifests {
            context.ui.line(&format!("{} checked", kinds::label(&manifest.key())))?;
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
        match send(&context.client, manifest) {
            Ok(outcome) => {
                let line = format!("{} {}", kinds::label(&manifest.key()), outcome.shown(context));
                context.ui.line(&line)?;
            }
            Err(
                error @ CliError::Client(ClientError::NoHub(_) | ClientError::Unreachable { .. }),
            ) => {
                return Err(error);
            }
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
    let key = manifest.key();
    let before = client.read(&key)?;
    let body = serde_json::to_value(&manifest.object)
        .map_err(|error| CliError::Failed(format!("could not write {key} as JSON: {error}")))?;
    let target = format!("{}?create=true", path_of(&key));
    match client.call(Method::PUT, &target, Some(&body)) {
        Ok((201, _)) => Ok(Outcome::Created),
        Ok((_, after)) => Ok(match before {
            Some(before) if version(&before) == version(&after) => Outcome::Unchanged,
            _ => Outcome::Configured,
        }),
        Err(error) => Err(explained(error, manifest, &key)),
    }
}

fn version(object: &Value) -> Option<&str> {
    object["metadata"]["resourceVersion"].as_str()
}

/// The hub's no, with the place in the manifest.
fn explained(error: ClientError, manifest: &Manifest, key: &Key) -> CliError {
    let ClientError::Refused(refused) = &error else { return error.into() };
    if !refused.causes.is_empty() {
        let problems = refused.causes.iter().map(|cause| manifest.problem(cause)).collect();
        return CliError::Manifests(Problems(problems));
    }
    if refused.code == 404 && refused.about == "namespaces" {
        return CliError::Failed(format!(
            "could not apply {}: there is no namespace {namespace}; apply a manifest of it: \
             {{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}",
            kinds::label(key),
            namespace = key.namespace,
        ));
    }
    CliError::Failed(format!("could not apply {}: {refused}", kinds::label(key)))
}
