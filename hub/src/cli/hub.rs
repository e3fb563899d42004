//! `lichen hub`: runs a hub in this process until it is told to stop. What else is done with a hub has files of its own:
//! [`backup`], [`restore`], [`trust`].

mod backup;
mod restore;
mod trust;

use std::path::{Path, PathBuf};

use firmware_compat::enrolment::Address;
use rustix::fs::Mode;
use tokio::runtime::Runtime;
use tracing::level_filters::LevelFilter;

use super::{
    Context,
    args::{HubArgs, HubCommand, whole_seconds},
    error::CliError,
    kubeconfig::admin,
    ui::Level,
};
use crate::{
    server::{self, HubConfig},
    store::KeySource,
};

/// Runs the command.
///
/// # Errors
/// The hub can't start, or its store failed.
pub fn run(context: &mut Context, args: HubArgs) -> Result<(), CliError> {
    // What a hub is, runs or restored, is for its owner alone.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    match &args.command {
        Some(HubCommand::Backup(args)) => return backup::run(context, args),
        Some(HubCommand::Restore(args)) => return restore::run(context, args),
        Some(HubCommand::Trust { bundle }) => return trust::show(context, *bundle),
        Some(HubCommand::RotateCa(args)) => return trust::rotate_authority(context, args),
        Some(HubCommand::RotateSigningKey(args)) => {
            return trust::rotate_signing_key(context, args);
        }
        None => {}
    }
    let state = state_dir(args.state.as_deref())?;
    start_logging(context);
    let mut config = HubConfig::new(state.clone(), args.api, args.devices);
    for given in &args.advertise {
        let address = Address::parse_or(given, config.devices.port());
        config.advertise.push(address.map_err(|error| CliError::Usage(error.to_string()))?);
    }
    config.external_broker = args.external_broker;
    config.accept_clock = args.accept_clock;
    config.secrets_key = KeySource::find(args.secrets_key, |name| std::env::var_os(name));
    if let Some(time) = args.lost_after {
        config.lost_after_s = whole_seconds(time);
    }
    if let Some(time) = args.certificate_lifetime {
        config.lifetimes.certificate_s = whole_seconds(time).into();
    }
    if let Some(time) = args.renewal_grace {
        config.lifetimes.grace_s = whole_seconds(time).into();
    }
    runtime()?.block_on(async {
        let running = server::start(config).await?;
        announce(context, running.kubeconfig());
        let ui = &mut context.ui;
        ui.line(&format!("hub      {}  (API, images)", running.url()))?;
        ui.line(&format!("devices  {}  (MQTT, artefacts, enrolment)", running.devices()))?;
        if let Some(broker) = running.broker() {
            ui.line(&format!("broker   {broker}"))?;
        }
        ui.line(&format!("state    {}", state.display()))?;
        ui.note(&format!(
            "next: lichen token create     prints the line by which a device joins\n      lichen get nodes        as {}, which {} says",
            server::ADMIN,
            running.kubeconfig().display()
        ));
        running.until_signal().await?;
        ui.note("the hub has stopped; devices go on with what they have");
        Ok(())
    })
}

/// Where a hub keeps its state.
fn state_dir(given: Option<&Path>) -> Result<PathBuf, CliError> {
    match given {
        Some(state) => Ok(state.to_owned()),
        // A hub that root runs is a service of the machine.
        None if rustix::process::geteuid().is_root() => Ok(PathBuf::from("/var/lib/lichen-hub")),
        None => user_state("hub"),
    }
}

/// `1 device`, `2 devices`.
fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Lets `lichen` of the same user find the hub, wherever it keeps its state.
pub(super) fn announce(context: &mut Context, kubeconfig: &Path) {
    let Ok(link) = user_state(admin::FILE) else { return };
    if let Err(error) = admin::announce(&link, kubeconfig) {
        let link = link.display();
        context.ui.warn(&format!("could not write {link}: {error}; use --kubeconfig"));
    }
}

/// The runtime that a hub runs on.
pub(super) fn runtime() -> Result<Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(format!("could not start the hub's threads: {error}")))
}

/// Where state goes if it is not said, below the home directory.
pub(super) fn user_state(name: &str) -> Result<PathBuf, CliError> {
    let given =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base =
        given("XDG_STATE_HOME").or_else(|| given("HOME").map(|home| home.join(".local/state")));
    base.map(|base| base.join("lichen").join(name)).ok_or_else(|| {
        CliError::Usage(
            "there is no home directory; say where to keep state with --state DIR".to_owned(),
        )
    })
}

fn start_logging(context: &mut Context) {
    let level = log_level(context);
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(context.ui.err_terminal)
        .with_writer(std::io::stderr)
        .init();
}

/// What `LICHEN_LOG` says, or what -q and -v mean.
pub(super) fn log_level(context: &mut Context) -> LevelFilter {
    let usual = match context.ui.level {
        Level::Quiet => LevelFilter::WARN,
        Level::Normal => LevelFilter::INFO,
        Level::Verbose => LevelFilter::DEBUG,
    };
    let wanted = std::env::var("LICHEN_LOG").unwrap_or_default();
    // An empty text would parse, as the level that says least.
    if wanted.is_empty() {
        return usual;
    }
    wanted.parse().unwrap_or_else(|_| {
        context.ui.warn(&format!(
            "LICHEN_LOG={wanted} is not off, error, warn, info, debug or trace; using {usual}"
        ));
        usual
    })
}
