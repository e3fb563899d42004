//! Which hub is meant, and by whom: options of every command, `login` and `config`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::NamespaceArg;
use crate::cli::{
    client::{Fingerprint, Server, Token},
    kubeconfig::{Choice, Places},
};

/// Which hub is meant, and by whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct ConnectionArgs {
    /// The hub's address, in place of the context's
    #[arg(long, global = true, env = "LICHEN_SERVER", value_name = "URL")]
    pub server: Option<Server>,
    /// Look into this kubeconfig alone [default: LICHEN_KUBECONFIG; what `login` wrote; a hub's on this machine]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context, in place of the current one
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Ask as whoever has this token
    #[arg(long, global = true, env = "LICHEN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<Token>,
}

impl ConnectionArgs {
    /// With the places where this process looks.
    #[must_use]
    pub fn choice(self, places: Places) -> Choice {
        let Self { server, kubeconfig, context, token } = self;
        Choice { server, kubeconfig, context, token, places }
    }
}

/// Arguments of `login`.
#[derive(Debug, Args)]
#[command(
    after_help = "The hub's certificate authority is fetched from the hub itself; its fingerprint tells that nobody\nelse answered. `lichen version` shows it on the hub's machine. Without --fingerprint you are asked.\nLICHEN_TOKEN in place of --token keeps the token out of the list of processes.\n\nWith --kubeconfig FILE and no HUB, a kubeconfig that somebody has handed over is taken in.\n\nExamples:\n  lichen login hub.example --token TOKEN\n  lichen login 192.0.2.7:6180 --token TOKEN --fingerprint sha256:5f2a… --context shop -n shop\n  lichen login --kubeconfig laptop.kubeconfig"
)]
pub struct LoginArgs {
    /// The hub; its port is 6180 if none is said
    #[arg(value_name = "HUB[:PORT]")]
    pub hub: Option<Server>,
    /// What the hub's certificate authority must be: SHA-256 of its certificate
    #[arg(long, value_name = "SHA256", requires = "hub")]
    pub fingerprint: Option<Fingerprint>,
    /// Where the context's objects are if nothing else is said
    #[command(flatten)]
    pub namespace: NamespaceArg,
}

/// What to do with contexts.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show the contexts: who asks which hub
    GetContexts {
        /// Another form than a table
        #[arg(short, long, value_name = "FORM")]
        output: Option<ContextsOutput>,
    },
    /// Make a context the current one
    UseContext {
        /// The context
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Show the name of the current context
    CurrentContext,
    /// Remove a context, and its hub and user if no other needs them
    DeleteContext {
        /// The context
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Show everything as one kubeconfig, without secrets
    #[command(
        after_help = "Examples:\n  lichen config view\n  lichen config view --raw --minify --flatten > hub.kubeconfig     for kubectl, k9s and helm"
    )]
    View(ViewArgs),
}

/// Arguments of `config view`.
#[derive(Debug, Args)]
pub struct ViewArgs {
    /// With secrets
    #[arg(long)]
    pub raw: bool,
    /// Only what the current context needs
    #[arg(long)]
    pub minify: bool,
    /// With the content of files in place of their paths
    #[arg(long)]
    pub flatten: bool,
    /// As JSON or YAML
    #[arg(short, long, value_name = "FORM", default_value = "yaml")]
    pub output: ViewOutput,
}

/// In which form contexts are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ContextsOutput {
    /// With addresses and files
    Wide,
    /// Names, one per line
    Name,
}

/// In which form a kubeconfig is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ViewOutput {
    /// JSON
    Json,
    /// YAML
    Yaml,
}
