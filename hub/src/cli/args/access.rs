//! What asks who one is and what one may do, and makes tokens: `auth` and `create`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{NamespaceArg, duration::duration};

/// What to ask about oneself.
#[derive(Debug, Subcommand)]
pub enum AuthCommand {
    /// Say whether something may be done: yes, or no with exit code 1
    #[command(
        name = "can-i",
        after_help = "The verbs are get, list, watch, create, update, patch and delete; of a path the method in small letters.\n\nExamples:\n  lichen auth can-i list pods -n shop\n  lichen auth can-i update deployment/web -n shop\n  lichen auth can-i get pods --subresource log -A\n  lichen auth can-i get /metrics\n  lichen auth can-i --list -n shop"
    )]
    CanI(CanIArgs),
    /// Show as whom the hub knows you
    #[command(after_help = "Example:\n  LICHEN_TOKEN=$(cat ci.token) lichen auth whoami")]
    Whoami,
}

/// Arguments of `auth can-i`.
#[derive(Debug, Args)]
pub struct CanIArgs {
    /// VERB KIND [NAME], VERB KIND/NAME, or VERB /PATH
    #[arg(
        value_name = "VERB KIND [NAME]",
        num_args = 2..=3,
        required_unless_present = "list",
        conflicts_with = "list"
    )]
    pub words: Vec<String>,
    /// Where
    #[command(flatten)]
    pub namespace: NamespaceArg,
    /// In every namespace at once
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "list"])]
    pub all_namespaces: bool,
    /// With what is beneath an object, like log or scale
    #[arg(long, value_name = "NAME", conflicts_with = "list")]
    pub subresource: Option<String>,
    /// Show everything that may be done in the namespace
    #[arg(long)]
    pub list: bool,
}

/// What to make.
#[derive(Debug, Subcommand)]
pub enum CreateCommand {
    /// Make a token, with which a program is a ServiceAccount
    #[command(
        after_help = "The token is printed once and kept nowhere: whoever has it is the ServiceAccount, until it expires or the\nServiceAccount is deleted. What it may do, roles say.\n\nExamples:\n  lichen create token ci -n shop > ci.token\n  lichen create token ci -n shop --duration 720h"
    )]
    Token(ServiceAccountTokenArgs),
}

/// Arguments of `create token`.
#[derive(Debug, Args)]
pub struct ServiceAccountTokenArgs {
    /// The ServiceAccount
    #[arg(value_name = "SERVICEACCOUNT")]
    pub name: String,
    /// Where it is
    #[command(flatten)]
    pub namespace: NamespaceArg,
    /// How long it is good, like 12h or 720h: from 10 minutes to a year [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// For whom it is, if not for the hub; may be repeated
    #[arg(long = "audience", value_name = "AUDIENCE")]
    pub audiences: Vec<String>,
}
