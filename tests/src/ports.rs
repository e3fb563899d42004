//! Ports for programs that are stopped and started again on the same address.
//!
//! They come from below the range that the system gives to connecting sockets. A port of that range may be taken by an
//! unrelated connection while its program is away; worse, an agent that keeps connecting to a loopback port on which
//! nobody listens is sooner or later given that very port as its own, connects to itself, and keeps the program out.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering::Relaxed},
};

/// Above the ports of well-known services, below the system's own range (32768 on Linux).
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A loopback address on which nobody listens. Each call in a process gives another one.
#[must_use]
pub fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test programs that run at the same time start at different places.
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let step = u32::from(NEXT.fetch_add(1, Relaxed));
        let port = FIRST + u16::try_from(start.wrapping_add(step) % u32::from(COUNT)).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("every port from {FIRST} on is in use");
}
