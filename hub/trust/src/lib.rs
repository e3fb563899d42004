//! The hub's trust: its certificate authority, the certificates that it issues, and whom it believes. Everything lies
//! in one directory that only its owner reads.
//!
//! - [`Trust`] is all of it. What it issues ends by [`KnownTime`], never by the machine's clock alone.
//! - [`SecretsKeys`] are the keys under which Secrets lie in the store.
//! - [`ClientCertificate`] is what a verified certificate says of its holder.
//! - `authority` issues, `server` is what the hub shows of itself, `clients` whom it believes, `files` how it is kept.
//!
//! Certificates are ECDSA P-256: every TLS library, broker and browser knows it. Who may do what is decided elsewhere.

#![forbid(unsafe_code)]

mod authority;
mod clients;
mod error;
mod files;
mod identity;
mod known_time;
mod secrets;
mod server;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
};

pub use authority::Issued;
pub use error::TrustError;
pub use files::FileError;
pub use identity::{ClientCertificate, DEVICES, Unreadable};
pub use known_time::KnownTime;
pub use secrets::{KeyName, OpenError, SECRETS_KEY, SecretsKeys};
pub use server::HUB_NAME;

use authority::Authority;
use clients::Clients;
use server::Shown;

/// The authority's files.
const AUTHORITY: &str = "ca";

/// The hub's authority and what it shows and believes.
pub struct Trust {
    dir: PathBuf,
    authority: Authority,
    time: Arc<KnownTime>,
    provider: Arc<CryptoProvider>,
    clients: Arc<Clients>,
    shown: Arc<Shown>,
    /// The names and addresses by which the hub may be reached.
    names: Vec<String>,
}

/// A certificate for a person or a program, with its key.
#[derive(Clone)]
pub struct Credentials {
    /// PEM.
    pub certificate: String,
    /// PKCS#8 in PEM.
    pub key: String,
}

impl Trust {
    /// Opens a hub's trust, which is made if it is not there. `names`: the names and addresses, without ports, by which
    /// the hub may be reached.
    ///
    /// # Errors
    /// A file is damaged, or the disk refuses; or a name can't be one.
    pub fn open(dir: &Path, names: Vec<String>) -> Result<Self, TrustError> {
        files::directory(dir)?;
        let authority = match Authority::load(dir, AUTHORITY)? {
            Some(authority) => authority,
            None => Authority::create(dir, AUTHORITY)?,
        };
        let time = Arc::new(KnownTime::load(dir)?);
        let provider = Arc::new(ring::default_provider());
        let believed = [authority.certificate().clone()];
        let clients = Arc::new(Clients::new(&provider, &believed, time.clone())?);
        let shown = Arc::new(Shown::new(provider.clone(), &authority, &names, time.now())?);
        let dir = dir.to_owned();
        Ok(Self { dir, authority, time, provider, clients, shown, names })
    }

    /// Where it lies.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The time by which certificates are judged.
    #[must_use]
    pub fn time(&self) -> &Arc<KnownTime> {
        &self.time
    }

    /// SHA-256 of the authority's certificate, by which a device knows its hub before it knows anything else.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.authority.fingerprint()
    }

    /// The certificates that whoever talks to this hub believes, in PEM.
    #[must_use]
    pub fn bundle(&self) -> String {
        self.authority.pem().to_owned()
    }

    /// The TLS settings of a listener that speaks these protocols (ALPN). Clients may show a certificate; those that
    /// show none are let in too, and it is the listener's business what they may do.
    #[must_use]
    pub fn server_config(&self, protocols: &[&[u8]]) -> Arc<ServerConfig> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_client_cert_verifier(self.clients.clone())
            .with_cert_resolver(self.shown.clone());
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        // Whoever comes back is spared the certificates. One ticket: a device has one connection.
        config.send_tls13_tickets = 1;
        match ring::Ticketer::new() {
            Ok(ticketer) => config.ticketer = ticketer,
            // Without random numbers nothing else works either; resumption is only a saving.
            Err(_) => config.send_tls13_tickets = 0,
        }
        Arc::new(config)
    }

    /// SHA-256 of the public key in a device's request (PEM).
    ///
    /// # Errors
    /// The request is not one.
    pub fn key_of(csr: &str) -> Result<[u8; 32], TrustError> {
        authority::key_of(csr)
    }

    /// Issues a device's certificate for the key in its request (PEM), to end after `lifetime_s`.
    ///
    /// # Errors
    /// The request is not one.
    pub fn device(&self, csr: &str, name: &str, lifetime_s: u64) -> Result<Issued, TrustError> {
        self.authority.device(csr, name, self.time.now().saturating_add(lifetime_s))
    }

    /// Makes a key and a certificate for a person or a program of a group.
    ///
    /// # Errors
    /// The machine has no random numbers.
    pub fn client(
        &self,
        name: &str,
        group: &str,
        lifetime_s: u64,
    ) -> Result<Credentials, TrustError> {
        let not_after = self.time.now().saturating_add(lifetime_s);
        let keyed = self.authority.client(name, group, not_after)?;
        Ok(Credentials { certificate: keyed.issued.certificate, key: keyed.key })
    }

    /// The TLS settings of a client that is this user of this group, believes this hub's authority, and speaks one protocol.
    ///
    /// # Errors
    /// The machine has no random numbers.
    pub fn client_config(
        &self,
        name: &str,
        group: &str,
        protocol: &[u8],
    ) -> Result<ClientConfig, TrustError> {
        let (chain, key) = self.authority.client_key(name, group, authority::NO_END)?;
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate().clone())?;
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(config)
    }

    /// Renews what the hub shows of itself if it is time; connections go on. True if it did.
    ///
    /// # Errors
    /// It can't be made; what is shown stays.
    pub fn renew(&self) -> Result<bool, TrustError> {
        let now = self.time.now();
        let due = self.shown.is_due(now);
        if due {
            self.shown.renew(&self.authority, &self.names, now)?;
        }
        Ok(due)
    }
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trust").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}
