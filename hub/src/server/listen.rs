//! Where the hub listens. What comes in is accepted in [`super::accept`].

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::net::{TcpListener, TcpSocket};

/// Connections that the system completes before they are accepted.
const BACKLOG: u32 = 1024;

/// Why an address can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The system refuses.
    #[error(
        "could not listen on {address} for {what}; is another hub running? (choose another port with --{what})"
    )]
    Bind {
        /// What would listen.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Listens on an address of this machine. `[::]` takes IPv4 as well, and is `0.0.0.0` on a machine without IPv6.
pub(crate) fn listen(
    what: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), ListenError> {
    let bound = match bind(address) {
        Err(error) if address.ip().is_unspecified() && is_without_ipv6(&error) => {
            bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        bound => bound,
    };
    bound.map_err(|source| ListenError::Bind { what, address, source })
}

fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

fn is_without_ipv6(error: &io::Error) -> bool {
    let codes = [rustix::io::Errno::AFNOSUPPORT, rustix::io::Errno::ADDRNOTAVAIL];
    codes.iter().any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn the_unspecified_address_takes_both_families() {
        let (_listener, address) =
            listen("api", "[::]:0".parse().expect("address")).expect("a port");
        let port = address.port();
        TcpStream::connect(("127.0.0.1", port)).expect("IPv4");
        if address.is_ipv6() {
            TcpStream::connect(("::1", port)).expect("IPv6");
        }
        let taken = listen("api", address).expect_err("taken").to_string();
        assert!(taken.contains("choose another port with --api"), "{taken}");
    }
}
