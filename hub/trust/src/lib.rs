//! The hub's trust: its certificate authority, the certificates that it issues, whom it believes, and the key that it signs
//! with. Everything lies in one directory that only its owner reads.
//!
//! - [`Trust`] is all of it. What it issues ends by [`KnownTime`], never by the machine's clock alone.
//! - [`SecretsKeys`] are the keys under which Secrets lie in the store.
//! - [`ClientCertificate`] is what a verified certificate says of its holder.
//! - [`copy`] is all of it as files, for a backup.
//! - [`broker`] is what a broker of the operator's gets of it.
//! - `authority` issues, `server` is what the hub shows of itself, `clients` whom it believes, `signing` what it signs with.
//! - `rotation` changes keys while the hub runs; `standing` says which ones count, `keys` holds those.
//!
//! Certificates are ECDSA P-256: every TLS library, broker and browser knows it. Who may do what is decided elsewhere.

#![forbid(unsafe_code)]

mod authority;
pub mod broker;
mod clients;
pub mod copy;
mod era;
mod error;
mod files;
mod identity;
mod keys;
mod known_time;
mod rotation;
mod secrets;
mod server;
mod signing;
mod standing;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests;
mod tickets;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    server::NoServerSessionStorage,
};

pub use authority::HUB_USER;
pub use authority::Issued;
pub use era::{Era, Verified};
pub use error::TrustError;
pub use files::FileError;
pub use identity::{ClientCertificate, DEVICES, Unreadable};
pub use known_time::KnownTime;
pub use rotation::{Changes, TrustState};
pub use secrets::{KeyName, OpenError, SECRETS_KEY, SecretsKeys};
pub use server::HUB_NAME;
pub use signing::SigningKeys;

use authority::Authority;
use clients::Clients;
use copy::KeyFile;
use keys::Keys;
use server::Shown;
use tickets::Tickets;

/// How long a certificate lasts that the hub makes for a connection of its own. Longer than any two clocks differ.
const OWN_CLIENT_S: u64 = 30 * 24 * 3600;

/// The hub's keys, and what it shows and believes.
pub struct Trust {
    dir: PathBuf,
    keys: RwLock<Keys>,
    /// Held by who changes them.
    changing: Mutex<()>,
    time: Arc<KnownTime>,
    provider: Arc<CryptoProvider>,
    clients: Arc<Clients>,
    shown: Arc<Shown>,
    tickets: Arc<Tickets>,
    era: Arc<Era>,
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
        let time = Arc::new(KnownTime::load(dir)?);
        let keys = Keys::open(dir, time.now())?;
        let provider = Arc::new(ring::default_provider());
        let clients = Arc::new(Clients::new(&provider, &keys.believed(), time.clone())?);
        let shown = server::issue(&provider, &keys.authority, keys.chain(), &names, time.now())?;
        Ok(Self {
            dir: dir.to_owned(),
            keys: RwLock::new(keys),
            changing: Mutex::default(),
            time,
            provider,
            era: Arc::new(Era::new(clients.clone())),
            clients,
            shown: Arc::new(Shown::new(shown)),
            tickets: Arc::new(Tickets::new()),
            names,
        })
    }

    fn keys(&self) -> Keys {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn authority(&self) -> Arc<Authority> {
        self.keys().authority
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

    /// Ends when an authority does that was believed: what was verified before has to be verified anew.
    #[must_use]
    pub fn era(&self) -> &Arc<Era> {
        &self.era
    }

    /// All of its files, for a backup: those of one moment.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn key_files(&self) -> Result<Vec<KeyFile>, TrustError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        copy::key_files(&self.dir)
    }

    /// What the hub signs with.
    #[must_use]
    pub fn signing(&self) -> Arc<SigningKeys> {
        self.keys().signing
    }

    /// SHA-256 of the authority's certificate, by which a device knows its hub before it knows anything else.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.authority().fingerprint()
    }

    /// The certificates that whoever talks to this hub believes, in PEM: that of its authority, and during a rotation that
    /// of the one before.
    #[must_use]
    pub fn bundle(&self) -> String {
        let Keys { authority, previous, .. } = self.keys();
        let previous = previous.as_ref().map_or("", |previous| previous.own.pem.as_str());
        format!("{}{previous}", authority.pem())
    }

    /// What leads from the certificates that this hub issues to what those believe who have not heard of its new authority,
    /// in PEM: for clients who show themselves to such. Nothing but during a rotation.
    #[must_use]
    pub fn way_to_previous(&self) -> String {
        self.keys().previous.map(|previous| previous.cross.pem.clone()).unwrap_or_default()
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
        config.ticketer = self.tickets.clone();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Arc::new(config)
    }

    /// SHA-256 of the public key in a device's request (PEM).
    ///
    /// # Errors
    /// The request is not one.
    pub fn key_of(csr: &str) -> Result<[u8; 32], TrustError> {
        authority::key_of(csr)
    }

    /// Issues a device's certificate for the key in its request (PEM), to end after `lifetime_s` or a little earlier: whoever
    /// asks again soon gets one with the same serial number and end.
    ///
    /// # Errors
    /// The request is not one.
    pub fn device(&self, csr: &str, name: &str, lifetime_s: u64) -> Result<Issued, TrustError> {
        self.authority().device(csr, name, self.time.now(), lifetime_s)
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
        let keyed = self.authority().client(name, group, not_after)?;
        Ok(Credentials { certificate: keyed.issued.certificate, key: keyed.key })
    }

    /// The TLS settings of a client that is this user of this group, believes this hub's authority, and speaks one protocol.
    /// Its key never leaves memory; it is for one connection, or those of some days.
    ///
    /// # Errors
    /// The machine has no random numbers.
    pub fn client_config(
        &self,
        name: &str,
        group: &str,
        protocol: &[u8],
    ) -> Result<ClientConfig, TrustError> {
        let keys = self.keys();
        let (own, key) = keys.authority.client_key(name, group, self.time.now() + OWN_CLIENT_S)?;
        let previous = keys.previous.iter().map(|previous| previous.cross.der.clone());
        let chain = std::iter::once(own).chain(previous).collect();
        let mut roots = RootCertStore::empty();
        for authority in keys.believed() {
            roots.add(authority)?;
        }
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(config)
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
