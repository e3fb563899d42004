//! Identifiers that hub and devices compare: fixed-size, ordered, shown as lower-case hex. On the wire they are their
//! bytes; in formats for people, such as JSON, they are the hex.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Reads the lower-case hex form that `Display` writes. `None` for anything else.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let mut bytes = [0; $len];
                parse_hex(text, &mut bytes)?;
                Some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(write_hex(&self.0, &mut [0; 2 * $len]))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.serialize_str(write_hex(&self.0, &mut [0; 2 * $len]))
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Hex;
                impl de::Visitor<'_> for Hex {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "{} lower-case hex digits", 2 * $len)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        let unusable = || E::invalid_value(de::Unexpected::Str(text), &self);
                        $name::parse(text).ok_or_else(unusable)
                    }
                }
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(Hex)
                } else {
                    <[u8; $len]>::deserialize(deserializer).map(Self)
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

hex_id!(
    /// Random id of a hub's store. Tells a restored or foreign hub from the one that wrote a generation.
    Lineage, 16
);
hex_id!(
    /// Random id that an agent makes for its state directory. Tells two boards with one name apart.
    AgentId, 16
);
hex_id!(
    /// The kernel's boot id: changes with every boot of the device.
    BootId, 16
);
hex_id!(
    /// The id of one Pod; the API shows it as the Pod's `metadata.uid`.
    PodId, 16
);
hex_id!(
    /// The uid of a PersistentVolumeClaim: names its directory on a device.
    ClaimId, 16
);
hex_id!(
    /// A SHA-256: of an assignment's body, of a Pod's spec, of an artefact's bytes.
    Hash, 32
);

hex_id!(
    /// An Ed25519 public key (RFC 8032), by which devices know what their hub says.
    PublicKey, 32
);

hex_id!(
    /// The first bytes of a public key: they tell the few keys of one hub apart.
    KeyId, 4
);

impl PublicKey {
    /// What tells it from the other keys of its hub.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let [first, second, third, fourth, ..] = self.0;
        KeyId([first, second, third, fourth])
    }
}

/// Number of a device's assignment. Only ever rises; an agent refuses an older one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Writes bytes into a buffer of twice their length.
fn write_hex<'b>(bytes: &[u8], buffer: &'b mut [u8]) -> &'b str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in buffer.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    core::str::from_utf8(buffer).unwrap_or_default()
}

fn parse_hex(text: &str, out: &mut [u8]) -> Option<()> {
    let digits = text.as_bytes();
    if digits.len() != out.len() * 2 {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(())
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
