//! What a broker of the operator's gets of the hub's trust: a certificate to show, and which certificates of devices are
//! worth nothing any more. The hub's own port asks the engine about each; a broker needs a list.

use std::net::IpAddr;

use crate::{Credentials, Trust, error::TrustError, server};

/// The name in the certificate of every broker, by which hub and devices know it whatever address they dial. Another one
/// than the hub's: a broker carries what others say, and must not be able to speak as the hub.
pub const BROKER_NAME: &str = "lichen-broker";
/// The organisation in it.
const BROKER: &str = "lichen:broker";
/// How long it lasts, in seconds: nobody renews it but the operator.
const LIFETIME_S: u64 = 3 * 365 * 24 * 3600;

/// A broker's certificate.
#[derive(Clone, Debug)]
pub struct BrokerCertificate {
    /// Its key, and its certificate with what leads to the authorities that clients may know.
    pub credentials: Credentials,
    /// The first second after its lifetime.
    pub not_after: u64,
}

impl Trust {
    /// Makes a key and a certificate for a broker that is found by these names and addresses, too. Whoever has it is the
    /// broker for the hub and for devices.
    ///
    /// # Errors
    /// A name can't be one, or is the hub's own.
    pub fn broker(&self, names: &[String]) -> Result<BrokerCertificate, TrustError> {
        if let Some(own) = names.iter().find(|name| self.is_own_name(name)) {
            return Err(TrustError::OwnName(own.clone()));
        }
        let names = std::iter::once(BROKER_NAME).chain(names.iter().map(String::as_str));
        let names = server::alt_names(names)?;
        let not_after = self.time.now().saturating_add(LIFETIME_S);
        let (own, key) = self.authority().other_server(BROKER_NAME, BROKER, names, not_after)?;
        let certificate = format!("{own}{}", self.way_to_previous());
        Ok(BrokerCertificate { credentials: Credentials { certificate, key }, not_after })
    }

    /// Whether whoever has a certificate of this name could be taken for this hub. `localhost` is everybody's.
    fn is_own_name(&self, name: &str) -> bool {
        let same = |own: &str| match (own.parse::<IpAddr>(), name.parse::<IpAddr>()) {
            (Ok(own), Ok(name)) => own.to_canonical() == name.to_canonical(),
            _ => own.eq_ignore_ascii_case(name),
        };
        let is_everybodys = |name: &str| {
            let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
            name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
        };
        same(server::HUB_NAME) || (!is_everybodys(name) && self.names.iter().any(|own| same(own)))
    }

    /// The list of these serial numbers, signed by the authority, in PEM: a program that checks it (a CRL) refuses the
    /// certificates. It has no end that locks anybody out. While the hub changes its authority, the last list of the one
    /// before follows: that one's key is gone, and what it issued ends with it.
    ///
    /// # Errors
    /// It can't be signed.
    pub fn revocations(&self, serials: &[Vec<u8>]) -> Result<String, TrustError> {
        let keys = self.keys();
        let list = keys.authority.revocations(serials, self.time.now())?;
        let before = keys.previous.as_ref().map_or("", |previous| previous.revocations.as_str());
        Ok(format!("{list}{before}"))
    }
}
