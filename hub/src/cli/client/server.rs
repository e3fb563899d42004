//! A hub's address, as `--server`, `LICHEN_SERVER` and kubeconfigs give it.

use std::{fmt, net::Ipv6Addr, str::FromStr};

/// Where a hub listens for operators if it is not told otherwise.
pub const DEFAULT_PORT: u16 = 6180;
/// The address of a hub on this machine that is told nothing.
pub const DEFAULT_SERVER: &str = "https://127.0.0.1:6180";
/// The port of a URL without one.
const HTTPS_PORT: u16 = 443;

/// `https://HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// As it is connected to; an IPv6 address without its brackets.
    host: String,
    port: u16,
    url: String,
}

/// Why an address can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// Nothing goes to a hub in clear.
    #[error("http:// is not encrypted and hubs don't speak it; write https://{0}")]
    Plain(String),
    /// Something else than a host and a port.
    #[error("{0:?} is not a hub's address; write it like https://127.0.0.1:6180")]
    Shape(String),
}

impl Server {
    /// The URL of a path.
    #[must_use]
    pub fn url(&self, target: &str) -> String {
        format!("{}{target}", self.url)
    }

    /// `HOST:PORT` as in the URL, for commands that take a hub.
    #[must_use]
    pub fn authority(&self) -> &str {
        match self.url.strip_prefix("https://") {
            // What has no scheme and no port would be at the usual one.
            Some(authority) if self.url.ends_with(&format!(":{}", self.port)) => authority,
            _ => &self.url,
        }
    }

    /// The host alone; an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, said or not.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Server {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        let shape = || ServerError::Shape(text.chars().take(100).collect());
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest),
            Some(_) => return Err(shape()),
            None => (None, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !rest.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let fits = match bare {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.bytes().all(is_of_name),
        };
        let port = port.map(|port| port.parse::<u16>().ok().filter(|port| *port > 0));
        if !fits || port == Some(None) {
            return Err(shape());
        }
        if scheme == Some("http") {
            return Err(ServerError::Plain(rest.to_owned()));
        }
        let said = port.flatten();
        let url = match (scheme, said) {
            (Some(_), None) => format!("https://{host}"),
            _ => format!("https://{host}:{}", said.unwrap_or(DEFAULT_PORT)),
        };
        let usual = if scheme.is_some() { HTTPS_PORT } else { DEFAULT_PORT };
        Ok(Self { host: bare.unwrap_or(host).to_owned(), port: said.unwrap_or(usual), url })
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_in_every_usual_form() {
        for (text, url, host, port) in [
            ("https://127.0.0.1:6180", "https://127.0.0.1:6180", "127.0.0.1", 6180),
            ("127.0.0.1:6180", "https://127.0.0.1:6180", "127.0.0.1", 6180),
            ("https://localhost:1/", "https://localhost:1", "localhost", 1),
            ("https://[::1]:6180", "https://[::1]:6180", "::1", 6180),
            ("https://[::1]", "https://[::1]", "::1", 443),
            ("https://hub", "https://hub", "hub", 443),
            ("hub.example", "https://hub.example:6180", "hub.example", 6180),
            ("[2001:db8::1]", "https://[2001:db8::1]:6180", "2001:db8::1", 6180),
        ] {
            let server: Server = text.parse().expect(text);
            assert_eq!((server.to_string().as_str(), server.host()), (url, host), "{text}");
            assert_eq!(server.port(), port, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_form() {
        for text in [
            "",
            "https://",
            "ftp://x",
            "https://a/b",
            "https://a:0",
            "https://a:b",
            "https://::1",
            "https://user@hub",
            "a b",
        ] {
            let error = text.parse::<Server>().expect_err(text).to_string();
            assert!(error.contains("write it like https://127.0.0.1:6180"), "{error}");
        }
        let error = "http://hub:6180/".parse::<Server>().expect_err("plain").to_string();
        assert!(error.ends_with("write https://hub:6180"), "{error}");
    }
}
