//! A GET by HTTP/1.1, of which only the status counts; over TLS without a look at the certificate, as the kubelet does. Redirects
//! are followed on the same host, one that leads elsewhere is a good answer.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
};

use firmware_compat::v1::owned::Header;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{
    Clock, Network,
    network::{LOOPBACK, words},
};

/// Redirects that are followed. The kubelet's bound.
const MAX_REDIRECTS: usize = 10;
/// Bytes of a status line and headers that are read.
const MAX_HEAD: usize = 16 * 1024;
const USER_AGENT: &str = concat!("kube-probe/lichen-", env!("CARGO_PKG_VERSION"));

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) path: &'a str,
    pub(super) tls: bool,
    pub(super) headers: &'a [Header],
}

/// Asks. `any`: every status will do.
///
/// # Errors
/// In the kubelet's words.
pub(super) fn get(
    request: &Request<'_>,
    network: &Network,
    clock: &Clock,
    any: bool,
) -> Result<(), String> {
    let (mut path, mut port, mut tls) = (request.path.to_owned(), request.port, request.tls);
    for _ in 0..=MAX_REDIRECTS {
        let now = Request { path: &path, port, tls, ..*request };
        let head = fetch(&now, network, clock)
            .map_err(|error| format!("Get \"{}\": {error}", now.url()))?;
        let (status, location) = read_head(&head)
            .ok_or_else(|| format!("Get \"{}\": net/http: malformed HTTP response", now.url()))?;
        match (status, location) {
            _ if any => return Ok(()),
            (301 | 302 | 303 | 307 | 308, Some(location)) => match now.follow(location) {
                Some(next) => (path, port, tls) = next,
                None => return Ok(()),
            },
            (200..=399, _) => return Ok(()),
            (status, _) => return Err(format!("HTTP probe failed with statuscode: {status}")),
        }
    }
    Err(format!("Get \"{path}\": stopped after {MAX_REDIRECTS} redirects"))
}

impl Request<'_> {
    fn shown_host(&self) -> &str {
        if self.host.is_empty() { LOOPBACK } else { self.host }
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    fn url(&self) -> String {
        format!("{}://{}:{}{}", self.scheme(), self.shown_host(), self.port, self.path)
    }

    fn bytes(&self) -> String {
        let given = |name: &str| self.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
        let own = format!("{}:{}", self.shown_host(), self.port);
        let host = given("Host").map_or(own.as_str(), |header| header.value.as_str());
        let mut text = format!("GET {} HTTP/1.1\r\nHost: {host}\r\n", self.path);
        for (name, value) in [("User-Agent", USER_AGENT), ("Accept", "*/*")] {
            if given(name).is_none() {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        // One that is given empty is left out.
        for Header { name, value } in self.headers.iter().filter(|h| !h.value.is_empty()) {
            if !name.eq_ignore_ascii_case("Host") && !name.eq_ignore_ascii_case("Connection") {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        text + "Connection: close\r\n\r\n"
    }

    /// Where a redirect leads: path, port and whether by TLS. `None` if to another host.
    fn follow(&self, location: &str) -> Option<(String, u16, bool)> {
        let whole =
            |text: &str| if text.starts_with('/') { text.to_owned() } else { format!("/{text}") };
        let (tls, rest) = match location.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return None,
            None if location.starts_with("//") => return None,
            None if location.starts_with('/') => {
                return Some((location.to_owned(), self.port, self.tls));
            }
            // Beside what was asked for.
            None => {
                let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                return Some((format!("{folder}/{location}"), self.port, self.tls));
            }
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let usual = if tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, usual),
        };
        host.eq_ignore_ascii_case(self.shown_host()).then(|| (whole(path), port, tls))
    }
}

/// Sends the request and reads the answer's head.
fn fetch(request: &Request<'_>, network: &Network, clock: &Clock) -> Result<Vec<u8>, String> {
    let stream = network.connect(request.host, request.port, clock)?;
    let stream = Timed { stream, clock };
    if !request.tls {
        return converse(stream, request);
    }
    let name =
        ServerName::try_from(request.shown_host().to_owned()).map_err(|error| error.to_string())?;
    let client = ClientConnection::new(trusting(), name).map_err(|error| error.to_string())?;
    converse(StreamOwned::new(client, stream), request)
}

fn converse(mut stream: impl Read + Write, request: &Request<'_>) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned()
        }
        _ => words(&error),
    };
    stream.write_all(request.bytes().as_bytes()).map_err(failed)?;
    stream.flush().map_err(failed)?;
    let mut head = Vec::new();
    let mut bytes = [0; 1024];
    while head.len() < MAX_HEAD && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut bytes) {
            Ok(0) if head.is_empty() => return Err("EOF".to_owned()),
            Ok(0) => break,
            Ok(length) => head.extend_from_slice(&bytes[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(head)
}

/// Status and `Location` of an answer.
fn read_head(head: &[u8]) -> Option<(u16, Option<&str>)> {
    let end = head.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(head.len());
    let text = match std::str::from_utf8(&head[..end]) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).ok()?,
    };
    let mut lines = text.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let location = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("location").then_some(value.trim())
    });
    Some((status, location))
}

/// A stream whose every step has what is left of the time.
struct Timed<'a> {
    stream: TcpStream,
    clock: &'a Clock,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<std::time::Duration> {
        self.clock.left().map_err(|_| io::ErrorKind::TimedOut.into())
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(bytes)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn trusting() -> Arc<ClientConfig> {
    let provider = crate::tls::provider();
    let verifier = Arc::new(Anyone(provider.clone()));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both versions")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Arc::new(config)
}

/// Believes everyone: the container itself is asked, and nothing secret is sent.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
