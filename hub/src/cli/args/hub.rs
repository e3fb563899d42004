//! What runs a hub: `hub` and `quickstart`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::{HubCommand, duration::duration};
use crate::server::{DEFAULT_API, DEFAULT_DEVICES};

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
    args_conflicts_with_subcommands = true,
    after_help = "Operators and devices connect with TLS; the hub makes its own certificates at its first start. The machine's\nowner finds an admin's kubeconfig in the state directory, which lichen uses by itself. LICHEN_LOG is off,\nerror, warn, info (default), debug or trace.\n\nExamples:\n  lichen hub\n  lichen hub --state /srv/lichen --api 127.0.0.1:8080\n  lichen hub --devices [::]:443 --advertise hub.example:443\n  lichen hub --external-broker mqtts://broker.example:8883"
)]
pub struct HubArgs {
    /// Something else than running it
    #[command(subcommand)]
    pub command: Option<HubCommand>,
    /// Where to keep objects, artefacts and keys [default: ~/.local/state/lichen/hub; /var/lib/lichen-hub for root]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Where operators connect: API and registry; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_API)]
    pub api: SocketAddr,
    /// Where devices connect: MQTT, artefacts and enrolment on one port; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = DEFAULT_DEVICES)]
    pub devices: SocketAddr,
    /// A name or address by which the hub is found, with the devices' port if it is another one outside; may be repeated
    /// [default: the machine's addresses]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub advertise: Vec<String>,
    /// Speak MQTT with devices by this broker: mqtts://HOST:PORT, or mqtt:// and unix:// on this machine
    #[arg(long, value_name = "URL")]
    pub external_broker: Option<String>,
    /// How long a device's certificate lasts; it is renewed at two thirds [default: 90d]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub certificate_lifetime: Option<Duration>,
    /// How long after its end a device's certificate is good for a new one [default: 5 years]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub renewal_grace: Option<Duration>,
    /// This machine's clock is right, though it is over a year ahead of the time that the hub knows of: say it for one start
    #[arg(long)]
    pub accept_clock: bool,
    /// A file with the key of the Secrets in the store: base64 of 32 bytes; older keys on more lines
    /// [default: LICHEN_SECRETS_KEY, the credential lichen-secrets-key of a service, or trust/secrets.key, which the hub makes]
    #[arg(long, value_name = "FILE")]
    pub secrets_key: Option<PathBuf>,
    /// Replace the Pods of Deployments on a silent device after so long, like 30s or 2m [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub lost_after: Option<Duration>,
}
