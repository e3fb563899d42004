//! Who the device is for its hub: its name, its keys, the certificate that the hub made for them, and by what it knows
//! the hub. All of it lies in `<state>/identity/`, see [`store`]; nothing of it is made anew by itself.
//!
//! - [`keys`] is what the device proves itself with: files, or where a TPM or a secure element would fit.
//! - [`certificate`] reads what the hub issued. - [`store`] keeps it all. - [`hub_file`] is what is kept of the hub.

use std::sync::Arc;

use firmware_compat::keys::PinnedHub;
use lichen_agent_core::membership::due::{Asked, Lifetime, renew_at_s};
use rustls::{pki_types::CertificateDer, sign::CertifiedKey};

pub mod certificate;
pub mod hub_file;
pub mod key_files;
pub mod keys;
pub mod store;

pub use hub_file::HubFile;
pub use keys::{KeyError, Keys};
pub use store::{IdentityDir, IdentityError};

use certificate::Unusable;

/// Certificates of one identity, at most: a chain, or the CAs of a rotation.
const MAX_CERTIFICATES: usize = 8;

/// An identity, read and checked.
#[derive(Clone, Debug)]
pub struct Identity {
    /// What is known of the hub, and when the certificate was issued.
    pub hub: HubFile,
    /// The device's keys.
    pub keys: Arc<dyn Keys>,
    /// The certificate with its key, as TLS wants them.
    pub certified: Arc<CertifiedKey>,
    /// Whose certificates are believed.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Whose word counts.
    pub pinned: PinnedHub,
    /// The certificate's last second, since 1970.
    pub not_after_s: u64,
}

impl Identity {
    /// Puts together what a hub issued for keys.
    ///
    /// # Errors
    /// It does not fit together, or can't be read.
    pub fn new(keys: Arc<dyn Keys>, certificate: &str, hub: HubFile) -> Result<Self, Unusable> {
        let pinned = hub.pinned().ok_or(Unusable::SigningKeys)?;
        let chain = certificate::read_pem(certificate, MAX_CERTIFICATES)?;
        let authorities = certificate::read_pem(&hub.facts.ca, MAX_CERTIFICATES)?;
        let not_after_s = certificate::not_after_s(chain.first().ok_or(Unusable::Empty)?)?;
        let certified = Arc::new(CertifiedKey::new(chain, keys.signer()));
        certified.keys_match().map_err(|_| Unusable::OtherKey)?;
        Ok(Self { hub, keys, certified, authorities, pinned, not_after_s })
    }

    /// The same with what is known of the hub by now.
    ///
    /// # Errors
    /// Its CAs or its keys can't be used.
    pub fn with(&self, hub: HubFile) -> Result<Self, Unusable> {
        let pinned = hub.pinned().ok_or(Unusable::SigningKeys)?;
        let authorities = certificate::read_pem(&hub.facts.ca, MAX_CERTIFICATES)?;
        Ok(Self { hub, authorities, pinned, ..self.clone() })
    }

    /// When the certificate is to be replaced, in seconds since 1970, as `random` spreads it.
    #[must_use]
    pub fn renew_at_s(&self, random: u64) -> u64 {
        let HubFile { issued_ms, facts, .. } = &self.hub;
        let lifetime = Lifetime { issued_ms: *issued_ms, not_after_s: self.not_after_s };
        let asked = facts.renewal.map(|renewal| Asked { renewal, at_ms: facts.unix_ms });
        renew_at_s(lifetime, asked, random)
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.hub.name
    }
}
