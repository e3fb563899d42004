//! Under which names and addresses the hub is found: those that the operator gave, or those that the machine has. They
//! are in the hub's certificate and in join tokens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use firmware_compat::enrolment::{ADDRESSES, Address};

/// The device port, best address first. `given`: what the operator said, with the port as it is seen from outside.
/// `listen`: where it is on this machine.
pub(crate) fn addresses(given: &[Address], listen: SocketAddr) -> Vec<Address> {
    let found = match given {
        [] => of_machine(listen),
        given => given.to_vec(),
    };
    let mut addresses: Vec<Address> = Vec::new();
    for address in found {
        if !addresses.contains(&address) && addresses.len() < ADDRESSES {
            addresses.push(address);
        }
    }
    addresses
}

/// Names and addresses without ports, for the certificate.
pub(crate) fn names(given: &[Address], listen: SocketAddr) -> Vec<String> {
    let hosts = addresses(given, listen).into_iter().map(|address| address.host().to_owned());
    hosts.chain(host_name()).collect()
}

/// The addresses by which others reach this machine: the one that it listens on, or those of its way to the world.
fn of_machine(listen: SocketAddr) -> Vec<Address> {
    let ip = listen.ip().to_canonical();
    let found = match ip.is_unspecified() {
        false => vec![ip],
        true => {
            let mut found: Vec<IpAddr> =
                [outward_v4(), outward_v6()].into_iter().flatten().collect();
            if found.is_empty() {
                found = interfaces();
            }
            // A machine without any network still has a device of its own.
            found.push(Ipv4Addr::LOCALHOST.into());
            found
        }
    };
    // Port 0 is chosen later, and no part of a name.
    let port = listen.port().max(1);
    found.into_iter().filter_map(|ip| Address::new(&ip.to_string(), port)).collect()
}

/// The address that this machine would use towards the world. Nothing is sent: a UDP socket only asks the routes.
fn outward_v4() -> Option<IpAddr> {
    outward((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into())
}

fn outward_v6() -> Option<IpAddr> {
    let documentation = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    outward((Ipv6Addr::UNSPECIFIED, 0).into(), (documentation, 9).into())
}

fn outward(from: SocketAddr, to: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback())
}

/// Every address of this machine that others may reach.
fn interfaces() -> Vec<IpAddr> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let reachable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    all.into_iter().map(|interface| interface.ip()).filter(reachable).collect()
}

fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_str().ok()?.to_ascii_lowercase();
    rustls::pki_types::DnsName::try_from(name.as_str()).ok()?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Address {
        Address::parse(text).expect("an address")
    }

    #[test]
    fn what_the_operator_says_is_all_that_devices_are_told_each_once() {
        let given = ["hub.example:443", "[2001:db8::5]:6183", "hub.example:443"].map(parse);
        let listen = "[::]:6183".parse().expect("an address");
        assert_eq!(addresses(&given, listen), given[..2]);
        assert_eq!(names(&given, listen)[..2], ["hub.example", "2001:db8::5"]);
    }

    #[test]
    fn a_hub_that_listens_on_one_address_is_found_there() {
        let listen = "127.0.0.1:7000".parse().expect("an address");
        assert_eq!(addresses(&[], listen), [parse("127.0.0.1:7000")]);
    }

    #[test]
    fn a_hub_that_listens_everywhere_is_found_somewhere() {
        let listen = "[::]:6183".parse().expect("an address");
        let found = addresses(&[], listen);
        assert!(found.contains(&parse("127.0.0.1:6183")));
        assert!(found.len() <= ADDRESSES);
    }
}
