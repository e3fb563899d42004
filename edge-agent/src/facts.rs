//! What containers are told that only the device knows: its addresses, and what it has. Found out when it is asked for: an
//! address may change while the agent runs.
//!
//! Nothing waits for a network: a device without any has the address 127.0.0.1.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    path::Path,
};

use firmware_compat::v1::owned::{Fact, FactResource};

use crate::probe;

/// A fact as text. `host_network`: whether the Pod that asks shares the device's network. `disk`: a directory on the disk
/// that Pods write to.
#[must_use]
pub fn text(fact: Fact, host_network: bool, disk: &Path) -> String {
    match fact {
        Fact::HostIp => first(&addresses()),
        Fact::HostIps => list(&addresses()),
        Fact::PodIp if host_network => first(&addresses()),
        Fact::PodIps if host_network => list(&addresses()),
        // The network of a Pod has loopback only.
        Fact::PodIp => Ipv4Addr::LOCALHOST.to_string(),
        Fact::PodIps => list(&[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
        Fact::Allocatable { resource, divisor } => {
            let (has, unit) = match resource {
                FactResource::Cpu => (probe::cpu_milli().into(), 1000),
                FactResource::Memory => (probe::memory_bytes(), 1),
                FactResource::EphemeralStorage => (probe::disk_bytes(disk), 1),
            };
            let divisor = if divisor == 0 { unit } else { divisor };
            has.div_ceil(divisor).to_string()
        }
    }
}

fn first(addresses: &[IpAddr]) -> String {
    addresses.first().copied().unwrap_or(Ipv4Addr::LOCALHOST.into()).to_string()
}

fn list(addresses: &[IpAddr]) -> String {
    match addresses {
        [] => first(addresses),
        _ => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}

/// The device's addresses: at most one of each family, from which it would reach others, or, without a way to them, the
/// first that it has.
fn addresses() -> Vec<IpAddr> {
    let v4 = towards("0.0.0.0:0", "192.0.2.1:9").or_else(|| {
        first_of_trie(&fs::read_to_string("/proc/net/fib_trie").ok()?).map(IpAddr::from)
    });
    let v6 = towards("[::]:0", "[2001:db8::1]:9").or_else(|| {
        first_of_if_inet6(&fs::read_to_string("/proc/net/if_inet6").ok()?).map(IpAddr::from)
    });
    v4.into_iter().chain(v6).collect()
}

/// The address from which a packet would go there. None is sent: the kernel only looks for a route. The addresses are
/// those that documents use (RFC 5737, RFC 3849), which no network has.
fn towards(from: &str, to: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_unspecified() && !own.is_loopback()).then_some(own)
}

/// The first of the addresses that the kernel calls its own, in its text of the routing table.
fn first_of_trie(text: &str) -> Option<Ipv4Addr> {
    let mut address = None;
    for line in text.lines().map(str::trim) {
        if let Some(leaf) = line.strip_prefix("|-- ") {
            address = leaf.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL"
            && let Some(own) = address.filter(|own| !own.is_loopback())
        {
            return Some(own);
        }
    }
    None
}

/// The first address of global scope: 32 digits, interface, length of the prefix, scope (0 is global), flags, name.
fn first_of_if_inet6(text: &str) -> Option<Ipv6Addr> {
    text.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [digits, _, _, "00", ..] = words.as_slice() else { return None };
        u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_without_a_route() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n\
                    Local:\n     |-- 10.0.0.7\n        /32 host LOCAL\n     |-- 127.0.0.1\n\
                    \x20       /32 host LOCAL\n";
        assert_eq!(first_of_trie(trie), Some(Ipv4Addr::new(10, 0, 0, 7)));
        let alone =
            "     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- x\n        /32 host LOCAL\n";
        assert_eq!(first_of_trie(alone), None);
        let links = "fe800000000000000000000000000001 02 40 20 80     eth0\n\
                     fd000000000000000000000000000007 02 40 00 80     eth0\nnonsense\n";
        assert_eq!(first_of_if_inet6(links), "fd00::7".parse().ok());
        assert_eq!(first_of_if_inet6("00 \nx x x 00\n"), None);
    }

    #[test]
    fn what_a_device_has_is_counted_in_the_units_that_are_asked_for() {
        let here = Path::new("/");
        let told = |resource, divisor| {
            let fact = Fact::Allocatable { resource, divisor };
            text(fact, false, here).parse::<u64>().expect("a number")
        };
        let cpus = told(FactResource::Cpu, 0);
        assert!(cpus >= 1);
        assert_eq!(told(FactResource::Cpu, 1), cpus * 1000);
        assert!(told(FactResource::Memory, 1 << 20) < told(FactResource::Memory, 1));
        assert!(told(FactResource::EphemeralStorage, 1) > 1 << 20);
    }

    #[test]
    fn a_pod_has_the_devices_address_only_on_its_network() {
        let here = Path::new("/");
        assert_eq!(text(Fact::PodIp, false, here), "127.0.0.1");
        assert_eq!(text(Fact::PodIps, false, here), "127.0.0.1,::1");
        let own = text(Fact::HostIp, false, here);
        assert_eq!(text(Fact::PodIp, true, here), own);
        assert!(text(Fact::HostIps, false, here).starts_with(&own));
        assert!(own.parse::<IpAddr>().is_ok(), "{own}");
    }
}
