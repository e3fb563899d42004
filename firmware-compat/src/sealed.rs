//! How files of a Secret are sealed to one device, so that nobody between the hub and that device can read them, and
//! nothing of its disk can be read elsewhere.
//!
//! HPKE (RFC 9180) in base mode, with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20Poly1305, to the X25519 key that
//! the device showed when it enrolled. [`INFO`] binds it to this use and version of the protocol, [`about`] to one device
//! and one Secret: what is sealed for one is nothing for another. Who has sealed it is known from elsewhere: a sealed part
//! is named by its hash in an assignment that the hub has signed.
//!
//! This crate has no cryptography of its own.

use crate::{
    capacity::full::{NAME, NAMESPACE},
    topic::MAX_DEVICE_NAME,
};

/// HPKE's `info`.
pub const INFO: &[u8; 23] = b"lichen/1 sealed secret\n";

/// Longest of what [`about`] gives.
const ABOUT_BYTES: usize = 3 + MAX_DEVICE_NAME + NAMESPACE + NAME;

/// What is sealed, and for whom: HPKE's `aad`. The device's name, the namespace and the Secret's name, each after a byte
/// with its length. `None` if one of them is longer than any that there is.
#[must_use]
pub fn about(device: &str, namespace: &str, name: &str) -> Option<heapless::Vec<u8, ABOUT_BYTES>> {
    let mut about = heapless::Vec::new();
    for (word, longest) in [(device, MAX_DEVICE_NAME), (namespace, NAMESPACE), (name, NAME)] {
        let length = u8::try_from(word.len()).ok().filter(|_| word.len() <= longest)?;
        about.push(length).ok()?;
        about.extend_from_slice(word.as_bytes()).ok()?;
    }
    Some(about)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_secrets_of_two_devices_are_the_same() {
        let words = ["", "a", "b", "ab", "ba", "aab"];
        let mut seen = heapless::Vec::<_, 216>::new();
        for device in words {
            for namespace in words {
                for name in words {
                    let about = about(device, namespace, name).expect("short");
                    assert!(!seen.contains(&about), "{device} {namespace} {name}");
                    seen.push(about).expect("there is room");
                }
            }
        }
    }

    #[test]
    fn a_name_longer_than_any_is_refused() {
        let long = core::str::from_utf8(&[b'a'; 254]).expect("text");
        assert!(about(long, "default", "db").is_none());
        assert!(about("pi", long, "db").is_none());
        assert!(about("pi", "default", long).is_none());
        assert!(about(&long[..63], &long[..63], &long[..253]).is_some());
    }
}
