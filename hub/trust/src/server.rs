//! The hub's own certificate: for which names, until when, and a new one in time. It is kept nowhere: a hub that starts
//! makes itself one, whose key has never left its memory.

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
};

use rcgen::SanType;
use rustls::{
    crypto::CryptoProvider,
    pki_types::CertificateDer,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{authority::Authority, error::TrustError};

/// The name that is in every certificate of every hub. Devices know their hub by its authority, and ask for this name:
/// so they may reach it by any address.
pub const HUB_NAME: &str = "lichen-hub";
/// How long a certificate of the hub lasts, in seconds. Nobody pins it, so a year is only a bound on a stolen key.
const LIFETIME_S: u64 = 365 * 24 * 3600;

/// What the hub shows of itself in a handshake. New connections get the newest.
#[derive(Debug)]
pub(crate) struct Shown(RwLock<State>);

/// A certificate to show.
#[derive(Debug)]
pub(crate) struct State {
    key: Arc<CertifiedKey>,
    /// From when on there should be a newer one: two thirds of its lifetime. Seconds since 1970.
    renew_at: u64,
}

impl Shown {
    pub(crate) fn new(state: State) -> Self {
        Self(RwLock::new(state))
    }

    /// Shows another certificate from now on.
    pub(crate) fn replace(&self, state: State) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Whether it is time for a newer one.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        now >= self.0.read().unwrap_or_else(PoisonError::into_inner).renew_at
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).key.clone())
    }
}

/// Makes a certificate, which is shown with those that lead to what clients believe (`chain`).
pub(crate) fn issue(
    provider: &CryptoProvider,
    authority: &Authority,
    chain: Vec<CertificateDer<'static>>,
    names: &[String],
    now: u64,
) -> Result<State, TrustError> {
    let (own, key) = authority.server(subject_alt_names(names)?, now + LIFETIME_S)?;
    let chain = std::iter::once(own).chain(chain).collect();
    let key = Arc::new(CertifiedKey::from_der(chain, key, provider)?);
    Ok(State { key, renew_at: now + LIFETIME_S / 3 * 2 })
}

/// The advertised names and addresses, those of this machine to itself, and the name that devices ask for.
fn subject_alt_names(names: &[String]) -> Result<Vec<SanType>, TrustError> {
    let always = [HUB_NAME, "localhost", "127.0.0.1", "::1"];
    alt_names(always.into_iter().chain(names.iter().map(String::as_str)))
}

/// Names and addresses as a certificate holds them, each once.
pub(crate) fn alt_names<'n>(
    names: impl Iterator<Item = &'n str>,
) -> Result<Vec<SanType>, TrustError> {
    let mut all: Vec<SanType> = Vec::new();
    for name in names {
        let name = match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address.to_canonical()),
            Err(_) => SanType::DnsName(dns_name(name)?),
        };
        if !all.contains(&name) {
            all.push(name);
        }
    }
    Ok(all)
}

fn dns_name(name: &str) -> Result<rcgen::string::Ia5String, TrustError> {
    let refused = || TrustError::Name(name.to_owned());
    rustls::pki_types::DnsName::try_from(name).map_err(|_| refused())?;
    name.try_into().map_err(|_| refused())
}
