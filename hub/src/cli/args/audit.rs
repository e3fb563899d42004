//! `audit`: who did what.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use lichen_hub_core::api::time;

use super::duration::{duration, whole_seconds};

/// Arguments of `audit`.
#[derive(Debug, Args)]
#[command(
    after_help = "Shows every change and every refused attempt that the hub has kept, oldest first.\n\nExamples:\n  lichen audit --since 1h\n  lichen audit --refused --follow\n  lichen audit --user system:serviceaccount:shop:ci --resource deployments\n  lichen audit --node pi-1\n  lichen audit --verify\n  lichen audit --dir /mnt/copy/audit -o json"
)]
pub struct AuditArgs {
    /// Since this time, or so long ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Moment>,
    /// Until this time, or so long ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Moment>,
    /// What this user did or tried, by its whole name
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// What this device did, and what was done with it
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Attempts to do this: create, delete, enrol ...
    #[arg(long)]
    pub verb: Option<String>,
    /// What was done with these: pods, deployments.apps, nodes/resume ...
    #[arg(long, value_name = "PLURAL")]
    pub resource: Option<String>,
    /// In this namespace
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// What was refused
    #[arg(long)]
    pub refused: bool,
    /// Go on as more comes
    #[arg(short, long, conflicts_with = "dir")]
    pub follow: bool,
    /// How it is shown
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub output: AuditOutput,
    /// Check that nothing was altered, taken out or cut off
    #[arg(long, conflicts_with_all = ["since", "until", "user", "node", "verb", "resource", "namespace", "refused", "follow"])]
    pub verify: bool,
    /// Read the log in this directory, without a hub
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// How entries are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuditOutput {
    /// One line each.
    Table,
    /// As they are kept.
    Json,
}

/// A time, as operators say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So long ago.
    Ago(Duration),
    /// In milliseconds since 1970.
    At(u64),
}

impl Moment {
    /// In milliseconds since 1970.
    #[must_use]
    pub fn unix_ms(self, now_ms: u64) -> u64 {
        match self {
            Self::Ago(ago) => now_ms.saturating_sub(u64::from(whole_seconds(ago)) * 1000),
            Self::At(at) => at,
        }
    }
}

impl std::fmt::Display for Moment {
    /// As the hub reads it, whose clock counts.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ago(ago) => write!(f, "{}s", whole_seconds(*ago)),
            Self::At(at) => f.write_str(&time::rfc3339(*at)),
        }
    }
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Some(at) = time::unix_ms(text) {
        return Ok(Moment::At(at));
    }
    duration(text).map(Moment::Ago).map_err(|_| {
        "write it like 2026-05-01T09:30:00Z, or how long ago, like 90s or 1h".to_owned()
    })
}
