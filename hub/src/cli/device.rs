//! `lichen device`: the identities of devices: who waits for a yes, who has joined, who is kept out, who is expected.

use serde_json::{Value, json};
use ureq::http::Method;

use super::{
    Context,
    args::{ApproveArgs, DeviceCommand, DevicesArgs, RegisterArgs},
    discovery::ObjectRef,
    error::CliError,
    token::{labels, list, words},
    ui::{Tone, plain},
};

/// The kind, as it is asked for. Its objects are called as their devices are.
const KIND: &str = "enrolments";

/// Runs the command.
///
/// # Errors
/// There is no such device, it is not in a state for this, or the hub can't be reached.
pub fn run(context: &mut Context, command: &DeviceCommand) -> Result<(), CliError> {
    match command {
        DeviceCommand::List { output } => list(context, KIND, *output),
        DeviceCommand::Approve(args) => approve_all(context, args),
        DeviceCommand::Deny(args) => each(context, args, "deny", deny),
        DeviceCommand::Revoke(args) => each(context, args, "revoke", revoke),
        DeviceCommand::Forget(args) => each(context, args, "forget", forget),
        DeviceCommand::Register(args) => register(context, args),
    }
}

/// Does something with each device. What fails does not keep the others from being tried.
fn each(
    context: &mut Context,
    args: &DevicesArgs,
    verb: &str,
    act: impl Fn(&mut Context, &ObjectRef, &Value) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut failed = Vec::new();
    for device in context.objects(&words(KIND, &args.names), "", &format!("device {verb}"))? {
        let done = match context.client.read(&device)? {
            Some(enrolment) => act(context, &device, &enrolment),
            None => Err(CliError::Failed(format!(
                "no device {:?} has asked to join; see all with: lichen device list",
                device.name
            ))),
        };
        match done {
            Err(CliError::Client(error)) if error.is_of_connection() => return Err(error.into()),
            Err(error) => failed.push(error),
            Ok(()) => {}
        }
    }
    let Some(last) = failed.pop() else { return Ok(()) };
    failed.iter().for_each(|error| error.print(&mut context.ui));
    Err(last)
}

fn say(context: &mut Context, device: &ObjectRef, what: &str, tone: Tone) -> Result<(), CliError> {
    let what = context.ui.tinted(what, tone);
    Ok(context.ui.line(&format!("device/{} {what}", device.name))?)
}

fn phase(enrolment: &Value) -> &str {
    enrolment["status"]["phase"].as_str().unwrap_or_default()
}

fn approve_all(context: &mut Context, args: &ApproveArgs) -> Result<(), CliError> {
    if args.key.is_some() && args.devices.names.len() > 1 {
        return Err(CliError::Usage("--key is of one device: approve one at a time".to_owned()));
    }
    let wanted = args.key.as_deref().unwrap_or_default();
    each(context, &args.devices, "approve", |context, device, enrolment| {
        approve(context, device, enrolment, wanted)
    })
}

/// Approves the enrolment as it was read: of no other board that has asked for the name since.
fn approve(
    context: &mut Context,
    device: &ObjectRef,
    enrolment: &Value,
    wanted: &str,
) -> Result<(), CliError> {
    let status = |field: &str| enrolment["status"][field].as_str().unwrap_or_default();
    let (key, address) = (status("key"), status("address"));
    let shown = key.get(..16).unwrap_or(key);
    if !key.starts_with(wanted) {
        let has = if key.is_empty() { "no key yet".into() } else { format!("the key {shown}") };
        return Err(CliError::Failed(format!(
            "device {} has {has}, which is not {wanted}: another board asks for this name; see lichen device list -o wide",
            device.name
        )));
    }
    // Whoever was revoked is let in again. Who was looked at, and nobody who has come in between.
    let patch = json!({
        "metadata": {"resourceVersion": enrolment["metadata"]["resourceVersion"]},
        "spec": {"approved": true, "revoked": false},
    });
    context.client.merge(device, &patch)?;
    say(context, device, "approved", Tone::Good)?;
    if key.is_empty() {
        return Ok(());
    }
    let from = if address.is_empty() { "" } else { " at " };
    Ok(context.ui.line(&plain(&format!("  the board{from}{address} with the key {shown}")))?)
}

fn deny(context: &mut Context, device: &ObjectRef, enrolment: &Value) -> Result<(), CliError> {
    if phase(enrolment) != "Pending" {
        return Err(CliError::Failed(format!(
            "device {name} does not wait for a yes, it is {}; keep it out with: lichen device revoke {name}",
            phase(enrolment),
            name = device.name
        )));
    }
    context.client.call(Method::DELETE, &device.path(), None)?;
    say(context, device, "denied", Tone::Warn)
}

fn revoke(context: &mut Context, device: &ObjectRef, _: &Value) -> Result<(), CliError> {
    context.client.merge(device, &json!({"spec": {"revoked": true}}))?;
    say(context, device, "revoked", Tone::Warn)
}

/// Removes the enrolment, and the Node of a device that is not there any more.
fn forget(context: &mut Context, device: &ObjectRef, _: &Value) -> Result<(), CliError> {
    let nodes = context.discovery()?.find("nodes")?;
    let node = ObjectRef::new(&nodes, "", &device.name);
    let found = context.client.read(&node)?;
    context.client.call(Method::DELETE, &device.path(), None)?;
    say(context, device, "forgotten", Tone::Warn)?;
    match found {
        Some(found) if is_ready(&found) => {
            let name = &device.name;
            context.ui.warn(&format!(
                "node/{name} is Ready and stays; remove it when the device is off: lichen delete node {name}"
            ));
            Ok(())
        }
        Some(_) => match context.client.call(Method::DELETE, &node.path(), None) {
            Ok(_) => {
                let deleted = context.ui.tinted("deleted", Tone::Warn);
                Ok(context.ui.line(&format!("{} {deleted}", node.label()))?)
            }
            // The hub may have been faster.
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        },
        None => Ok(()),
    }
}

fn is_ready(node: &Value) -> bool {
    let mut conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn register(context: &mut Context, args: &RegisterArgs) -> Result<(), CliError> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name_of(&args.serial).ok_or_else(|| {
            CliError::Usage(format!(
                "no name can be made of the serial number {:?}; give one with --name",
                args.serial
            ))
        })?,
    };
    let device =
        context.objects(&words(KIND, std::slice::from_ref(&name)), "", "device register")?;
    let Some(device) = device.first() else { return Ok(()) };
    let body = json!({
        "apiVersion": device.resource.group_version,
        "kind": device.resource.kind,
        "metadata": {"name": name},
        "spec": {"approved": true, "serialNumber": args.serial, "labels": labels(&args.labels)?},
    });
    context.client.call(Method::POST, &device.resource.collection(None), Some(&body))?;
    say(context, device, "registered", Tone::Good)
}

/// A device's name that is made of its serial number: lower case, and dashes for what can't be in a name.
fn name_of(serial: &str) -> Option<String> {
    /// Longest name of a device.
    const MAX: usize = 63;
    let fit = |letter: char| {
        if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' }
    };
    let name: String = serial.chars().take(MAX).map(fit).collect();
    let name = name.trim_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_makes_a_name_if_it_can() {
        for (serial, name) in [
            ("10000000ABCDEF01", Some("10000000abcdef01")),
            ("/SN 7_a/", Some("sn-7-a")),
            ("--", None),
            ("", None),
            ("ä", None),
        ] {
            assert_eq!(name_of(serial).as_deref(), name, "{serial}");
        }
        assert_eq!(name_of(&"x".repeat(100)).map(|name| name.len()), Some(63));
    }
}
