//! The grammar of the command line, and the help that goes with it.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum, builder::styling};
use clap_complete::Shell;

use super::client::{DEFAULT_SERVER, Server};
use crate::server::DEFAULT_API;

const STYLES: styling::Styles = styling::Styles::styled()
    .header(styling::AnsiColor::Green.on_default().bold())
    .usage(styling::AnsiColor::Green.on_default().bold())
    .literal(styling::AnsiColor::Cyan.on_default());

/// Where the hub listens for devices if it is not told otherwise.
pub const DEFAULT_BROKER: &str = "127.0.0.1:6183";

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
    /// The hub to talk to
    #[arg(long, global = true, env = "LICHEN_SERVER", value_name = "URL", default_value = DEFAULT_SERVER, help_heading = "Global options")]
    pub server: Server,
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
    /// Create or change what manifests declare
    Apply(ApplyArgs),
    /// Delete objects and wait until their instances are gone
    Delete(DeleteArgs),
    /// Show objects
    Get(GetArgs),
    /// Show everything about objects
    Describe(NamedArgs),
    /// Say why an object is as it is, and what to do
    Explain(NamedArgs),
    /// Show what instances print
    Logs(LogsArgs),
    /// Push, make, list and remove images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Let this hub take over a device that another hub wrote to
    #[command(
        after_help = "A device pauses when the hub it knows is not the one that talks to it: after a restored\nbackup, or a new hub. `lichen explain node/NAME` says so. This makes the hub's assignment count.\n\nExample:\n  lichen resume pi-7"
    )]
    Resume {
        /// The device's name
        #[arg(value_name = "NODE")]
        name: String,
    },
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

/// Arguments of `quickstart`.
#[derive(Debug, Args)]
#[command(
    after_help = "Everything it keeps is in one directory; run again, it goes on from there. Ctrl-C stops all that it\nstarted. Containers need root and an OCI runtime (crun, runc or youki); without them the\nWebAssembly workload runs and the container says why it waits.\n\nExamples:\n  lichen quickstart\n  sudo lichen quickstart\n  lichen quickstart --once --state /tmp/lichen"
)]
pub struct QuickstartArgs {
    /// Stop when both workloads run; fail with the reason if they don't
    #[arg(long)]
    pub once: bool,
    /// Where to keep everything [default: ~/.local/state/lichen/quickstart]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// With --once, how long to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub timeout: u32,
}

/// Arguments of `hub`.
#[derive(Debug, Args)]
#[command(
    after_help = "Until devices and operators have identities, a hub listens on this machine only. LICHEN_LOG is off,\nerror, warn, info (default), debug or trace.\n\nExamples:\n  lichen hub\n  lichen hub --state /srv/lichen --api 127.0.0.1:8080\n  lichen hub --external-broker mqtt://127.0.0.1:1883"
)]
pub struct HubArgs {
    /// Where to keep objects and artefacts [default: ~/.local/state/lichen/hub; /var/lib/lichen-hub for root]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Where API, artefacts and registry listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_API)]
    pub api: SocketAddr,
    /// Where devices connect with MQTT; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_BROKER)]
    pub broker: SocketAddr,
    /// Use this MQTT broker, and do not listen for devices
    #[arg(long, value_name = "URL", conflicts_with = "broker")]
    pub external_broker: Option<String>,
    /// Replace a silent device's Deployment copies after so long [default: 300]
    #[arg(long, value_name = "SECONDS")]
    pub lost_after: Option<u32>,
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

/// Arguments of `apply`.
#[derive(Debug, Args)]
#[command(
    after_help = "Every document is read and checked before the first one is sent. Namespaces and ConfigMaps go first.\n\nExamples:\n  lichen apply -f web.yaml\n  lichen apply -f manifests/ -R\n  lichen apply -f web.yaml --dry-run\n  cat web.yaml | lichen apply -f -"
)]
pub struct ApplyArgs {
    /// Manifests
    #[command(flatten)]
    pub files: FileArgs,
    /// Where objects go whose manifest names no namespace
    #[command(flatten)]
    pub namespace: NamespaceArg,
    /// Check only; nothing is sent
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `delete`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lichen delete deployment web\n  lichen delete deploy/web ds/collector\n  lichen delete -f web.yaml\n  lichen delete deployment web --wait=false"
)]
pub struct DeleteArgs {
    /// KIND NAME…, or KIND/NAME…
    #[arg(value_name = "KIND NAME", required_unless_present = "files", conflicts_with = "files")]
    pub words: Vec<String>,
    /// Manifests
    #[command(flatten)]
    pub files: FileArgs,
    /// Where the objects are
    #[command(flatten)]
    pub namespace: NamespaceArg,
    /// Wait until the instances are gone
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub wait: bool,
    /// Wait at most so long; 0 for as long as it takes
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub timeout: u64,
    /// What isn't there is no error
    #[arg(long)]
    pub ignore_not_found: bool,
}

/// In which form objects are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// More columns
    Wide,
    /// The objects as JSON
    Json,
    /// The objects as YAML
    Yaml,
    /// kind/name, one per line
    Name,
}

