//! Who asks on the device port: a board without a certificate, or a device; and what it may ask for.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    body::Body,
    extract::{FromRequestParts, State},
    http::{Request, StatusCode, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use lichen_link::{
    Holder,
    endpoint::{
        http::HttpPeer,
        identity::{Credential, DeviceCertificate},
    },
};

use lichen_hub_core::admission::{
    roster::{Verdict, WAY_BACK},
    validity,
};

use super::Devices;
use crate::server::api::Refusal;

/// The far end of a connection of the device port, as it stands when a request comes.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// What its certificate says.
    credential: Credential,
    /// Whether it may come in; none if it is no device.
    verdict: Option<Verdict>,
    /// Who has its session with this hub.
    pub(crate) holder: Option<Holder>,
}

impl From<&HttpPeer> for Caller {
    fn from(peer: &HttpPeer) -> Self {
        Self {
            address: peer.address,
            credential: peer.credential.clone(),
            verdict: peer.verdict(),
            holder: peer.holder(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Response> {
        let peer = parts.extensions.get::<Arc<HttpPeer>>();
        peer.map(|peer| Self::from(peer.as_ref())).ok_or_else(|| {
            Refusal::internal("a request came without its connection").into_response()
        })
    }
}

impl Caller {
    /// Whose certificate was shown, if it is a device's.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.credential {
            Credential::Device(certificate) => Some(&certificate.name),
            Credential::Unusable(_) | Credential::Anonymous => None,
        }
    }

    /// The device that asks, if it is one now.
    pub(crate) fn device(&self, now: u64) -> Result<&DeviceCertificate, Refusal> {
        let certificate = self.welcome()?;
        if certificate.has_ended(now) {
            return Err(unauthorized(
                "the certificate has ended; the device can ask for a new one (POST /lichen/v1/renew)",
            ));
        }
        Ok(certificate)
    }

    /// The device that asks, if its certificate is good for a new one: until so many seconds after its end.
    pub(crate) fn renewable(&self, now: u64, grace_s: u64) -> Result<&DeviceCertificate, Refusal> {
        let certificate = self.welcome()?;
        if !validity::is_renewable(certificate.not_after, grace_s, now) {
            return Err(unauthorized(&format!(
                "the certificate of {} ended over {} days ago, longer than this hub lets devices be away; it has to join \
                 again: {WAY_BACK}",
                certificate.name,
                grace_s / (24 * 3600),
            )));
        }
        Ok(certificate)
    }

    fn welcome(&self) -> Result<&DeviceCertificate, Refusal> {
        let certificate = match &self.credential {
            Credential::Device(certificate) => certificate,
            Credential::Unusable(why) => return Err(forbidden(&why.to_string())),
            Credential::Anonymous => {
                return Err(unauthorized(
                    "a device shows its certificate here; without one it can only join (POST /lichen/v1/enrol)",
                ));
            }
        };
        match &self.verdict {
            Some(Verdict::Welcome) => Ok(certificate),
            Some(verdict) => Err(forbidden(&verdict.why(&certificate.name))),
            None => Err(forbidden("this is the port for devices; operators use the other one")),
        }
    }
}

/// Lets devices through, and nobody else.
pub(super) async fn only_devices(
    State(devices): State<Devices>,
    caller: Caller,
    request: Request<Body>,
    next: Next,
) -> Response {
    match caller.device(devices.trust.time().now()) {
        Ok(_) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn unauthorized(message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
}

fn forbidden(message: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "Forbidden", message)
}

#[cfg(test)]
mod tests {
    use firmware_compat::id::Hash;
    use lichen_link::endpoint::identity::Unusable;

    use super::*;

    const END: u64 = 1_000_000;
    const DAY: u64 = 24 * 3600;

    fn caller(credential: Credential, verdict: Option<Verdict>) -> Caller {
        let address = "192.0.2.1:9".parse().expect("an address");
        Caller { address, credential, verdict, holder: None }
    }

    fn device() -> Credential {
        let (key, serial) = (Hash([7; 32]), [1].into());
        Credential::Device(Arc::new(DeviceCertificate {
            name: "pi-1".into(),
            key,
            serial,
            not_after: END,
        }))
    }

    fn said<T>(answer: Result<T, Refusal>) -> String {
        answer.map_or_else(
            |refusal| format!("{} {}", refusal.code(), refusal.message()),
            |_| "fine".into(),
        )
    }

    #[test]
    fn a_certificate_that_has_ended_is_good_for_a_new_one_alone_and_not_for_ever() {
        let device = caller(device(), Some(Verdict::Welcome));
        assert_eq!(said(device.device(END)), "fine");
        assert!(
            said(device.device(END + 1)).contains("401 Unauthorized the certificate has ended")
        );
        assert_eq!(said(device.renewable(END + 365 * DAY, 366 * DAY)), "fine");
        let late = said(device.renewable(END + 366 * DAY + 1, 366 * DAY));
        assert!(late.contains("ended over 366 days ago"), "{late}");
        assert!(late.ends_with(
            "remove the file identity/hub.json in its state, which keeps its keys, and run the line"
        ));
    }

    #[test]
    fn nobody_but_an_enrolled_device_is_one() {
        let operator = Credential::Unusable(Unusable::NotADevice("system:admin".into()));
        for (caller, why) in [
            (
                caller(Credential::Anonymous, None),
                "401 Unauthorized a device shows its certificate",
            ),
            (
                caller(operator, None),
                "403 Forbidden the certificate of \"system:admin\" is an operator's",
            ),
            (caller(device(), Some(Verdict::Stranger)), "403 Forbidden pi-1 is not enrolled here"),
            (caller(device(), Some(Verdict::OtherKey)), "403 Forbidden another key is enrolled"),
        ] {
            assert!(said(caller.device(0)).starts_with(why), "{}", said(caller.device(0)));
            assert!(said(caller.renewable(0, 9)).starts_with(why));
        }
    }
}
