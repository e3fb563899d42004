//! Everything that it takes to reach one hub: where it is, whom to believe, and who is asking.

use std::{fmt, str::FromStr};

use lichen_trust::ClientCertificate;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};

use super::{Authorities, Server};

/// Longest bearer token. A hub takes no longer head of a request.
const MAX_TOKEN: usize = 16 * 1024;
/// Most certificates that a client shows.
const MAX_CHAIN: usize = 8;

/// Everything that it takes to reach one hub.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where it is.
    pub server: Server,
    /// The name that its certificate must be for, if that is not the server's.
    pub server_name: Option<ServerName<'static>>,
    /// Who may have signed its certificate.
    pub authorities: Authorities,
    /// Who is asking.
    pub credentials: Credentials,
    /// What all this is called where it was read, for messages: `context lichen of FILE`.
    pub origin: String,
    /// Where objects are if nothing else is said.
    pub namespace: Option<String>,
}

/// Who is asking.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// Nobody in particular.
    Nobody,
    /// Whoever has this token.
    Token(Token),
    /// Whoever has the key of a certificate.
    Certificate(KeyedCertificate),
}

/// A bearer token. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// A client's certificate with its key.
pub struct KeyedCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Connection {
    /// The name that the hub's certificate must be for.
    ///
    /// # Errors
    /// The server's host can't be in a certificate.
    pub fn name(&self) -> Result<ServerName<'static>, String> {
        match &self.server_name {
            Some(name) => Ok(name.clone()),
            None => ServerName::try_from(self.server.host().to_owned())
                .map_err(|_| format!("{} can't be in a certificate", self.server.host())),
        }
    }
}

impl Token {
    /// The token itself.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text.len() {
            0 => Err("it is empty".to_owned()),
            1..=MAX_TOKEN if text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Self(text.to_owned()))
            }
            1..=MAX_TOKEN => Err("a token has no spaces and no letters beyond ASCII".to_owned()),
            _ => Err(format!("a token has at most {MAX_TOKEN} characters")),
        }
    }
}

impl KeyedCertificate {
    /// From a certificate (its issuers may follow it) and a key, both in PEM.
    ///
    /// # Errors
    /// One of them is not that; the first part says which: `true` for the key.
    pub fn read(chain: &[u8], key: &[u8]) -> Result<Self, (bool, String)> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .take(MAX_CHAIN)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| (false, format!("it is not PEM: {error}")))?;
        if chain.is_empty() {
            return Err((false, "it holds no CERTIFICATE in PEM".to_owned()));
        }
        // What the library says could quote the key.
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| (true, "it holds no PRIVATE KEY in PEM".to_owned()))?;
        Ok(Self { chain, key })
    }

    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(super) fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    /// The first second after its lifetime, since 1970, if that can be read.
    #[must_use]
    pub fn not_after(&self) -> Option<u64> {
        let own = self.chain.first()?;
        ClientCertificate::read(own).ok().map(|certificate| certificate.not_after)
    }
}

impl Clone for KeyedCertificate {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for KeyedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedCertificate")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_a_header_and_is_never_shown() {
        let token: Token = " abc.def-_~+/= \n".parse().expect("a token");
        assert_eq!((token.secret(), format!("{token:?}").as_str()), ("abc.def-_~+/=", "Token"));
        for bad in ["", " ", "a b", "a\nb", "ä", &"x".repeat(MAX_TOKEN + 1)] {
            assert!(bad.parse::<Token>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_told_without_its_bytes() {
        let certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let (of_key, cause) = KeyedCertificate::read(certificate, b"geheim").expect_err("no key");
        assert!(of_key && !cause.contains("geheim"), "{cause}");
        let (of_key, _) = KeyedCertificate::read(b"x", b"geheim").expect_err("no certificate");
        assert!(!of_key);
    }
}
