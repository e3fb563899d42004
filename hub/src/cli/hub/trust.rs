//! `lichen hub trust`, `rotate-ca` and `rotate-signing-key`: the hub's keys, and changing them.

use serde_json::{Value, json};
use ureq::http::Method;

use crate::cli::{
    Context,
    args::{RotateArgs, whole_seconds},
    error::CliError,
    ui::{Ui, plain},
};

/// Shows the keys that count.
///
/// # Errors
/// The hub can't be reached, or says no.
pub fn show(context: &mut Context, bundle: bool) -> Result<(), CliError> {
    let trust = context.client.get("/lichen/v1/trust")?;
    if bundle {
        let bundle = trust["bundle"].as_str().unwrap_or_default();
        return Ok(context.ui.write(bundle.as_bytes())?);
    }
    tell(&mut context.ui, &trust)
}

/// Changes the CA.
///
/// # Errors
/// The hub can't be reached, or says no.
pub fn rotate_authority(context: &mut Context, args: &RotateArgs) -> Result<(), CliError> {
    let trust = rotate(context, "rotate-ca", args)?;
    tell(&mut context.ui, &trust)?;
    let said = match text(&trust["previousAuthority"]["until"]) {
        "" => "the old CA is worth nothing any more: every device has to join again (lichen token create, and on the \
               device remove identity/hub.json and run the line), and everybody has to log in again; a broker beside this hub \
               needs lichen broker config and a restart"
            .to_owned(),
        until => format!(
            "devices renew their certificates by themselves; see lichen hub trust. Before {}:\n\
             - log in again from every other machine: lichen login\n\
             - give programs that know the CA the new one beside it: lichen hub trust --bundle\n\
             - if there is a broker beside this hub, now: lichen broker config, and restart it, or it refuses the hub and its devices\n\
             And make a backup: the hub of an older one is not the one that devices know then",
            plain(until)
        ),
    };
    context.ui.note(&said);
    Ok(())
}

/// Changes the signing key.
///
/// # Errors
/// The hub can't be reached, or says no.
pub fn rotate_signing_key(context: &mut Context, args: &RotateArgs) -> Result<(), CliError> {
    let trust = rotate(context, "rotate-signing-key", args)?;
    tell(&mut context.ui, &trust)?;
    context.ui.note(
        "devices are told the new key as they come; see lichen hub trust. Make a backup then: devices do not heed the hub of \
         an older one",
    );
    Ok(())
}

fn rotate(context: &Context, what: &str, args: &RotateArgs) -> Result<Value, CliError> {
    let body = json!({"overlapS": whole_seconds(args.overlap)});
    let target = format!("/lichen/v1/trust/{what}");
    Ok(context.client.call(Method::POST, &target, Some(&body)).map(|(_, trust)| trust)?)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn tell(ui: &mut Ui, trust: &Value) -> Result<(), CliError> {
    let authority = &trust["authority"];
    let mut lines = vec![(
        "CA",
        format!("{} since {}", text(&authority["fingerprint"]), text(&authority["since"])),
    )];
    let previous = &trust["previousAuthority"];
    if previous.is_object() {
        let (fingerprint, until) = (text(&previous["fingerprint"]), text(&previous["until"]));
        lines.push(("", format!("{fingerprint} until {until}")));
    }
    let certificates = &trust["certificates"];
    let (have, all) = (&certificates["ofAuthority"], &certificates["devices"]);
    lines.push(("", format!("{have} of {all} devices have a certificate of this CA")));
    let keys = trust["signingKeys"].as_array().into_iter().flatten().map(text);
    let keys: Vec<&str> = keys.collect();
    let (since, until) = (text(&trust["signingSince"]), text(&trust["signingUntil"]));
    match keys[..] {
        [newest, older] => {
            lines.push(("signing key", format!("{newest} to come")));
            lines.push(("", format!("{older} since {since}, until {until} at the longest")));
        }
        _ => lines.push(("signing key", format!("{} since {since}", keys.concat()))),
    }
    let agents = &trust["agents"];
    let (know, all) = (&agents["withNewestKey"], &agents["devices"]);
    lines.push(("", format!("{know} of {all} devices know the newest key")));
    for (what, said) in lines {
        ui.line(&plain(&format!("{what:<12} {said}")))?;
    }
    Ok(())
}