/// Arguments of `get`.
#[derive(Debug, Args)]
#[command(
    after_help = "Kinds, with short names:\n  nodes (no)   pods (po)   deployments (deploy)   daemonsets (ds)\n  configmaps (cm)   namespaces (ns)   events (ev)   all: pods, deployments and daemonsets\n\nExamples:\n  lichen get nodes\n  lichen get pods -A -w\n  lichen get deploy web -o yaml\n  lichen get po,ds -l app=web -o wide"
)]
pub struct GetArgs {
    /// KIND[,KIND…] [NAME…], or KIND/NAME…
    #[arg(value_name = "KIND [NAME]", required = true)]
    pub words: Vec<String>,
    /// Where the objects are
    #[command(flatten)]
    pub namespace: NamespaceArg,
    /// In every namespace
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// Only with these labels: app=web,tier!=cache,site in (a,b)
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// Another form than a table
    #[arg(short, long, value_name = "FORM")]
    pub output: Option<Output>,
    /// Go on and show what changes
    #[arg(short, long)]
    pub watch: bool,
}

/// Arguments of `describe` and `explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lichen explain deployment/web\n  lichen explain pod web-7c9f-x2k4p\n  lichen describe node pi-7"
)]
pub struct NamedArgs {
    /// KIND NAME…, or KIND/NAME…
    #[arg(value_name = "KIND NAME", required = true)]
    pub words: Vec<String>,
    /// Where the objects are
    #[command(flatten)]
    pub namespace: NamespaceArg,
}

/// Arguments of `logs`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lichen logs web-7c9f-x2k4p\n  lichen logs -f --tail 20 deployment/web\n  lichen logs --previous --timestamps web-7c9f-x2k4p"
)]
pub struct LogsArgs {
    /// A pod, or deployment/NAME or daemonset/NAME for all of its pods
    #[arg(value_name = "POD", required = true, num_args = 1..=2)]
    pub words: Vec<String>,
    /// Where it is
    #[command(flatten)]
    pub namespace: NamespaceArg,
    /// Go on as more comes
    #[arg(short, long)]
    pub follow: bool,
    /// Only so many lines from the end
    #[arg(long, value_name = "N")]
    pub tail: Option<u32>,
    /// Of the run before the current one
    #[arg(short, long)]
    pub previous: bool,
    /// Put the time in front of each line
    #[arg(long)]
    pub timestamps: bool,
}

/// What to do with images.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, parsed once")]
pub enum ImageCommand {
    /// Put an image or a Wasm module into the hub's catalogue
    #[command(
        after_help = "PATH is an OCI layout directory, an OCI or docker archive (.tar, .tar.gz), a .wasm or a .wat file.\nOnly what the hub does not have yet is sent.\n\nExamples:\n  lichen image push hello.wasm hello:1.0\n  docker save web:2 -o web.tar && lichen image push web.tar web:2"
    )]
    Push {
        /// What to push
        path: PathBuf,
        /// The name in the catalogue; the tag is latest if none is given
        #[arg(value_name = "NAME[:TAG]")]
        name: String,
        /// Of a source with several images, the one with this name
        #[arg(long, value_name = "NAME")]
        select: Option<String>,
    },
    /// Make an image of a static program or a directory, without a Dockerfile
    Pack(PackArgs),
    /// Show the images of the catalogue
    #[command(visible_alias = "ls")]
    List {
        /// Another form than a table
        #[arg(short, long, value_name = "FORM")]
        output: Option<Output>,
    },
    /// Remove names from the catalogue
    #[command(visible_alias = "remove")]
    Rm {
        /// The names
        #[arg(value_name = "NAME[:TAG]", required = true)]
        names: Vec<String>,
    },
}

/// Arguments of `image pack`.
#[derive(Debug, Args)]
#[command(
    after_help = "With -t and no -o the image is pushed to the hub; with -o it is written to a file (.tar) or directory.\n\nExamples:\n  lichen image pack target/aarch64-unknown-linux-musl/release/sensor -t sensor:1.2\n  lichen image pack rootfs/ -t web:1 --entrypoint /bin/web --env PORT=8080\n  lichen image pack sensor -o sensor.tar"
)]
pub struct PackArgs {
    /// A static program, or a directory that becomes the root file system
    pub path: PathBuf,
    /// The image's name
    #[arg(short, long, value_name = "NAME[:TAG]", required_unless_present = "output")]
    pub tag: Option<String>,
    /// Write it here and don't push it: an archive if it ends in .tar, else a directory
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// The program and its fixed arguments; may be repeated for each word
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub entrypoint: Vec<String>,
    /// Default arguments, which a workload's args replace; may be repeated
    #[arg(long = "arg", value_name = "WORD", allow_hyphen_values = true)]
    pub args: Vec<String>,
    /// An environment variable; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub env: Vec<(String, String)>,
    /// The working directory
    #[arg(long, value_name = "PATH")]
    pub workdir: Option<String>,
    /// The user: uid, uid:gid or names of the image's own /etc/passwd
    #[arg(long)]
    pub user: Option<String>,
    /// The architecture (amd64, arm64, arm, riscv64), if the program does not tell
    #[arg(long, value_name = "ARCH")]
    pub platform: Option<lichen_images::Platform>,
    /// A label of the image; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub label: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it like NAME=VALUE".to_owned()),
    }
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
            "explain deployment web",
            "hub --state /s --api 127.0.0.1:0 --broker 127.0.0.1:0 --lost-after 30",
            "hub --external-broker mqtt://127.0.0.1:1883",
            "image pack app -t app:1 --entrypoint /app --entrypoint --flag --env A=b=c",
            "image ls",
            "image push a.wasm a:1 --server http://127.0.0.1:1",
            "-q quickstart --once",
            "resume pi",
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
            "hub --broker 127.0.0.1:1 --external-broker mqtt://x",
            "hub --api localhost",
            "image pack app",
            "image pack app -t a --env X",
            "-q -v get pods",
            "get pods --server https://x",
        ] {
            let words = std::iter::once("lichen").chain(line.split_whitespace());
            let error = Cli::try_parse_from(words).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
