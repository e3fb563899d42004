//! Who may join, and who has: `token` and `device`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{Output, duration::duration};

/// What to do with the tokens by which devices join.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, and print the line that a device runs to join
    #[command(
        after_help = "The line is a secret until it is used up. Labels and the site are given to every device that joins with it.\n\nExamples:\n  lichen token create\n  lichen token create --site barn --label tier=edge\n  lichen token create --uses 20 --ttl 2h --name 'kiosk-*'"
    )]
    Create(TokenArgs),
    /// Show the tokens; never their secrets
    #[command(visible_alias = "ls")]
    List {
        /// Another form than a table
        #[arg(short, long, value_name = "FORM")]
        output: Option<Output>,
    },
    /// Make tokens good for nothing
    #[command(visible_alias = "rm")]
    Delete {
        /// The tokens, as `token list` names them
        #[arg(value_name = "TOKEN", required = true)]
        names: Vec<String>,
    },
}

/// Arguments of `token create`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// How long it is good for, like 30m or 24h
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    pub ttl: Duration,
    /// How many devices may join with it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub uses: u32,
    /// What devices that join with it get
    #[command(flatten)]
    pub labels: LabelArgs,
    /// Only devices with such a name may join: kiosk-*
    #[arg(long, value_name = "PATTERN")]
    pub name: Option<String>,
}

/// Labels of devices.
#[derive(Debug, Args)]
pub struct LabelArgs {
    /// A label; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// The site: the label lichen.dev/site
    #[arg(long, value_name = "NAME")]
    pub site: Option<String>,
}

/// What to do with the identities of devices.
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// Show who has joined, who waits for a yes, and who is expected
    #[command(visible_alias = "ls")]
    List {
        /// Another form than a table
        #[arg(short, long, value_name = "FORM")]
        output: Option<Output>,
    },
    /// Let waiting devices join
    #[command(
        after_help = "With --key only the board with that key is let in, not another one that asks for the name since.\n\nExamples:\n  lichen device approve pi-1\n  lichen device approve pi-1 --key 3b1f9c2a7d5e8040"
    )]
    Approve(ApproveArgs),
    /// Turn waiting devices away
    Deny(DevicesArgs),
    /// End the sessions of devices and keep them out, for as long as they are not approved again
    Revoke(DevicesArgs),
    /// Remove what is known of devices that are gone; they have to join anew
    Forget(DevicesArgs),
    /// Expect a device by its serial number: it joins without a token
    #[command(
        after_help = "Examples:\n  lichen device register --serial 10000000abcdef01\n  lichen device register --serial 10000000abcdef01 --name kiosk-7 --site barn"
    )]
    Register(RegisterArgs),
}

/// Devices by name.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// The devices
    #[arg(value_name = "DEVICE", required = true)]
    pub names: Vec<String>,
}

/// Arguments of `device approve`.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// The devices
    #[command(flatten)]
    pub devices: DevicesArgs,
    /// The key that the device must have, or its beginning, as `device list` shows it; for one device
    #[arg(long, value_name = "KEY", value_parser = key)]
    pub key: Option<String>,
}

/// Arguments of `device register`.
#[derive(Debug, Args)]
pub struct RegisterArgs {
    /// The board's serial number, as its firmware tells it
    #[arg(long, value_name = "SERIAL")]
    pub serial: String,
    /// The device's name [default: made of its serial number]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What the device gets
    #[command(flatten)]
    pub labels: LabelArgs,
}

/// The beginning of a key's SHA-256, at least as much as is shown.
fn key(text: &str) -> Result<String, String> {
    const SHOWN: usize = 16;
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || text.len() < SHOWN {
        return Err(format!("give at least the {SHOWN} digits that device list shows"));
    }
    Ok(text.to_ascii_lowercase())
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it like NAME=VALUE".to_owned()),
    }
}
