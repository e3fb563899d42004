//! What follows Pods: `logs` and `rollout`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{NamespaceArg, duration::duration};

/// Arguments of `logs`.
#[derive(Debug, Args)]
#[command(
    after_help = "Of a Pod with several containers the first one is shown, unless it is said which. Several logs at once\nhave their Pod and container in front of each line.\n\nExamples:\n  lichen logs web-7c9f-x2k4p\n  lichen logs web-7c9f-x2k4p -c proxy --previous\n  lichen logs -f --tail 20 deployment/web --all-containers"
)]
pub struct LogsArgs {
    /// A Pod, or KIND/NAME of a workload for all of its Pods
    #[arg(value_name = "POD", required = true, num_args = 1..=2)]
    pub words: Vec<String>,
    /// Where it is
    #[command(flatten)]
    pub namespace: NamespaceArg,
    /// Of this container
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_containers")]
    pub container: Option<String>,
    /// Of all containers, init containers first
    #[arg(long)]
    pub all_containers: bool,
    /// Put pod and container in front of each line [default: if there are several logs]
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub prefix: Option<bool>,
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

/// What to do with the rollout of a workload.
#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    /// Say how far a rollout is, until it is done
    #[command(
        after_help = "Ends well when every Pod is of the newest template and available, and badly when the rollout has made\nno progress for its progressDeadlineSeconds.\n\nExamples:\n  lichen rollout status deployment/web\n  lichen rollout status ds/collector --timeout 2m"
    )]
    Status(StatusArgs),
    /// Show the revisions that can be gone back to
    #[command(
        after_help = "Examples:\n  lichen rollout history deployment/web\n  lichen rollout history deployment/web --revision 3"
    )]
    History(HistoryArgs),
    /// Go back to an earlier revision
    #[command(
        after_help = "Examples:\n  lichen rollout undo deployment/web\n  lichen rollout undo deployment/web --to-revision 3"
    )]
    Undo(UndoArgs),
    /// Keep changes from reaching Pods until it is resumed
    Pause(WorkloadArgs),
    /// Let changes reach Pods again
    Resume(WorkloadArgs),
    /// Replace every Pod by a new one of the same template, as a rolling update
    Restart(WorkloadArgs),
}

/// Workloads by name.
#[derive(Debug, Args)]
pub struct WorkloadArgs {
    /// KIND NAME…, or KIND/NAME…
    #[arg(value_name = "KIND NAME", required = true)]
    pub words: Vec<String>,
    /// Where the workloads are
    #[command(flatten)]
    pub namespace: NamespaceArg,
}

/// Arguments of `rollout status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Which
    #[command(flatten)]
    pub workloads: WorkloadArgs,
    /// Wait until it is done
    #[arg(short, long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub watch: bool,
    /// Wait at most so long, like 30s or 2m; 0 for as long as it takes
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration)]
    pub timeout: Duration,
}

/// Arguments of `rollout history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Which
    #[command(flatten)]
    pub workloads: WorkloadArgs,
    /// Show this revision's template
    #[arg(long, value_name = "N")]
    pub revision: Option<i64>,
}

/// Arguments of `rollout undo`.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// Which
    #[command(flatten)]
    pub workloads: WorkloadArgs,
    /// The revision to go back to; 0 for the one before the newest
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub to_revision: i64,
}
