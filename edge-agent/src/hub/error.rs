//! Why a call to the hub failed, sorted by what there is to be done about it.

use std::io;

use firmware_compat::enrolment::Address;

/// Why a call to the hub failed.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Nobody there, or the connection broke.
    #[error("could not reach the hub at {what}: {cause}")]
    Unreachable {
        /// Where, or for what.
        what: String,
        /// What went wrong.
        cause: String,
    },
    /// What answers is not the hub, or its certificate can't be believed.
    #[error("what answers at {address} is not this device's hub: {cause}")]
    Impostor {
        /// Where.
        address: Address,
        /// What is wrong with its certificate.
        cause: String,
    },
    /// The hub does not believe this device's certificate: it has expired, or is none of the hub's.
    #[error("the hub does not accept this device's certificate: {cause}")]
    NotAuthenticated {
        /// Why, as it says.
        cause: String,
    },
    /// The hub does not want this device.
    #[error("the hub refuses: {cause}")]
    Refused {
        /// Why, as it says.
        cause: String,
    },
    /// The hub does not have it.
    #[error("the hub does not have {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The hub can't at present.
    #[error("the hub answered {what} with status {status}: {cause}")]
    Busy {
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
        /// Why, as it says.
        cause: String,
    },
    /// The answer does not mean anything.
    #[error("the hub's answer to {what} is unusable: {cause}")]
    Answer {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The bytes are not those that were asked for.
    #[error("{what} is not what its name says: {cause}")]
    Corrupt {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Nobody wants it any more.
    #[error("cancelled")]
    Cancelled,
    /// The device could not keep it.
    #[error("could not store {what}: {source}")]
    Disk {
        /// The file.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl HubError {
    /// No answer.
    pub(super) fn of(address: &Address, error: &ureq::Error) -> Self {
        let tls = match error {
            ureq::Error::Io(error) => tls_error(error),
            _ => None,
        };
        match tls {
            Some(
                tls @ (rustls::Error::InvalidCertificate(_)
                | rustls::Error::NoCertificatesPresented),
            ) => Self::Impostor { address: address.clone(), cause: cause(tls) },
            Some(rustls::Error::AlertReceived(alert)) if is_about_our_certificate(*alert) => {
                Self::NotAuthenticated { cause: format!("{alert:?}") }
            }
            _ => Self::Unreachable { what: address.to_string(), cause: error.to_string() },
        }
    }

    /// An answer that is no success.
    pub(super) fn refused(what: &str, status: u16, cause: String) -> Self {
        let what = what.to_owned();
        match status {
            401 => Self::NotAuthenticated { cause },
            404 => Self::NotFound { what },
            408 | 425 | 429 | 500.. => Self::Busy { what, status, cause },
            400..500 => Self::Refused { cause },
            _ => Self::Answer { what, cause: format!("its status is {status}") },
        }
    }

    /// Whether the same call may be answered in another way later, without anybody doing anything on this device.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Busy { .. } | Self::Answer { .. })
    }
}

/// In the words of the verifier of ours, if it was that one.
fn cause(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => {
            other.to_string()
        }
        error => error.to_string(),
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn is_about_our_certificate(alert: rustls::AlertDescription) -> bool {
    use rustls::AlertDescription as Alert;
    matches!(
        alert,
        Alert::AccessDenied
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRequired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::UnsupportedCertificate
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hub_answers_is_sorted_by_what_can_be_done() {
        for (status, passing) in [
            (400, false),
            (401, false),
            (403, false),
            (404, false),
            (409, false),
            (429, true),
            (500, true),
            (503, true),
        ] {
            let error = HubError::refused("/x", status, "because".to_owned());
            assert_eq!(error.is_passing(), passing, "{status}: {error}");
        }
        let refused = HubError::refused("/x", 403, "the device was revoked".to_owned());
        assert_eq!(refused.to_string(), "the hub refuses: the device was revoked");
    }
}
