//! Where a hub or a broker is found: `HOST:PORT`, an IPv6 address in brackets, and the URL of a broker.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::DEVICE_PORT;

/// Longest DNS name.
const MAX_HOST: usize = 253;
/// Longest DNS label.
const MAX_LABEL: usize = 63;
/// Longest text that is looked at: a name, brackets, a port, a scheme.
const MAX_TEXT: usize = MAX_HOST + 16;
/// The ports of MQTT with TLS, and without.
const TLS_PORT: u16 = 8883;
const PLAIN_PORT: u16 = 1883;
/// Longest path of a socket that Linux takes.
const MAX_PATH: usize = 107;

/// A host and a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: String,
    port: u16,
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// Not a host and a port.
    Shape(String),
    /// No port, where one must be.
    NoPort(String),
    /// Another scheme than a broker's, or none.
    Scheme(String),
    /// MQTT in clear would leave the machine.
    Plain(String),
    /// A socket of the machine without an absolute path.
    Socket(String),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(text) => write!(
                f,
                "{text:?} is not a host and a port: write HOST:PORT, and an IPv6 address in brackets, such as \
                 hub.example:{DEVICE_PORT} or [fd00::1]:{DEVICE_PORT}"
            ),
            Self::NoPort(text) => {
                write!(
                    f,
                    "{text:?} has no port: write {text}:{DEVICE_PORT}, or the port that the hub has"
                )
            }
            Self::Scheme(text) => {
                write!(
                    f,
                    "{text:?} is not a broker's URL: write mqtts://HOST:{TLS_PORT}, or mqtt://localhost:{PLAIN_PORT} or \
                     unix:///PATH for a broker of this machine"
                )
            }
            Self::Plain(text) => write!(
                f,
                "{text:?} would be MQTT in clear over a network: write mqtts://HOST:{TLS_PORT}; mqtt:// is for this machine \
                 alone (127.0.0.1, [::1], localhost)"
            ),
            Self::Socket(text) => write!(
                f,
                "{text:?} does not name a socket: write unix:// and an absolute path of at most {MAX_PATH} bytes, such as \
                 unix:///run/mosquitto.sock"
            ),
        }
    }
}

impl core::error::Error for AddressError {}

impl Address {
    /// Puts together what is a host (a DNS name, an IPv4 address, or an IPv6 address without brackets) and a port.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Option<Self> {
        let sound = port != 0 && (host.parse::<Ipv6Addr>().is_ok() || is_host(host));
        sound.then(|| Self { host: host.to_ascii_lowercase(), port })
    }

    /// Reads `HOST:PORT`.
    ///
    /// # Errors
    /// [`AddressError::Shape`], [`AddressError::NoPort`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (_, port) = split(text)?;
        let address = Self::parse_or(text, DEVICE_PORT)?;
        if port.is_some() { Ok(address) } else { Err(AddressError::NoPort(text.to_owned())) }
    }

    /// Reads `HOST:PORT`, or a host alone, which then has this port.
    ///
    /// # Errors
    /// [`AddressError::Shape`].
    pub fn parse_or(text: &str, port: u16) -> Result<Self, AddressError> {
        let (host, given) = split(text)?;
        Self::new(host, given.unwrap_or(port)).ok_or_else(|| shape(text))
    }

    /// A DNS name, or an IP address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether nothing that is sent there leaves the machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
        self.host == "localhost" || self.host.parse().is_ok_and(is_loopback)
    }
}

/// A broker that is not the hub itself. Hub and devices reach it by the same words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broker {
    /// MQTT over TLS.
    Tls(Address),
    /// MQTT in clear, on a loopback address.
    Plain(Address),
    /// MQTT in clear, by a socket of the machine: its absolute path.
    Unix(String),
}

impl Broker {
    /// Reads `mqtts://HOST[:8883]`, or `mqtt://HOST[:1883]` or `unix:///PATH` of this machine.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let scheme = || AddressError::Scheme(cut(url));
        let (before, rest) = url.split_once("://").ok_or_else(scheme)?;
        let address = |port| Address::parse_or(rest.strip_suffix('/').unwrap_or(rest), port);
        match before {
            "mqtts" => Ok(Self::Tls(address(TLS_PORT)?)),
            "mqtt" => Some(address(PLAIN_PORT)?)
                .filter(Address::is_loopback)
                .map(Self::Plain)
                .ok_or_else(|| AddressError::Plain(cut(url))),
            "unix" if is_path(rest) => Ok(Self::Unix(rest.to_owned())),
            "unix" => Err(AddressError::Socket(cut(url))),
            _ => Err(scheme()),
        }
    }
}

/// An absolute path that names something below the root, and can be shown in a line.
fn is_path(path: &str) -> bool {
    path.len() > 1
        && path.len() <= MAX_PATH
        && path.starts_with('/')
        && !path.ends_with('/')
        && !path.chars().any(char::is_control)
}

