//! What runs a hub: `hub` and `quickstart`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::duration::duration;
use crate::server::DEFAULT_API;

/// Where the hub listens for devices if it is not told otherwise.
pub const DEFAULT_BROKER: &str = "127.0.0.1:6183";

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
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = duration)]
    pub timeout: Duration,
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
    /// Replace the Deployments' Pods of a silent device after so long, like 30s or 2m [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub lost_after: Option<Duration>,
}
