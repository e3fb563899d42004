//! What is done with a hub but run it: backups, and its keys; and `resume`, which follows a restore.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::duration::duration;

/// What to do with a hub.
#[derive(Debug, Subcommand)]
pub enum HubCommand {
    /// Save everything that another machine needs to go on as this hub
    #[command(
        after_help = "The hub goes on meanwhile; what is saved is as of one moment. The file holds the hub's keys and Secrets:\nwhoever has it can be the hub. Only you can read it, and it is up to you where it goes.\n\nExamples:\n  lichen hub backup -o /mnt/usb/hub.tar.gz\n  lichen hub backup -o hub.tar.gz --keys apart /mnt/usb/keys.tar.gz\n  lichen hub backup -o - | age -r KEY > hub.tar.gz.age\n  lichen hub backup --state /srv/lichen"
    )]
    Backup(BackupArgs),
    /// Make a hub of a backup, on this machine
    #[command(
        after_help = "All of the backup is checked before anything counts. The hub must not run, and the one that was saved must\nnever run again. Devices go on with what they run.\n\nExamples:\n  lichen hub restore hub.tar.gz --state ./my-hub\n  lichen hub restore hub.tar.gz --keys keys.tar.gz\n  age -d hub.tar.gz.age | lichen hub restore -"
    )]
    Restore(RestoreArgs),
    /// Show the hub's keys: since when they count, until when, and who has them
    Trust {
        /// Print the certificates that whoever talks to this hub believes, in PEM
        #[arg(long)]
        bundle: bool,
    },
    /// Change the hub's CA
    #[command(
        after_help = "A new CA issues from now on, and the old one is believed until the overlap is over. Devices renew their\ncertificates by themselves within the first half of it, each at a time of its own; those that are away come\nback at any time within it. Whoever does not come within it has to join again.\n\nExamples:\n  lichen hub rotate-ca\n  lichen hub rotate-ca --overlap 90d\n  lichen hub trust"
    )]
    RotateCa(RotateArgs),
    /// Change the key by which devices know what this hub says
    #[command(
        after_help = "Devices are told the new key, signed with the old one, which goes on signing until every device knows the new\none, or the overlap is over. A device that was away for so long refuses what the hub says, and goes on with\nwhat it has, until its agent is started once with --adopt-hub.\n\nExamples:\n  lichen hub rotate-signing-key\n  lichen hub rotate-signing-key --overlap 90d"
    )]
    RotateSigningKey(RotateArgs),
}

/// Arguments of `hub rotate-ca` and `hub rotate-signing-key`.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// How long the old one counts; with 0s it is worth nothing at once, as after a theft
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = duration)]
    pub overlap: Duration,
}

/// Arguments of `hub backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file, or - for stdout [default: lichen-backup-TIME.tar.gz here]
    #[arg(short, long, value_name = "FILE|-")]
    pub output: Option<PathBuf>,
    /// Where the hub's keys go: include, none, or apart and the file for them [default: include]
    #[arg(long, num_args = 1..=2, value_names = ["include|none|apart", "FILE"])]
    pub keys: Vec<String>,
    /// Leave out images and what was made of them; they have to be pushed again then
    #[arg(long)]
    pub without_artefacts: bool,
    /// Save a hub that does not run, from its state directory
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// Arguments of `hub restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup, or - for stdin
    #[arg(value_name = "FILE|-")]
    pub file: PathBuf,
    /// Where the hub is to keep its state [default: as for lichen hub]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// The file of keys, if they were saved apart
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// The key of the Secrets in it, if it was kept apart [default: as for lichen hub]
    #[arg(long, value_name = "FILE")]
    pub secrets_key: Option<PathBuf>,
    /// Take the place of a hub that is there; its state is kept beside the new one
    #[arg(long)]
    pub replace: bool,
}

/// Arguments of `resume`.
#[derive(Debug, Args)]
#[command(
    after_help = "A device pauses when it holds a newer assignment than its hub, as after a restored backup, or one of\nanother hub: it goes on with what it runs, and is told nothing. `lichen explain node/NAME` says so. This makes\nthe hub's assignment count: what is in it goes on, everything else stops.\n\nExamples:\n  lichen resume pi-7\n  lichen resume --all"
)]
pub struct ResumeArgs {
    /// The devices' names
    #[arg(value_name = "NODE", required_unless_present = "all")]
    pub names: Vec<String>,
    /// Every device that is paused
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
}