/// Parts a text at its port.
fn split(text: &str) -> Result<(&str, Option<u16>), AddressError> {
    if text.len() > MAX_TEXT {
        return Err(shape(text));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(|| shape(text))?;
            let _: Ipv6Addr = host.parse().map_err(|_| shape(text))?;
            match rest {
                "" => (host, None),
                rest => (host, Some(rest.strip_prefix(':').ok_or_else(|| shape(text))?)),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let digits = |port: &&str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port = match port {
        Some(port) => {
            let port = Some(port).filter(digits).and_then(|port| port.parse().ok());
            Some(port.ok_or_else(|| shape(text))?)
        }
        None => None,
    };
    Ok((host, port))
}

/// A DNS name or an IPv4 address. What looks like a number is a whole IPv4 address or nothing: resolvers disagree.
fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !label.is_empty()
            && label.len() <= MAX_LABEL
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    host.len() <= MAX_HOST && host.split('.').all(is_label)
}

fn shape(text: &str) -> AddressError {
    AddressError::Shape(cut(text))
}

/// As much of it as an error needs.
fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(address) => write!(f, "mqtts://{address}"),
            Self::Plain(address) => write!(f, "mqtt://{address}"),
            Self::Unix(path) => write!(f, "unix://{path}"),
        }
    }
}

macro_rules! text_in_json {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.to_string())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(de::Error::custom)
            }
        }
    };
}

text_in_json!(Address);
text_in_json!(Broker);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_it_was_printed() {
        for text in ["hub.example:6183", "10.0.0.1:1", "[fd00::1]:65535", "localhost:80", "a_b:1"] {
            assert_eq!(Address::parse(text).expect(text).to_string(), text);
        }
        assert_eq!(Address::parse("HUB.Example:1").expect("sound").host(), "hub.example");
        assert_eq!(Address::parse_or("[::1]", 7).expect("sound").to_string(), "[::1]:7");
        assert_eq!(Address::parse_or("hub", 7).expect("sound").to_string(), "hub:7");
    }

    #[test]
    fn anything_but_a_host_and_a_port_is_refused_with_the_form() {
        for text in [
            "",
            ":1",
            "h:",
            "h:0",
            "h:x",
            "h:+1",
            "h:99999",
            "::1:1",
            "[::1",
            "[::1]1",
            "[fe80::1%eth0]:1",
            "a b:1",
            "https://h:1",
            "h/p:1",
            "-h:1",
            "h..x:1",
            "1.2.3:4",
            "256.1.1.1:1",
            "a@h:1",
            "é:1",
        ] {
            let error = Address::parse(text).expect_err(text).to_string();
            assert!(error.contains("write HOST:PORT"), "{text}: {error}");
        }
        let error = Address::parse("hub").expect_err("no port").to_string();
        assert!(error.contains("write hub:6183"), "{error}");
        let long = format!("{}:1", "a.".repeat(200));
        assert!(Address::parse(&long).expect_err("too long").to_string().len() < 500);
    }

    #[test]
    fn mqtt_in_clear_stays_on_the_machine() {
        for (url, shown) in [
            ("mqtts://broker.example:8884", "mqtts://broker.example:8884"),
            ("mqtts://broker.example/", "mqtts://broker.example:8883"),
            ("mqtts://[fd00::1]", "mqtts://[fd00::1]:8883"),
            ("mqtt://127.0.0.1:2883", "mqtt://127.0.0.1:2883"),
            ("mqtt://localhost", "mqtt://localhost:1883"),
            ("mqtt://[::1]", "mqtt://[::1]:1883"),
            ("unix:///run/mosquitto.sock", "unix:///run/mosquitto.sock"),
        ] {
            assert_eq!(Broker::parse(url).expect(url).to_string(), shown);
        }
        for url in ["mqtt://10.0.0.1:1883", "mqtt://localhost.example:1", "mqtt://broker"] {
            assert!(matches!(Broker::parse(url), Err(AddressError::Plain(_))), "{url}");
        }
        for url in ["", "localhost", "http://a:1", "a:1", "mqtts:a:1", "MQTTS://a:1"] {
            assert!(matches!(Broker::parse(url), Err(AddressError::Scheme(_))), "{url}");
        }
        for url in ["unix://", "unix:///", "unix://run/x", "unix:///run/", "unix:///a\nb"] {
            assert!(matches!(Broker::parse(url), Err(AddressError::Socket(_))), "{url}");
        }
        for url in ["mqtt://", "mqtts://h:0", "mqtts://h:x", "mqtts://u@h", "mqtts://h/p"] {
            assert!(matches!(Broker::parse(url), Err(AddressError::Shape(_))), "{url}");
        }
    }
}
