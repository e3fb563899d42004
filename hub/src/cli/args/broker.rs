//! An MQTT broker of the operator's: `broker`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};

/// What a broker needs of a hub.
#[derive(Debug, Subcommand)]
pub enum BrokerCommand {
    /// Print a broker's configuration, or write it with the broker's key and certificate
    #[command(
        after_help = "Run it again before the certificate ends, and when the hub has changed its CA; then reload the broker.\n\nExamples:\n  lichen broker config mosquitto\n  lichen broker config mosquitto --output /etc/mosquitto/lichen\n  lichen broker config mosquitto --output broker --installed-in /etc/mosquitto/lichen\n  lichen broker config emqx --name broker.example --output emqx"
    )]
    Config(BrokerArgs),
    /// Print the list of certificates of devices that were revoked or forgotten (a CRL)
    #[command(
        after_help = "A broker refuses what is on it once it has read it again. The file is replaced as a whole.\n\nExamples:\n  lichen broker crl\n  lichen broker crl --output /etc/mosquitto/lichen/crl.pem"
    )]
    Crl {
        /// Where to write it [default: stdout]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Arguments of `broker config`.
#[derive(Debug, Args)]
pub struct BrokerArgs {
    /// Which broker
    #[arg(value_name = "mosquitto|emqx")]
    pub kind: BrokerKind,
    /// A name or address of the broker for other programs' sake; hub and devices need none
    #[arg(long = "name", value_name = "HOST")]
    pub names: Vec<String>,
    /// Where the broker listens; the address may be left out
    #[arg(long, value_name = "[ADDR:]PORT", default_value = "8883", value_parser = listen)]
    pub listen: Listen,
    /// A directory for all that the broker needs, made if it is not there [default: print the configuration alone]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Where the files will lie on the broker's machine [default: where they are written]
    #[arg(long, value_name = "DIR", requires = "output")]
    pub installed_in: Option<PathBuf>,
}

/// A broker that a configuration can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BrokerKind {
    /// Eclipse Mosquitto 2.
    Mosquitto,
    /// EMQX 5.
    Emqx,
}

/// Where a broker listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On every address.
    Everywhere(u16),
    /// On one.
    At(SocketAddr),
}

fn listen(text: &str) -> Result<Listen, String> {
    if let Ok(port @ 1..) = text.parse() {
        return Ok(Listen::Everywhere(port));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(Listen::At(address)),
        _ => {
            Err("write a port, or an address and a port, such as 8883 or 127.0.0.1:8883".to_owned())
        }
    }
}
