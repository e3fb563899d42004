//! By what devices know that the hub speaks: its signing keys. The keys themselves and Ed25519 are the shell's.

use core::fmt;

use firmware_compat::{keys::SigningKeys, signed::Signature};

/// The hub's signing keys.
pub trait Sign: fmt::Debug + Send + Sync {
    /// Those that devices are to know the hub by: one, or two while it changes its key.
    fn keys(&self) -> SigningKeys;

    /// Ed25519 (RFC 8032) by the oldest of them, which every device has.
    fn sign(&self, message: &[u8]) -> Signature;
}

/// A hub whose devices are of no interest.
#[cfg(test)]
pub(crate) mod tests {
    use alloc::sync::Arc;

    use firmware_compat::id::PublicKey;

    use super::*;

    #[derive(Debug)]
    struct Unheard;

    impl Sign for Unheard {
        fn keys(&self) -> SigningKeys {
            SigningKeys::one(PublicKey([1; 32]))
        }

        fn sign(&self, _: &[u8]) -> Signature {
            [0; 64]
        }
    }

    /// Signs without a key.
    pub fn unheard() -> Arc<dyn Sign> {
        Arc::new(Unheard)
    }
}
