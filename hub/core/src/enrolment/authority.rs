//! Which of the hub's CAs issued what devices hold, while the hub changes it. Certificates are the shell's; here it is known
//! who has which, and who was left behind.

use alloc::{format, string::ToString, vec::Vec};

use firmware_compat::{id::Hash, v1::owned::Severity};

use super::Enrolment;
use crate::{
    api::{Key, Kind},
    effect::{Response, TrustCounts},
    engine::Engine,
};

impl Engine {
    /// How many devices hold a certificate of this CA, and the newest signing key.
    pub(crate) fn count_trust(&self, authority: &Hash) -> Response {
        let authority = authority.to_string();
        let mut counts = TrustCounts::default();
        for enrolment in self.enrolments().filter(|enrolment| has_certificate(enrolment)) {
            counts.certificates += 1;
            counts.of_authority += usize::from(enrolment.status.authority == authority);
        }
        counts.agents = self.state.fleet.len();
        counts.with_newest_key = counts.agents.saturating_sub(self.without_newest_key());
        Response::TrustCounts(counts)
    }

    /// No CA but this one is believed any more: who has a certificate of another one can't come in, and an operator
    /// should know.
    pub(crate) fn only_authority(&mut self, authority: &Hash) -> Response {
        let authority = authority.to_string();
        let left_behind: Vec<Enrolment> = self
            .enrolments()
            .filter(|enrolment| has_certificate(enrolment))
            .filter(|enrolment| {
                let issued_by = &enrolment.status.authority;
                !issued_by.is_empty() && *issued_by != authority
            })
            .filter(|enrolment| enrolment.status.message.is_empty())
            .cloned()
            .collect();
        for mut enrolment in left_behind {
            let name = enrolment.metadata.name.clone();
            enrolment.status.message = format!(
                "{name} was away while the hub changed its CA, and its certificate is of the old one: it has to join again. \
                 lichen token create; on the device, remove the file identity/hub.json in its state, which keeps its keys, \
                 and run the line"
            );
            let message = enrolment.status.message.clone();
            self.record(
                &Key::new(Kind::Node, "", &name),
                Severity::Warning,
                "CertificateOutdated",
                message,
            );
            self.store_enrolment(enrolment);
            self.touch_node(&name);
        }
        Response::Done
    }

    /// Why a device can't come in although it is enrolled, if so.
    pub(crate) fn left_behind(&self, name: &str) -> Option<&str> {
        let message = self.enrolment(name)?.status.message.as_str();
        (!message.is_empty()).then_some(message)
    }
}

fn has_certificate(enrolment: &Enrolment) -> bool {
    enrolment.is_admitted() && enrolment.status.certificate_not_after.is_some()
}
