//! Seals what is secret to devices, as the engine asks. How the same content always makes the same bytes, and why that is
//! safe, is said in [`lichen_sealing`].

use std::sync::Arc;

use firmware_compat::v1::owned::Sealed;
use lichen_hub_core::sealing::Seal;
use lichen_sealing::Sealer;
use lichen_trust::SecretsKeys;

#[derive(Debug)]
struct Seals(Sealer);

/// Seals by a secret that only the hub's newest key of Secrets gives.
pub(super) fn seals(keys: &SecretsKeys) -> Arc<dyn Seal> {
    Arc::new(Seals(Sealer::new(keys.sealing_secret())))
}

impl Seal for Seals {
    fn seal(&self, to: &[u8; 32], about: &[u8], plain: &[u8]) -> Option<Sealed> {
        self.0.seal(to, about, plain).ok()
    }
}
