//! Who a session is: the one place that decides. A connection is whom its certificate names, and a CONNECT that says
//! anything else is refused, each with its own reason. Whether that device is welcome is the
//! [roster](lichen_hub_core::admission::roster)'s to say.

use std::sync::Arc;

use firmware_compat::{id::Hash, topic::is_device_name};
use lichen_hub_core::admission::validity;
use lichen_trust::ClientCertificate;
use rumqttc::ConnectReturnCode as Code;
use rustls::pki_types::CertificateDer;

use super::{access, paced::clipped};

/// What the certificate at the far end of a connection says. Its chain was verified: this hub has issued it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// There is none.
    Anonymous,
    /// A device's.
    Device(Arc<DeviceCertificate>),
    /// One by which nobody can be a device.
    Unusable(Unusable),
}

/// What a device's certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCertificate {
    /// The device's name.
    pub name: Box<str>,
    /// SHA-256 of its public key, which stays when the certificate is renewed.
    pub key: Hash,
    /// Of the certificate, big-endian, without leading zeros.
    pub serial: Box<[u8]>,
    /// The last second of its lifetime, since 1970.
    pub not_after: u64,
}

/// Why a certificate of this hub's is no device's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Somebody else's.
    #[error("the certificate of {0:?} is an operator's or a program's; only devices connect here")]
    NotADevice(Box<str>),
    /// Its name can't be a device's.
    #[error("the name in the certificate, {0:?}, is not a device name: 1 to 63 of a-z, 0-9 and -")]
    Name(Box<str>),
    /// Its name or serial number can't be read.
    #[error("the certificate can't be read")]
    Unreadable,
}

impl Credential {
    /// Reads the certificate that was verified in the handshake.
    #[must_use]
    pub fn of(certificate: Option<&CertificateDer<'_>>) -> Self {
        let Some(certificate) = certificate else { return Self::Anonymous };
        match ClientCertificate::read(certificate) {
            Ok(certificate) => Self::read(certificate),
            Err(_) => Self::Unusable(Unusable::Unreadable),
        }
    }

    fn read(certificate: ClientCertificate) -> Self {
        let is_device = certificate.is_device();
        let ClientCertificate { common_name, serial, key, not_after, .. } = certificate;
        let name: Box<str> = clipped(&common_name).into();
        if !is_device {
            return Self::Unusable(Unusable::NotADevice(name));
        }
        if !is_device_name(&common_name) {
            return Self::Unusable(Unusable::Name(name));
        }
        let (key, serial) = (Hash(key), serial.into());
        Self::Device(Arc::new(DeviceCertificate { name, key, serial, not_after }))
    }
}

impl DeviceCertificate {
    /// Whether its lifetime is over at a time that is known: seconds since 1970.
    #[must_use]
    pub fn has_ended(&self, known_time: u64) -> bool {
        validity::has_ended(self.not_after, known_time)
    }
}

/// What a CONNECT claims.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'c> {
    pub(crate) client_id: &'c str,
    pub(crate) username: Option<&'c str>,
    pub(crate) will_topic: Option<&'c str>,
}

/// Why a session is not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "no client certificate was shown; a device gets one when it joins: lichen-agent join TOKEN"
    )]
    Anonymous,
    #[error(transparent)]
    Unusable(Unusable),
    #[error(
        "the certificate of {0} has ended; it is good for a new one alone: POST /lichen/v1/renew"
    )]
    Ended(Box<str>),
    #[error("the client id is not the name in the certificate, {0}")]
    ClientId(Box<str>),
    #[error("the username differs from the client id")]
    Username,
    #[error("the will is not on the device's own gone topic")]
    Will,
}

impl Refusal {
    /// What the CONNACK says.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::ClientId(_) => Code::ClientIdentifierNotValid,
            Self::Anonymous | Self::Unusable(_) | Self::Ended(_) | Self::Username | Self::Will => {
                Code::NotAuthorized
            }
        }
    }
}

/// Decides as whom a session may open. `known_time`: seconds since 1970.
pub(crate) fn admit<'c>(
    credential: &'c Credential,
    known_time: u64,
    claim: Claim<'_>,
) -> Result<&'c Arc<DeviceCertificate>, Refusal> {
    let certificate = match credential {
        Credential::Anonymous => return Err(Refusal::Anonymous),
        Credential::Unusable(why) => return Err(Refusal::Unusable(why.clone())),
        Credential::Device(certificate) => certificate,
    };
    let name = &certificate.name;
    let Claim { client_id, username, will_topic } = claim;
    if certificate.has_ended(known_time) {
        return Err(Refusal::Ended(name.clone()));
    }
    if client_id != &**name {
        return Err(Refusal::ClientId(name.clone()));
    }
    if username.is_some_and(|username| username != client_id) {
        return Err(Refusal::Username);
    }
    if will_topic.is_some_and(|topic| !access::may_leave_will(client_id, topic)) {
        return Err(Refusal::Will);
    }
    Ok(certificate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: Claim<'_> = Claim { client_id: "pi", username: None, will_topic: None };

    fn certificate() -> ClientCertificate {
        ClientCertificate {
            common_name: "pi".to_owned(),
            organizations: vec![lichen_trust::DEVICES.to_owned()],
            serial: vec![7],
            key: [1; 32],
            not_after: 100,
        }
    }

    fn check(certificate: ClientCertificate, now: u64, claim: Claim<'_>, refusal: Option<&str>) {
        let credential = Credential::read(certificate);
        let admitted = admit(&credential, now, claim);
        let said = admitted.as_ref().map(|admitted| &*admitted.name).map_err(ToString::to_string);
        match refusal {
            None => assert_eq!(said, Ok("pi"), "{claim:?}"),
            Some(why) => assert!(said.as_ref().is_err_and(|said| said.contains(why)), "{said:?}"),
        }
    }

    #[test]
    fn a_device_is_whom_its_certificate_names() {
        check(certificate(), 100, BARE, None);
        let claim = Claim { username: Some("pi"), will_topic: Some("lichen/1/pi/up/gone"), ..BARE };
        check(certificate(), 0, claim, None);
    }

    #[test]
    fn whoever_claims_something_else_is_refused_with_the_reason() {
        for client_id in ["pi-2", "p", "Pi", "", "all", "+", "#"] {
            check(
                certificate(),
                0,
                Claim { client_id, ..BARE },
                Some("the name in the certificate, pi"),
            );
        }
        check(certificate(), 0, Claim { username: Some("pi-2"), ..BARE }, Some("username"));
        for topic in ["lichen/1/pi-2/up/gone", "lichen/1/pi/down/head", "lichen/1/pi/up/hello"] {
            check(certificate(), 0, Claim { will_topic: Some(topic), ..BARE }, Some("will"));
        }
    }

    #[test]
    fn certificates_that_have_ended_or_are_no_devices_let_nobody_in() {
        check(certificate(), 101, BARE, Some("POST /lichen/v1/renew"));
        let of =
            |group: &str| ClientCertificate { organizations: vec![group.into()], ..certificate() };
        check(of("system:masters"), 0, BARE, Some("operator's"));
        for name in ["Pi", "all", "a/b", "+", "pi\0", "../pi", ""] {
            let named = ClientCertificate { common_name: name.into(), ..certificate() };
            check(named, 0, Claim { client_id: name, ..BARE }, Some("not a device name"));
        }
        assert_eq!(admit(&Credential::Anonymous, 0, BARE), Err(Refusal::Anonymous));
        let noise = Credential::of(Some(&CertificateDer::from(vec![0x30; 9])));
        assert_eq!(noise, Credential::Unusable(Unusable::Unreadable));
    }
}
