//! The grammar of the command line, and the help that goes with it.

mod access;
mod audit;
mod broker;
mod connection;
mod devices;
mod duration;
mod hub;
mod hub_commands;
mod image;
mod objects;
mod pods;
mod storage;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, builder::styling};
use clap_complete::Shell;

pub use access::{AuthCommand, CanIArgs, CreateCommand, ServiceAccountTokenArgs};
pub use audit::{AuditArgs, AuditOutput, Moment};
pub use broker::{BrokerArgs, BrokerCommand, BrokerKind, Listen};
pub use connection::{
    ConfigCommand, ConnectionArgs, ContextsOutput, LoginArgs, ViewArgs, ViewOutput,
};
pub use devices::{
    ApproveArgs, DeviceCommand, DevicesArgs, LabelArgs, RegisterArgs, TokenArgs, TokenCommand,
};
pub use duration::whole_seconds;
pub use hub::{HubArgs, QuickstartArgs};
pub use hub_commands::{BackupArgs, HubCommand, RestoreArgs, ResumeArgs, RotateArgs};
pub use image::{ImageCommand, PackArgs};
pub use objects::{ApplyArgs, DeleteArgs, GetArgs, NamedArgs, Output};
pub use pods::{HistoryArgs, LogsArgs, RolloutCommand, StatusArgs, UndoArgs, WorkloadArgs};
pub use storage::PvcArgs;

const STYLES: styling::Styles = styling::Styles::styled()
    .header(styling::AnsiColor::Green.on_default().bold())
    .usage(styling::AnsiColor::Green.on_default().bold())
    .literal(styling::AnsiColor::Cyan.on_default());

/// Runs workloads on devices: containers and WebAssembly, which go on when the hub is away.
#[derive(Debug, Parser)]
#[command(
    name = "lichen",
    version,
    styles = STYLES,
    arg_required_else_help = true,
    infer_subcommands = false,
    max_term_width = 100,
    after_help = "Start here:\n  lichen quickstart                  a hub and a device on this machine, with two workloads\n  lichen get all                     what there is\n  lichen explain deployment/web      why it does or doesn't run\n\nlichen COMMAND --help shows examples."
)]
pub struct Cli {
    /// Which hub is meant
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Say nothing but results and errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub quiet: bool,
    /// Tell each request
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub verbose: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a hub and a device on this machine and run two workloads
    Quickstart(QuickstartArgs),
    /// Run a hub
    Hub(HubArgs),
    /// Get to know a hub, and make it the one that commands talk to
    Login(LoginArgs),
    /// Show and choose contexts: who asks which hub
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make, show and delete the tokens by which devices join
    #[command(subcommand)]
    Token(TokenCommand),
    /// Show, approve, deny, revoke, forget and register devices
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Set up an MQTT broker of yours beside a hub
    #[command(subcommand)]
    Broker(BrokerCommand),
    /// Create or change what manifests declare
    Apply(ApplyArgs),
    /// Delete objects and wait until their Pods are gone
    Delete(DeleteArgs),
    /// Show objects
    Get(GetArgs),
    /// Show everything about objects
    Describe(NamedArgs),
    /// Say why an object is as it is, and what to do
    Explain(NamedArgs),
    /// Show what Pods print
    Logs(LogsArgs),
    /// Show where the data of claims is
    Pvc(PvcArgs),
    /// Follow, undo, pause, resume and restart what changes a workload's Pods
    #[command(subcommand)]
    Rollout(RolloutCommand),
    /// Say who you are and what you may do
    #[command(subcommand)]
    Auth(AuthCommand),
    /// Make what no manifest declares
    #[command(subcommand)]
    Create(CreateCommand),
    /// Push, make, list and remove images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Show who did or tried what, and check that record
    Audit(AuditArgs),
    /// Let this hub's assignment count on devices that are paused
    Resume(ResumeArgs),
    /// Print a script that completes commands in a shell
    #[command(
        after_help = "Examples:\n  lichen completion bash > /etc/bash_completion.d/lichen\n  lichen completion zsh > ~/.zfunc/_lichen\n  lichen completion fish > ~/.config/fish/completions/lichen.fish"
    )]
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Show the versions of this program and of the hub
    Version {
        /// Only of this program
        #[arg(long)]
        client: bool,
    },
}

/// Where objects are looked for.
#[derive(Debug, Args)]
pub struct NamespaceArg {
    /// The namespace
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
}

