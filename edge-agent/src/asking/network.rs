//! Where a Pod is reached: on loopback of its own network, or of the device's. Another host is always reached from the
//! device, as the kubelet does.

use std::{
    fs::File,
    io,
    net::{TcpStream, ToSocketAddrs},
    os::fd::AsFd,
    path::PathBuf,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Clock;

/// The network of a Pod.
#[derive(Clone, Debug)]
pub enum Network {
    /// The device's.
    Device,
    /// The one that this file holds.
    Own(PathBuf),
}

/// The Pod itself: it has no other address than this yet.
pub(super) const LOOPBACK: &str = "127.0.0.1";

impl Network {
    /// Connects, and leaves this thread in the Pod's network if that is where it leads.
    ///
    /// # Errors
    /// In words.
    pub(super) fn connect(
        &self,
        host: &str,
        port: u16,
        clock: &Clock,
    ) -> Result<TcpStream, String> {
        if let (Self::Own(path), "") = (self, host) {
            enter(path).map_err(|error| format!("could not enter the pod's network: {error}"))?;
        }
        let host = if host.is_empty() { LOOPBACK } else { host };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                format!("dial tcp {host}:{port}: i/o timeout")
            }
            _ => format!("dial tcp {host}:{port}: {}", words(&error)),
        };
        let addresses = (bare, port).to_socket_addrs().map_err(failed)?;
        let mut last = io::ErrorKind::NotFound.into();
        for address in addresses {
            match TcpStream::connect_timeout(&address, clock.left()?) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }
}

fn enter(path: &PathBuf) -> io::Result<()> {
    let file = File::open(path)?;
    Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// What the system said, without its number.
pub(super) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_lowercase()
}
