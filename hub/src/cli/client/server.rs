//! The hub's address, as `--server` or `LICHEN_SERVER` gives it.

use std::{fmt, str::FromStr};

/// Where a hub listens if it is not told otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:6180";

/// `http://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server(String);

/// Why an address can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// Encryption needs identities, which devices and operators don't have yet.
    #[error(
        "https is not there yet; hubs listen on this machine only: write http://127.0.0.1:6180"
    )]
    Https,
    /// Something else than a host and a port.
    #[error("{0:?} is not a hub's address; write it like http://127.0.0.1:6180")]
    Shape(String),
}

impl Server {
    /// The URL of a path.
    #[must_use]
    pub fn url(&self, target: &str) -> String {
        format!("{}{target}", self.0)
    }
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let shape = || ServerError::Shape(text.chars().take(100).collect());
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => return Err(ServerError::Https),
            Some(_) => return Err(shape()),
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !rest.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host_fits = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                !host.is_empty()
                    && host
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            }
        };
        let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        if !host_fits || !port_fits {
            return Err(shape());
        }
        Ok(Self(format!("http://{rest}")))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_in_every_usual_form() {
        for (text, expected) in [
            ("http://127.0.0.1:6180", "http://127.0.0.1:6180"),
            ("127.0.0.1:6180", "http://127.0.0.1:6180"),
            ("http://localhost:1/", "http://localhost:1"),
            ("http://[::1]:6180", "http://[::1]:6180"),
            ("http://[::1]", "http://[::1]"),
            ("http://hub", "http://hub"),
        ] {
            assert_eq!(text.parse::<Server>().map(|s| s.to_string()).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_form() {
        for text in [
            "",
            "http://",
            "ftp://x",
            "http://a/b",
            "http://a:0",
            "http://a:b",
            "http://::1",
            "a b",
        ] {
            let error = text.parse::<Server>().expect_err(text).to_string();
            assert!(error.contains("write it like http://127.0.0.1:6180"), "{error}");
        }
        assert_eq!("https://hub".parse::<Server>(), Err(ServerError::Https));
    }
}
