//! The time between two ends of authorities. A connection is verified once and may last: one that was verified before the
//! last end is verified anew when something is asked on it, by the authorities that are left.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use rustls::{
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier as _,
};

use crate::clients::Clients;

/// A number that rises when an authority is not believed any more.
#[derive(Debug, Default)]
pub struct Era {
    number: AtomicU64,
    /// By whom it is verified anew; nobody, in tests.
    clients: Option<Arc<Clients>>,
}

/// A certificate that was verified in a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    era: u64,
    certificate: Arc<[u8]>,
}

impl Verified {
    /// `era`: what it was before the handshake. `certificate`: in DER.
    #[must_use]
    pub fn new(era: u64, certificate: &[u8]) -> Self {
        Self { era, certificate: certificate.into() }
    }
}

impl Era {
    pub(crate) fn new(clients: Arc<Clients>) -> Self {
        Self { number: AtomicU64::new(0), clients: Some(clients) }
    }

    /// The present one.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.number.load(SeqCst)
    }

    /// Begins the next one.
    pub fn end(&self) {
        self.number.fetch_add(1, SeqCst);
    }

    /// Whether a certificate would be believed now as well, whatever its end.
    #[must_use]
    pub fn holds(&self, verified: &Verified) -> bool {
        if verified.era == self.now() {
            return true;
        }
        let certificate = CertificateDer::from(&*verified.certificate);
        // The clients know the time by themselves.
        let verify = |clients: &Arc<Clients>| {
            clients.verify_client_cert(&certificate, &[], UnixTime::now()).is_ok()
        };
        self.clients.as_ref().is_some_and(verify)
    }
}
