//! Bytes that nobody is to see by accident: what a Secret holds. Printed, they are a length; dropped, they are wiped. In JSON
//! they are base64, as Kubernetes has it.

use alloc::{string::String, vec::Vec};
use core::{fmt, ops::Deref};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};
use zeroize::Zeroizing;

/// Base64 as Go reads it, which wrote most of what there is: the unused bits of the last digit may be anything.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Bytes that nobody is to see by accident.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hidden(Zeroizing<Vec<u8>>);

impl Hidden {
    /// Reads base64, wherever its lines end. `None` if it is not base64.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let line = Zeroizing::new(text.bytes().filter(|b| !is_line_end(b)).collect::<Vec<u8>>());
        LENIENT.decode(&*line).ok().map(Self::from)
    }
}

impl From<Vec<u8>> for Hidden {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl Deref for Hidden {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hidden bytes", self.0.len())
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: Zeroizing<String> = Zeroizing::new(STANDARD.encode(&*self.0));
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64;
        impl Visitor<'_> for Base64 {
            type Value = Hidden;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Hidden, E> {
                // The text is not told: it may be what was to be hidden.
                Hidden::from_base64(text).ok_or_else(|| E::custom("is not base64"))
            }
        }
        deserializer.deserialize_str(Base64)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString, vec::Vec};

    use super::*;

    #[test]
    fn bytes_are_base64_in_json_and_a_length_in_words() {
        let hidden = Hidden::from(Vec::from(*b"hunter2"));
        let json = serde_json::to_string(&hidden).expect("JSON");
        assert_eq!(json, "\"aHVudGVyMg==\"");
        assert_eq!(serde_json::from_str::<Hidden>(&json).expect("base64"), hidden);
        assert_eq!(format!("{hidden:?}"), "7 hidden bytes");
        let error = serde_json::from_str::<Hidden>("\"hunter2!\"").expect_err("no base64");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn base64_is_taken_as_go_takes_it() {
        let read = |text: &str| Hidden::from_base64(text).map(|hidden| hidden.to_vec());
        for text in ["aHVudGVyMg==", "aHVu\ndGVy\r\nMg==\n", "aHVudGVyMh=="] {
            assert_eq!(read(text).as_deref(), Some(&b"hunter2"[..]), "{text:?}");
        }
        assert_eq!(read("").as_deref(), Some(&b""[..]));
        for text in ["aHVudGVyMg", "aHVudGVyMg=", "aHVud GVyMg==", "aHVudGVyM!=="] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
