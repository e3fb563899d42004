//! What reads and changes objects: `apply`, `delete`, `get`, `describe`, `explain`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{FileArgs, NamespaceArg, duration::duration};

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
    after_help = "The Pods of a workload always go with it. How long their containers get to end is said by the template's\nterminationGracePeriodSeconds.\n\nExamples:\n  lichen delete deployment web\n  lichen delete deploy/web ds/collector\n  lichen delete -f web.yaml\n  lichen delete deployment web --wait=false"
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
    /// Wait until the Pods are gone
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub wait: bool,
    /// Wait at most so long, like 30s or 2m; 0 for as long as it takes
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration)]
    pub timeout: Duration,
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
    after_help = "A kind may be written in plural, in singular or short, as deployments, deployment and deploy; all stands for\nworkloads and their Pods. The hub says which kinds there are: an unknown one is answered with the list.\n\nExamples:\n  lichen get nodes\n  lichen get pods -A -w\n  lichen get deploy web -o yaml\n  lichen get po,ds -l app=web -o wide"
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
    /// Only with these fields: metadata.name=web,spec.nodeName=pi,status.phase!=Failed
    #[arg(long, value_name = "FIELDS")]
    pub field_selector: Option<String>,
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
