//! `lichen create`: what no manifest declares.

use lichen_hub_core::api::Kind;
use serde_json::json;
use ureq::http::Method;

use super::{
    Context,
    args::{CreateCommand, ServiceAccountTokenArgs, whole_seconds},
    client::{ClientError, segment},
    discovery::ApiResource,
    error::CliError,
    ui::plain,
};

/// Runs the command.
///
/// # Errors
/// The hub can't be reached or refuses.
pub fn run(context: &mut Context, command: &CreateCommand) -> Result<(), CliError> {
    match command {
        CreateCommand::Token(args) => token(context, args),
    }
}

/// The token goes to stdout, alone, so that it can go into a file.
fn token(context: &mut Context, args: &ServiceAccountTokenArgs) -> Result<(), CliError> {
    let namespace = &context.namespace(&args.namespace);
    let accounts = ApiResource::known(Kind::ServiceAccount).collection(Some(namespace));
    let target = format!("{accounts}/{}/token", segment(&args.name));
    let mut spec = json!({"audiences": args.audiences});
    if let Some(duration) = args.duration {
        spec["expirationSeconds"] = whole_seconds(duration).into();
    }
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let (_, answer) =
        context.client.call(Method::POST, &target, Some(&request)).map_err(|error| {
            match error.is_not_found() {
                true => CliError::Failed(format!(
                    "serviceaccount {} not found in namespace {namespace}; make it with a manifest: \
                     {{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {}, namespace: {namespace}}}}}",
                    args.name, args.name
                )),
                false => error.into(),
            }
        })?;
    let status = &answer["status"];
    let token = status["token"].as_str().ok_or_else(|| ClientError::Answer {
        url: context.client.url(&target),
        cause: "it has no token".to_owned(),
    })?;
    context.ui.line(&plain(token))?;
    let ends = status["expirationTimestamp"].as_str().map(plain);
    if let Some(ends) = ends.filter(|ends| !ends.is_empty()) {
        context.ui.note(&format!("good until {ends}; whoever has it is {namespace}/{}", args.name));
    }
    Ok(())
}