/// Manifests on the command line.
#[derive(Debug, Args)]
pub struct FileArgs {
    /// A manifest, a directory of them, or - for stdin; may be repeated
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    pub files: Vec<PathBuf>,
    /// Look into directories below
    #[arg(short = 'R', long, requires = "files")]
    pub recursive: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_has_no_contradictions() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_operators_type_is_understood() {
        for line in [
            "get pods",
            "get po,ds -A -o wide",
            "get deploy/web -n shop -o yaml",
            "get pods -w -l app=web",
            "apply -f a.yaml -f - -R --dry-run",
            "delete -f a.yaml",
            "delete deployment web --wait=false",
            "delete deployment web --wait",
            "logs -f --tail 5 deployment/web",
            "logs pod web",
            "logs web -c main --prefix --previous --timestamps",
            "logs web --prefix=false --all-containers",
            "rollout status deployment/web --timeout 30",
            "rollout status deployment/web --timeout=1h30m",
            "delete deployment web --timeout 2m",
            "hub --lost-after 5s",
            "quickstart --once --timeout 10m",
            "rollout status deployment/web --watch=false",
            "rollout history deploy web --revision 2",
            "rollout undo ds/web --to-revision=3",
            "rollout pause deploy/web",
            "rollout restart deploy/web ds/web -n shop",
            "get pods --field-selector spec.nodeName=pi",
            "explain deployment web",
            "hub --state /s --api 127.0.0.1:0 --devices [::]:443 --lost-after 30",
            "hub --advertise hub.example:443 --advertise 192.0.2.1 --certificate-lifetime 30d",
            "hub --external-broker mqtt://127.0.0.1:1883",
            "image pack app -t app:1 --entrypoint /app --entrypoint --flag --env A=b=c",
            "image ls",
            "image push a.wasm a:1 --server https://127.0.0.1:1",
            "get pods --server hub --context shop --kubeconfig f --token t",
            "login hub --token t --context shop -n shop",
            "login [::1]:6180 --fingerprint sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "login --kubeconfig f --context shop",
            "config get-contexts -o name",
            "config use-context shop",
            "config current-context",
            "config delete-context shop",
            "config view --raw --minify --flatten -o json",
            "token create --ttl 2h --uses 20 --label a=b --label c= --site barn --name kiosk-*",
            "token list -o yaml",
            "token delete a b",
            "device ls",
            "device approve pi-1 pi-2",
            "device approve pi-1 --key 0123456789ABCDEF",
            "device deny pi-1",
            "device revoke pi-1",
            "device forget pi-1",
            "device register --serial 1 --name pi --label a=b --site barn",
            "-q quickstart --once",
            "resume pi",
            "auth whoami --token a.b.c",
            "auth can-i list pods -n shop",
            "auth can-i get deploy/web --subresource=scale",
            "auth can-i get pods web -A",
            "auth can-i get /metrics",
            "auth can-i --list -n shop",
            "create token ci -n shop --duration 720h --audience vault",
            "resume pi-1 pi-2",
            "resume --all",
            "hub backup",
            "hub backup -o - --without-artefacts --keys none",
            "hub backup -o f --keys apart k --state /s",
            "hub restore f --state /s --keys k --replace",
            "hub restore -",
            "hub trust --bundle",
            "hub rotate-ca",
            "hub rotate-signing-key --overlap 7d",
            "broker config mosquitto",
            "broker config emqx --name broker.example --name 192.0.2.1 --listen 127.0.0.1:8884 --output d --installed-in /etc/x",
            "broker crl --output crl.pem",
            "audit --since 1h --user jane --refused --follow",
            "audit --since 2026-05-01T09:30:00Z --until 1d --resource deployments.apps -n shop -o json",
            "audit --node pi-1 --verb enrol",
            "audit --verify --dir d",
            "completion zsh",
        ] {
            let words = std::iter::once("lichen").chain(line.split_whitespace());
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused_as_usage() {
        for line in [
            "get",
            "delete",
            "delete deployment web -f a.yaml",
            "apply -R",
            "get pods -A -n shop",
            "get pods -o xml",
            "logs web -c main --all-containers",
            "delete deploy web --cascade=orphan",
            "delete deploy web --grace-period=0",
            "rollout undo",
            "rollout turn deploy/web",
            "rollout status deploy/web --timeout 5x",
            "hub --lost-after soon",
            "hub --devices hub.example:1",
            "hub --api localhost",
            "image pack app",
            "image pack app -t a --env X",
            "-q -v get pods",
            "get pods --server http://x",
            "get pods --token",
            "login hub --fingerprint 00",
            "config",
            "config use-context",
            "token create --uses 0",
            "token create --label a",
            "token delete",
            "resume",
            "resume --all pi",
            "hub --state /s backup",
            "hub restore",
            "hub backup --keys",
            "broker config",
            "broker config rabbitmq",
            "broker config mosquitto --listen broker",
            "broker config mosquitto --installed-in /etc/x",
            "device approve",
            "device approve pi-1 --key 0123",
            "device approve pi-1 --key 0123456789abcdeg",
            "device register --name pi",
            "auth can-i list",
            "auth can-i list pods --list",
            "auth can-i list pods a b",
            "create token",
            "create token ci --duration soon",
            "get pods --token=",
            "audit --since soon",
            "audit --verify --refused",
            "audit --dir d --follow",
            "audit -o xml",
        ] {
            let words = std::iter::once("lichen").chain(line.split_whitespace());
            let error = Cli::try_parse_from(words).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
