//! Random numbers from the kernel.

use rustix::rand::{GetRandomFlags, getrandom};

/// Fresh random bytes.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        // Interrupted is the only error of a blocking call with a sound buffer; it is tried again.
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty()).unwrap_or(0);
    }
    bytes
}

/// A fresh random number.
#[must_use]
pub fn number() -> u64 {
    u64::from_le_bytes(bytes())
}
