//! Which certificates devices hold, by their serial numbers, and which of them are worth nothing any more: those of devices
//! that were revoked or forgotten. The hub's own port asks about the device itself; an operator's broker is told the numbers.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt::Write;

use firmware_compat::time::UnixMs;

use super::Enrolment;
use crate::{
    api::{
        ApiError,
        lichen::enrolment::Certificate,
        time::{rfc3339, unix_ms},
    },
    engine::Engine,
    record,
};

/// Certificates that one device may have at a time. The hub gives one key about 64 in the time that one lasts, however often
/// it asks; only who makes new keys again and again gets here.
const MOST_CERTIFICATES: usize = 128;
/// Certificates of forgotten devices that are remembered.
const MOST_WITHDRAWN: usize = 100_000;
/// How long after its end a certificate is still told of: a broker's clock may be behind.
const TOLD_AFTER_END_MS: UnixMs = 30 * 24 * 3600 * 1000;
/// Bytes of a serial number (RFC 5280 4.1.2.2).
const MAX_SERIAL: usize = 20;

/// Adds a certificate to those of a device, without those that ended long ago.
pub(super) fn note(
    enrolment: &mut Enrolment,
    serial: &[u8],
    not_after_ms: UnixMs,
    now_ms: UnixMs,
) -> Result<(), ApiError> {
    let name = enrolment.metadata.name.clone();
    let certificates = &mut enrolment.status.certificates;
    certificates.retain(|certificate| counts(end_of(certificate), now_ms));
    let serial_number = hex(serial);
    if certificates.iter().any(|certificate| certificate.serial_number == serial_number) {
        return Ok(());
    }
    if certificates.len() >= MOST_CERTIFICATES {
        // Where certificates last for hours only, those that have ended make room.
        certificates.retain(|certificate| end_of(certificate) >= now_ms);
    }
    if certificates.len() >= MOST_CERTIFICATES {
        return Err(ApiError::Full(format!(
            "{name} has {MOST_CERTIFICATES} certificates that have not ended, for ever new keys, and gets no more until one \
             has; if something is wrong with it: lichen device revoke {name}"
        )));
    }
    certificates.push(Certificate { serial_number, not_after: rfc3339(not_after_ms) });
    Ok(())
}

impl Engine {
    /// The device of these certificates was forgotten: they are good for nothing.
    pub(crate) fn withdraw(&mut self, certificates: &[Certificate]) {
        for certificate in certificates {
            let (serial, end_ms) = (certificate.serial_number.clone(), end_of(certificate));
            let key = record::withdrawn_key(&serial);
            self.records.insert(key, Some(record::encode(&end_ms)));
            self.state.withdrawn.insert(serial, end_ms);
        }
        self.forget_withdrawn();
    }

    /// Drops what ended long ago, and beyond the bound what ends first.
    fn forget_withdrawn(&mut self) {
        let now_ms = self.unix_ms;
        let mut all: Vec<(UnixMs, String)> =
            self.state.withdrawn.iter().map(|(serial, end_ms)| (*end_ms, serial.clone())).collect();
        all.sort();
        let excess = all.len().saturating_sub(MOST_WITHDRAWN);
        for (number, (end_ms, serial)) in all.into_iter().enumerate() {
            if number < excess || !counts(end_ms, now_ms) {
                self.state.withdrawn.remove(&serial);
                self.records.insert(record::withdrawn_key(&serial), None);
            }
        }
    }

    /// Serial numbers of certificates that no broker shall accept, each once, in order.
    pub(crate) fn list_revoked(&mut self) -> Vec<Vec<u8>> {
        self.forget_withdrawn();
        let revoked = self.enrolments().filter(|enrolment| enrolment.spec.revoked);
        let of_revoked = revoked
            .flat_map(|enrolment| &enrolment.status.certificates)
            .filter(|certificate| counts(end_of(certificate), self.unix_ms))
            .map(|certificate| certificate.serial_number.to_string());
        let mut serials: Vec<String> =
            of_revoked.chain(self.state.withdrawn.keys().cloned()).collect();
        serials.sort();
        serials.dedup();
        serials.iter().filter_map(|serial| bytes_of(serial)).collect()
    }
}

/// When a certificate ends. One that does not say never does.
fn end_of(certificate: &Certificate) -> UnixMs {
    unix_ms(&certificate.not_after).unwrap_or(UnixMs::MAX)
}

fn counts(end_ms: UnixMs, now_ms: UnixMs) -> bool {
    end_ms.saturating_add(TOLD_AFTER_END_MS) >= now_ms
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        // A string takes all.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A serial number from hex.
pub(crate) fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let is_hex = hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !is_hex || hex.is_empty() || !hex.len().is_multiple_of(2) || hex.len() > 2 * MAX_SERIAL {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}
