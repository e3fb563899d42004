//! `lichen broker`: a broker's configuration ([`mosquitto`], [`emqx`]), with the key and the certificate that the hub makes for
//! it; and the list of revoked certificates.

mod emqx;
mod mosquitto;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use ureq::http::Method;

use super::{
    Context,
    args::{BrokerArgs, BrokerCommand, BrokerKind},
    error::CliError,
    ui::plain,
};

/// Connections that a broker takes: as many devices as a hub has at most, with room for those that come back before they are
/// missed.
const MOST_CONNECTIONS: usize = 50_000;
/// Names of files.
const CA: &str = "ca.pem";
const CERTIFICATE: &str = "broker.pem";
const KEY: &str = "broker.key";
const CRL: &str = "crl.pem";

/// A file of a broker's configuration.
struct ConfigFile {
    name: &'static str,
    text: String,
}

/// Runs the command.
///
/// # Errors
/// The hub can't be reached or refuses, or a file can't be written.
pub fn run(context: &mut Context, command: &BrokerCommand) -> Result<(), CliError> {
    match command {
        BrokerCommand::Config(args) => config(context, args),
        BrokerCommand::Crl { output } => crl(context, output.as_deref()),
    }
}

fn config(context: &mut Context, args: &BrokerArgs) -> Result<(), CliError> {
    let Some(output) = &args.output else {
        let files = files(args.kind, args, &PathBuf::from("/etc/lichen-broker"));
        for ConfigFile { name, text } in &files {
            context.ui.write(format!("# ---- {name}\n{text}").as_bytes())?;
        }
        context.ui.note(
            "with --output DIR these files are written, and with them the broker's key and certificate, the hub's CA and \
             the list of revoked certificates",
        );
        return Ok(());
    };
    let body = json!({"names": args.names});
    let target = "/lichen/v1/broker/certificate";
    let (_, issued) = context.client.call(Method::POST, target, Some(&body))?;
    fs::create_dir_all(output).map_err(|error| unwritable(output, &error))?;
    let here = fs::canonicalize(output).map_err(|error| unwritable(output, &error))?;
    let place = args.installed_in.as_ref().unwrap_or(&here);
    let mut written = Vec::new();
    for (name, field, secret) in [
        (CA, "ca", false),
        (CRL, "crl", false),
        (KEY, "key", true),
        (CERTIFICATE, "certificate", false),
    ] {
        replace(&output.join(name), text(&issued[field]).as_bytes(), secret)?;
        written.push(name);
    }
    for ConfigFile { name, text } in files(args.kind, args, place) {
        replace(&output.join(name), text.as_bytes(), false)?;
        written.push(name);
    }
    for name in written {
        context.ui.line(&output.join(name).display().to_string())?;
    }
    let until = plain(text(&issued["notAfter"]));
    context.ui.note(&format!(
        "the broker's certificate lasts until {until}; run this again before\n\
         whoever reads {KEY} can be the broker: give the directory to the broker's user alone\n\
         start the hub with: lichen hub --external-broker mqtts://HOST"
    ));
    Ok(())
}

fn files(kind: BrokerKind, args: &BrokerArgs, place: &Path) -> Vec<ConfigFile> {
    match kind {
        BrokerKind::Mosquitto => mosquitto::files(args.listen, place),
        BrokerKind::Emqx => emqx::files(args.listen, place),
    }
}

fn crl(context: &mut Context, output: Option<&Path>) -> Result<(), CliError> {
    let answer = context.client.get("/lichen/v1/broker/crl")?;
    let list = text(&answer["crl"]);
    match output {
        None => Ok(context.ui.write(list.as_bytes())?),
        Some(path) => {
            replace(path, list.as_bytes(), false)?;
            let revoked = &answer["revoked"];
            Ok(context.ui.line(&format!("{}: {revoked} revoked", path.display()))?)
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Replaces a file as a whole: a broker that reads it meanwhile sees the old one or the new one.
fn replace(path: &Path, bytes: &[u8], is_secret: bool) -> Result<(), CliError> {
    let beside = PathBuf::from(format!("{}.new", path.display()));
    let mode = if is_secret { 0o600 } else { 0o644 };
    let write = || -> io::Result<()> {
        let _none_or_left_behind = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // Whose the file was, its successor is: the broker reads it.
        if let Ok(known) = fs::metadata(path) {
            use std::os::unix::fs::MetadataExt;
            let _not_allowed =
                std::os::unix::fs::chown(&beside, Some(known.uid()), Some(known.gid()));
        }
        fs::rename(&beside, path)
    };
    write().map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> CliError {
    CliError::Failed(format!("could not write {}: {error}", path.display()))
}
