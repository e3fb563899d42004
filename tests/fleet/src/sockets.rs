//! The fleet's connections to its broker: cut all at once, as a network does, and counted by the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use rustix::{
    net::{Shutdown, getpeername, getsockname, shutdown},
    process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open},
};

/// Bytes of IP and TCP headers around each segment: 20, and 20 with 12 of time stamps.
const HEADERS: u64 = 52;

/// Ends every connection of this process to `broker`, in both directions. Neither side has said goodbye. Returns how
/// many there were.
///
/// # Errors
/// The system does not let a process look at its own descriptors.
pub fn cut(broker: SocketAddr) -> Result<usize, String> {
    let mut count = 0;
    each_connection(broker, |socket| {
        count += usize::from(shutdown(socket, Shutdown::Both).is_ok());
    })?;
    Ok(count)
}

/// Shows a copy of each socket of this process that is connected to `broker`.
fn each_connection(broker: SocketAddr, mut show: impl FnMut(&OwnedFd)) -> Result<(), String> {
    let failed = |error: rustix::io::Errno| format!("could not look at the own sockets: {error}");
    let own = pidfd_open(getpid(), PidfdFlags::empty()).map_err(failed)?;
    for fd in own_sockets() {
        // Closed meanwhile: not one that stands.
        let Ok(socket) = pidfd_getfd(&own, fd, PidfdGetfdFlags::empty()) else { continue };
        let peer = getpeername(&socket).ok().flatten();
        if peer.and_then(|peer| SocketAddr::try_from(peer).ok()) == Some(broker) {
            show(&socket);
        }
    }
    Ok(())
}

fn own_sockets() -> Vec<i32> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let sockets = entries.filter(|entry| {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        target.to_string_lossy().starts_with("socket:")
    });
    sockets.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// What has passed over connections, seen from the devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes in TCP segments, both ways.
    pub payload: u64,
    /// Segments, both ways.
    pub segments: u64,
}

impl Traffic {
    /// With the headers of IP and TCP.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.payload + self.segments * HEADERS
    }

    /// What has passed since an earlier look at the same connections.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            payload: self.payload.saturating_sub(earlier.payload),
            segments: self.segments.saturating_sub(earlier.segments),
        }
    }
}

/// Sums up what the kernel has counted for each connection of this process that stands, by `ss`.
///
/// # Errors
/// See [`traffic_by_port`].
pub fn traffic(broker: SocketAddr) -> Result<Traffic, String> {
    let mut sum = Traffic::default();
    for each in traffic_by_port(broker)?.values() {
        sum.payload += each.payload;
        sum.segments += each.segments;
    }
    Ok(sum)
}

/// What the kernel has counted for each connection of this process that stands, by its local port.
///
/// # Errors
/// `ss` (Debian: iproute2) is missing, or does not answer.
pub fn traffic_by_port(broker: SocketAddr) -> Result<BTreeMap<u16, Traffic>, String> {
    // A hub that uses the same broker has a connection of its own to it.
    let mut own = BTreeSet::new();
    each_connection(broker, |socket| {
        let local = getsockname(socket).ok().and_then(|local| SocketAddr::try_from(local).ok());
        own.extend(local.map(|local| local.port()));
    })?;
    let filter = format!("( dport = :{} )", broker.port());
    let output = Command::new("ss")
        .args(["--tcp", "--info", "--numeric", "--no-header", "--oneline"])
        .args(["state", "established", &filter])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("ss (Debian: iproute2) must be installed: {error}"))?;
    if !output.status.success() {
        return Err(format!("ss: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(read(&String::from_utf8_lossy(&output.stdout), &own))
}

/// Lines such as `0 0 127.0.0.1:40000 127.0.0.1:6183 cubic … bytes_sent:100 …`, of these local ports.
fn read(text: &str, ports: &BTreeSet<u16>) -> BTreeMap<u16, Traffic> {
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let local = line.split_whitespace().nth(2).and_then(|local| local.rsplit_once(':'));
        let port = local.and_then(|(_, port)| port.parse().ok());
        let Some(port) = port.filter(|port| ports.contains(port)) else { continue };
        let traffic: &mut Traffic = all.entry(port).or_default();
        for (name, number) in line.split_whitespace().filter_map(|word| word.split_once(':')) {
            let number: u64 = number.parse().unwrap_or(0);
            match name {
                "bytes_sent" | "bytes_received" => traffic.payload += number,
                "segs_out" | "segs_in" => traffic.segments += number,
                _ => {}
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn what_ss_prints_is_read_for_the_own_connections() {
        let text = "0 0 127.0.0.1:40000 127.0.0.1:6183 cubic rto:201 bytes_sent:100 bytes_acked:101 \
                    bytes_received:30 segs_out:5 segs_in:4 data_segs_out:2\n\
                    0 0 127.0.0.1:40001 127.0.0.1:6183 cubic bytes_sent:7 segs_out:1\n";
        let traffic = Traffic { payload: 130, segments: 9 };
        let all = read(text, &BTreeSet::from([40_000]));
        assert_eq!(all, BTreeMap::from([(40_000, traffic)]));
        assert_eq!(traffic.bytes(), 130 + 9 * 52);
    }

    #[test]
    fn a_cut_ends_the_connections_to_the_broker_and_no_others() {
        let listen = || TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let (broker, other) = (listen(), listen());
        let connect = |to: &TcpListener| {
            let client = TcpStream::connect(to.local_addr().expect("bound")).expect("it listens");
            let (server, _) = to.accept().expect("a connection");
            (client, server)
        };
        let (mut lost, _peer) = connect(&broker);
        let (kept, _other_peer) = connect(&other);
        assert_eq!(cut(broker.local_addr().expect("bound")), Ok(1));
        assert_eq!(lost.read(&mut [0]).expect("an end"), 0);
        kept.set_nonblocking(true).expect("a socket");
        assert!((&kept).read(&mut [0]).is_err(), "it stands, and nothing is there to be read");
    }
}
