//! `pvc`: where the data of claims is.

use clap::Args;

use super::NamespaceArg;

/// Arguments of `pvc`.
#[derive(Debug, Args)]
#[command(
    after_help = "Shows each PersistentVolumeClaim with its device, the directory there, and the Pods that use it.\n\nExamples:\n  lichen pvc\n  lichen pvc data -n shop\n  lichen pvc -A"
)]
pub struct PvcArgs {
    /// Only this claim
    pub name: Option<String>,
    /// Where the claims are
    #[command(flatten)]
    pub namespace: NamespaceArg,
    /// In every namespace
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
}
