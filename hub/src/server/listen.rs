//! Where the hub listens. Until devices and operators have identities, that is this machine alone. What comes
//! in is accepted in [`super::accept`].

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use tokio::net::TcpListener;

/// Why an address can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Others could reach it.
    #[error(
        "{what} would listen on {address}, which other machines can reach, but connections have no encryption and \
         no identities yet; use an address of this machine such as 127.0.0.1:{}",
        .address.port()
    )]
    NotLoopback {
        /// What would listen.
        what: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// Others could be reached, or listen on the way.
    #[error(
        "the broker {0:?} is not on this machine, but connections have no encryption and no identities yet; \
         use a broker of this machine such as mqtt://127.0.0.1:1883"
    )]
    NotLoopbackUrl(String),
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

/// Refuses an address that other machines can reach.
///
/// # Errors
/// [`ListenError::NotLoopback`].
pub fn check_loopback(what: &'static str, address: SocketAddr) -> Result<(), ListenError> {
    if address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(ListenError::NotLoopback { what, address })
}

/// Refuses a broker's URL that leads away from this machine. Whether it is a URL at all is the link's to say.
///
/// # Errors
/// [`ListenError::NotLoopbackUrl`].
pub fn check_loopback_url(url: &str) -> Result<(), ListenError> {
    let Some((scheme, rest)) = url.split_once("://") else { return Ok(()) };
    if scheme == "unix" {
        return Ok(());
    }
    let host = match rest.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => rest.split([':', '/']).next().unwrap_or_default(),
    };
    let address = host.parse::<IpAddr>();
    if host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback()) {
        return Ok(());
    }
    Err(ListenError::NotLoopbackUrl(url.to_owned()))
}

/// Listens on an address of this machine.
pub(crate) async fn listen(
    what: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), ListenError> {
    check_loopback(what, address)?;
    let failed = |source| ListenError::Bind { what, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_taken() {
        for good in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:6180", "[::ffff:127.0.0.1]:1"] {
            check_loopback("api", good.parse().expect("address")).expect(good);
        }
        for bad in ["0.0.0.0:6180", "[::]:6180", "192.168.0.1:6180", "10.0.0.1:1"] {
            let error = check_loopback("api", bad.parse().expect("address")).expect_err(bad);
            let text = error.to_string();
            assert!(text.contains(bad) && text.contains("such as 127.0.0.1:"), "{text}");
        }
    }

    #[test]
    fn only_brokers_of_this_machine_are_taken() {
        let local = ["mqtt://127.0.0.1:1883", "mqtt://localhost", "mqtt://[::1]:1883"];
        for good in local.into_iter().chain(["unix:///run/mosquitto.sock", "no url"]) {
            check_loopback_url(good).expect(good);
        }
        for bad in ["mqtt://broker.example:1883", "mqtt://10.0.0.1", "mqtt://127.0.0.1.example"] {
            let error = check_loopback_url(bad).expect_err(bad).to_string();
            assert!(error.contains(bad) && error.contains("is not on this machine"), "{error}");
        }
    }
}
