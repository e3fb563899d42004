//! Small commands: `version`, `completion`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Context, args::Cli, error::CliError, ui::plain};

/// `lichen version`.
///
/// # Errors
/// The hub can't be reached.
pub fn version(context: &mut Context, client_only: bool) -> Result<(), CliError> {
    context.ui.line(&format!("lichen {}", env!("CARGO_PKG_VERSION")))?;
    if client_only {
        return Ok(());
    }
    let connection = context.client.connection()?.clone();
    let answer = context.client.get("/version")?;
    let git = answer["gitVersion"].as_str().unwrap_or("unknown");
    let (kubernetes, lichen) = git.split_once("+lichen-").unwrap_or((git, "unknown"));
    let server = &connection.server;
    let line = format!("hub    {lichen} at {server}, with the API of Kubernetes {kubernetes}");
    context.ui.line(&plain(&line))?;
    for fingerprint in connection.authorities.fingerprints() {
        context.ui.line(&format!("       its authority has the fingerprint {fingerprint}"))?;
    }
    Ok(())
}

/// `lichen completion`.
///
/// # Errors
/// Stdout can't be written.
pub fn completion(context: &mut Context, shell: Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lichen", &mut script);
    Ok(context.ui.write(&script)?)
}
