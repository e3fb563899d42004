//! Who asks on the device port: a board without a certificate, or a device; and what it may ask for.

use std::net::SocketAddr;

use axum::{
    body::Body,
    extract::State,
    http::{Request, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use lichen_trust::ClientCertificate;

use super::Devices;
use crate::server::api::Refusal;

/// The far end of a connection of the device port, as it stands when a request comes.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Where it is.
    pub(crate) address: SocketAddr,
    /// What its certificate says; none if it showed none.
    pub(crate) certificate: Option<ClientCertificate>,
    /// Whether it is enrolled with the key of its certificate, and not revoked.
    pub(crate) is_welcome: bool,
}

impl Caller {
    /// The device that asks, if it is one now.
    pub(crate) fn device(&self, now: u64) -> Result<&ClientCertificate, Refusal> {
        let certificate = self.welcome()?;
        if now >= certificate.not_after {
            return Err(unauthorized(
                "the certificate has ended; the device can ask for a new one (POST /lichen/v1/renew)",
            ));
        }
        Ok(certificate)
    }

    /// The device that asks, if its certificate is good for a new one: until so many seconds after its end.
    pub(crate) fn renewable(&self, now: u64, grace_s: u64) -> Result<&ClientCertificate, Refusal> {
        let certificate = self.welcome()?;
        if now >= certificate.not_after.saturating_add(grace_s) {
            return Err(unauthorized(&format!(
                "the certificate of {} ended over {} days ago, longer than this hub lets devices be away; join again, \
                 after an operator has said: lichen device forget {}",
                certificate.common_name,
                grace_s / (24 * 3600),
                certificate.common_name
            )));
        }
        Ok(certificate)
    }

    fn welcome(&self) -> Result<&ClientCertificate, Refusal> {
        let Some(certificate) = &self.certificate else {
            return Err(unauthorized(
                "a device shows its certificate here; without one it can only join (POST /lichen/v1/enrol)",
            ));
        };
        if !certificate.is_device() {
            return Err(forbidden("this is the port for devices; operators use the other one"));
        }
        if !self.is_welcome {
            return Err(forbidden(&format!(
                "{} is not enrolled here with this key, or was revoked; an operator can say: lichen device list",
                certificate.common_name
            )));
        }
        Ok(certificate)
    }
}

/// Lets devices through, and nobody else.
pub(super) async fn only_devices(
    State(devices): State<Devices>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let now = devices.trust.time().now();
    let caller = request.extensions().get::<Caller>();
    match caller.map(|caller| caller.device(now).map(drop)) {
        Some(Ok(())) => next.run(request).await,
        Some(Err(refusal)) => refusal.into_response(),
        None => Refusal::internal("a request came without its connection").into_response(),
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
    use super::*;

    const END: u64 = 1_000_000;
    const DAY: u64 = 24 * 3600;

    fn caller(organization: &str, is_welcome: bool) -> Caller {
        let certificate = ClientCertificate {
            common_name: "pi-1".to_owned(),
            organizations: vec![organization.to_owned()],
            serial: vec![1],
            key: [7; 32],
            not_after: END,
        };
        let address = "192.0.2.1:9".parse().expect("an address");
        Caller { address, certificate: Some(certificate), is_welcome }
    }

    fn said<T>(answer: Result<T, Refusal>) -> String {
        answer.map_or_else(|refusal| format!("{} {}", refusal.code(), refusal.message()), |_| "fine".into())
    }

    #[test]
    fn a_certificate_that_has_ended_is_good_for_a_new_one_alone_and_not_for_ever() {
        let device = caller(lichen_trust::DEVICES, true);
        assert_eq!(said(device.device(END - 1)), "fine");
        assert!(said(device.device(END)).contains("401 Unauthorized the certificate has ended"));
        assert_eq!(said(device.renewable(END + 365 * DAY, 366 * DAY)), "fine");
        let late = said(device.renewable(END + 366 * DAY, 366 * DAY));
        assert!(late.contains("ended over 366 days ago"), "{late}");
        assert!(late.contains("lichen device forget pi-1"), "{late}");
    }

    #[test]
    fn nobody_but_an_enrolled_device_is_one() {
        let nobody = Caller { certificate: None, ..caller("", true) };
        for (caller, why) in [
            (nobody, "401 Unauthorized a device shows its certificate here"),
            (caller("system:masters", true), "403 Forbidden this is the port for devices"),
            (caller(lichen_trust::DEVICES, false), "403 Forbidden pi-1 is not enrolled here"),
        ] {
            assert!(said(caller.device(0)).starts_with(why), "{}", said(caller.device(0)));
            assert!(said(caller.renewable(0, 9)).starts_with(why));
        }
    }
}
