//! The command line of `lichen`. Each command has a file; what they share is the grammar ([`args`]), the way to the hub
//! ([`client`]) and to the terminal ([`ui`], [`table`]).

mod about;
mod apply;
pub mod args;
mod audit;
mod auth;
mod broker;
pub mod client;
mod config;
mod context;
mod create;
mod delete;
mod describe;
mod device;
pub mod discovery;
pub mod error;
mod explain;
mod files;
mod get;
mod hub;
mod image;
mod kinds;
pub mod kubeconfig;
mod login;
mod logs;
mod pvc;
mod quickstart;
mod resume;
mod rollout;
pub mod table;
mod token;
mod tone;
pub mod ui;
mod workload;
pub(crate) mod yaml;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use client::Client;
pub use context::Context;
use error::CliError;
use kubeconfig::Places;
use ui::{Level, Ui};

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => Level::Quiet,
        (_, true) => Level::Verbose,
        _ => Level::Normal,
    };
    let choice = cli.connection.choice(Places::of_process());
    let client = Client::new(choice, level == Level::Verbose);
    let mut context = Context::new(client, Ui::standard(level));
    match run(&mut context, cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            error.print(&mut context.ui);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Runs one command.
///
/// # Errors
/// Whatever is in its way.
pub fn run(context: &mut Context, command: Command) -> Result<(), CliError> {
    match command {
        Command::Quickstart(args) => quickstart::run(context, args),
        Command::Hub(args) => hub::run(context, args),
        Command::Login(args) => login::run(context, args),
        Command::Config(command) => config::run(context, &command),
        Command::Token(command) => token::run(context, &command),
        Command::Device(command) => device::run(context, &command),
        Command::Broker(command) => broker::run(context, &command),
        Command::Apply(args) => apply::run(context, &args),
        Command::Delete(args) => delete::run(context, &args),
        Command::Get(args) => get::run(context, &args),
        Command::Describe(args) => describe::run(context, &args),
        Command::Explain(args) => explain::run(context, &args),
        Command::Logs(args) => logs::run(context, &args),
        Command::Pvc(args) => pvc::run(context, &args),
        Command::Rollout(command) => rollout::run(context, &command),
        Command::Auth(command) => auth::run(context, &command),
        Command::Create(command) => create::run(context, &command),
        Command::Image(command) => image::run(context, command),
        Command::Audit(args) => audit::run(context, &args),
        Command::Resume(args) => resume::run(context, &args),
        Command::Completion { shell } => about::completion(context, shell),
        Command::Version { client } => about::version(context, client),
    }
}
