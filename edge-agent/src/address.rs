//! Where the hub and the broker are: URLs of a scheme, a host and a port, nothing else.
//!
//! Until devices have identities, only loopback hosts are accepted; [`Address::parse`] is the one place that says
//! so, and the place where TLS schemes will enter.

use std::{fmt, net::IpAddr};

/// The hub's port when the URL names none.
pub const HUB_PORT: u16 = 6180;
/// MQTT's registered port.
pub const MQTT_PORT: u16 = 1883;

/// A host and a port that the agent may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    scheme: &'static str,
    host: String,
    port: u16,
}

/// Why a URL is not an address that the agent connects to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another scheme, or none.
    #[error("{url:?} does not start with {scheme}://: write {scheme}://HOST:PORT")]
    Scheme {
        /// What was given.
        url: String,
        /// What was expected.
        scheme: &'static str,
    },
    /// Not a host with an optional port.
    #[error(
        "{url:?} is not a host and a port: write {scheme}://HOST:PORT, without user, path or query"
    )]
    Shape {
        /// What was given.
        url: String,
        /// What was expected.
        scheme: &'static str,
    },
    /// A host on another machine.
    #[error(
        "{host} is not this machine: connections beyond this machine arrive with device identities; \
         until then use 127.0.0.1, [::1] or localhost"
    )]
    NotLoopback {
        /// The host.
        host: String,
    },
}

impl Address {
    /// Reads the hub's URL, `http://HOST:PORT`.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn parse_hub(url: &str) -> Result<Self, AddressError> {
        Self::parse(url, "http", HUB_PORT)
    }

    /// Reads the broker's URL, `mqtt://HOST:PORT`.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn parse_broker(url: &str) -> Result<Self, AddressError> {
        Self::parse(url, "mqtt", MQTT_PORT)
    }

    fn parse(url: &str, scheme: &'static str, default_port: u16) -> Result<Self, AddressError> {
        let shape = || AddressError::Shape { url: url.to_owned(), scheme };
        let rest = url
            .strip_prefix(scheme)
            .and_then(|rest| rest.strip_prefix("://"))
            .ok_or_else(|| AddressError::Scheme { url: url.to_owned(), scheme })?;
        let (host, port) = split(rest.strip_suffix('/').unwrap_or(rest)).ok_or_else(shape)?;
        let port = match port {
            Some(port) => port.parse().ok().filter(|&port| port != 0).ok_or_else(shape)?,
            None => default_port,
        };
        if !is_loopback(host) {
            return Err(AddressError::NotLoopback { host: host.to_owned() });
        }
        Ok(Self { scheme, host: host.to_owned(), port })
    }

    /// The host: a name or an IP address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

fn split(rest: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            match rest {
                "" => (host, None),
                rest => (host, Some(rest.strip_prefix(':')?)),
            }
        }
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    let is_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':');
    (!host.is_empty() && host.bytes().all(is_host)).then_some((host, port))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_it_was_printed() {
        for url in ["http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost:1"] {
            let address = Address::parse_hub(url).expect("a loopback address");
            assert_eq!(address.to_string(), url);
        }
        let address = Address::parse_broker("mqtt://127.0.0.1/").expect("a loopback address");
        assert_eq!((address.host(), address.port()), ("127.0.0.1", MQTT_PORT));
    }

    #[test]
    fn hosts_beyond_this_machine_are_refused_with_the_reason() {
        for host in ["10.0.0.1", "hub.example.com", "[fe80::1]", "0.0.0.0", "localhost.evil"] {
            let error = Address::parse_hub(&format!("http://{host}:80")).expect_err(host);
            assert!(matches!(error, AddressError::NotLoopback { .. }), "{host}");
            assert!(error.to_string().contains("device identities"), "{error}");
        }
    }

    #[test]
    fn anything_but_a_host_and_a_port_is_refused() {
        for rest in [
            "",
            "a@127.0.0.1",
            "127.0.0.1:0",
            "127.0.0.1:x",
            "127.0.0.1:99999",
            "[::1",
            "::1",
            "h/p",
        ] {
            let error = Address::parse_hub(&format!("http://{rest}")).expect_err(rest);
            assert!(matches!(error, AddressError::Shape { .. }), "{rest}: {error}");
        }
        assert!(matches!(Address::parse_hub("https://x"), Err(AddressError::Scheme { .. })));
    }
}
