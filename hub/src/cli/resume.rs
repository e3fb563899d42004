//! `lichen resume`: makes the hub's assignment count on devices that are paused.

use serde_json::Value;
use ureq::http::Method;

use super::{
    Context,
    args::ResumeArgs,
    client::{ClientError, segment},
    error::CliError,
    ui::plain,
};

/// Runs the command.
///
/// # Errors
/// There is no such device, or nothing to resume.
pub fn run(context: &mut Context, args: &ResumeArgs) -> Result<(), CliError> {
    let names = if args.all { paused(context)? } else { args.names.clone() };
    if names.is_empty() {
        return Ok(context.ui.line("no device is paused")?);
    }
    let mut failed = Vec::new();
    for name in &names {
        let target = format!("/lichen/v1/devices/{}/resume", segment(name));
        match context.client.call(Method::POST, &target, None) {
            Ok(_) => {
                let name = plain(name);
                context
                    .ui
                    .line(&format!("node/{name} resumed; this hub's assignment counts now"))?;
            }
            Err(ClientError::Refused(refused)) => {
                failed
                    .push(CliError::Failed(format!("could not resume {}: {refused}", plain(name))));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let Some(last) = failed.pop() else { return Ok(()) };
    failed.iter().for_each(|error| error.print(&mut context.ui));
    Err(last)
}

/// The devices that are paused.
fn paused(context: &Context) -> Result<Vec<String>, CliError> {
    let nodes = context.client.get("/api/v1/nodes")?;
    let nodes = nodes["items"].as_array().into_iter().flatten();
    let names =
        nodes.filter(|node| is_paused(node)).filter_map(|node| node["metadata"]["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

fn is_paused(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Paused" && condition["status"] == "True")
}
