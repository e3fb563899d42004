//! How what is secret is sealed to a device. The keys and the cryptography are the shell's.

use core::fmt;

use firmware_compat::v1::owned::Sealed;

/// Seals to devices.
pub trait Seal: fmt::Debug + Send + Sync {
    /// Seals content to a device's X25519 key. `about` is what [`firmware_compat::sealed::about`] says of it. The same input
    /// always gives the same bytes: parts are named by them. `None` if nothing can be sealed to this key.
    fn seal(&self, to: &[u8; 32], about: &[u8], plain: &[u8]) -> Option<Sealed>;
}

/// For a hub that has no devices with keys.
#[derive(Clone, Copy, Debug)]
pub struct NoSeal;

impl Seal for NoSeal {
    fn seal(&self, _: &[u8; 32], _: &[u8], _: &[u8]) -> Option<Sealed> {
        None
    }
}
