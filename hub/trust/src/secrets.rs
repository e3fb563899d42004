//! The keys under which Secrets lie in the hub's store: 32 random bytes each, in base64, the newest first. They are not in
//! the store: who has only the store, or a copy of it, has no Secret.
//!
//! What is encrypted says by which key (AES-256-GCM, a random nonce for each record, the record's name bound to it), so that
//! older keys open what was encrypted by them until it is encrypted anew.

use std::{fmt, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use zeroize::Zeroizing;

use crate::{error::TrustError, files};

/// The hub's own, among its other keys.
pub const SECRETS_KEY: &str = "secrets.key";
/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Keys that one file may hold: the newest, and those before it.
const MAX_KEYS: usize = 16;
/// What is encrypted starts with this: it is no record of another kind, of this version or any before.
const FORMAT: u8 = 0xe1;
/// Bytes of a key's name, in front of what it has encrypted.
const ID_BYTES: usize = 8;
const HEADER_BYTES: usize = 1 + ID_BYTES + NONCE_LEN;

/// Why what is encrypted can't be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Written by nobody who has a key.
    #[error("it is not encrypted")]
    Plain,
    /// The key is not among those that were given.
    #[error("it was encrypted with the key {0}")]
    Key(KeyName),
    /// The key fits, the bytes do not.
    #[error("it has changed since it was encrypted, or is of another record")]
    Changed,
}

/// Tells keys apart; says nothing of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyName([u8; ID_BYTES]);

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Keys of Secrets, the newest first. At least one.
pub struct SecretsKeys {
    keys: Vec<Key>,
    from: String,
}

struct Key {
    name: KeyName,
    records: LessSafeKey,
    seals: Zeroizing<[u8; KEY_BYTES]>,
}

impl SecretsKeys {
    /// Reads keys from a text: base64 of 32 bytes each, with space or new lines between them. `from` says where the text is
    /// from.
    ///
    /// # Errors
    /// [`TrustError::SecretsKey`]; the text is in no message.
    pub fn parse(text: &str, from: impl Into<String>) -> Result<Self, TrustError> {
        let from = from.into();
        let refused = |cause| TrustError::SecretsKey { from: from.clone(), cause };
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.is_empty() {
            return Err(refused("it is empty"));
        }
        if words.len() > MAX_KEYS {
            return Err(refused("it holds more than 16 keys"));
        }
        let read = |word: &&str| {
            let bytes = Zeroizing::new(STANDARD.decode(word).unwrap_or_default());
            let bytes: &[u8; KEY_BYTES] = bytes.as_slice().try_into().ok()?;
            Some(Key::new(bytes))
        };
        let keys: Option<Vec<Key>> = words.iter().map(read).collect();
        let keys = keys.ok_or_else(|| refused("a key is not the base64 of 32 bytes"))?;
        Ok(Self { keys, from })
    }

    /// Reads the keys in a file.
    ///
    /// # Errors
    /// It can't be read, or holds something else.
    pub fn read(path: &Path) -> Result<Option<Self>, TrustError> {
        let Some(bytes) = files::read(path)?.map(Zeroizing::new) else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        Self::parse(text, path.display().to_string()).map(Some)
    }

    /// Makes a key and keeps it in a file that only its owner reads.
    ///
    /// # Errors
    /// The disk refuses, or the machine has no random numbers.
    pub fn create(path: &Path) -> Result<Self, TrustError> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| TrustError::Random)?;
        let text = Zeroizing::new(STANDARD.encode(*bytes) + "\n");
        if let Some(dir) = path.parent() {
            files::directory(dir)?;
        }
        files::replace(path, text.as_bytes())?;
        Self::parse(&text, path.display().to_string())
    }

    /// Where they are from, for people.
    #[must_use]
    pub fn from(&self) -> &str {
        &self.from
    }

    /// Their names, the newest first, for people.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<String> = self.keys.iter().map(|key| key.name.to_string()).collect();
        names.join(", ")
    }

    /// What only this hub knows, from which it derives how it seals: by the newest key.
    #[must_use]
    pub fn sealing_secret(&self) -> &[u8; KEY_BYTES] {
        &self.newest().seals
    }

    /// Encrypts a record by the newest key.
    ///
    /// # Errors
    /// The machine has no random numbers.
    pub fn encrypt(&self, record: &str, plain: &[u8]) -> Result<Vec<u8>, TrustError> {
        let key = self.newest();
        let mut header = [FORMAT; HEADER_BYTES];
        header[1..=ID_BYTES].copy_from_slice(&key.name.0);
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| TrustError::Random)?;
        header[1 + ID_BYTES..].copy_from_slice(&nonce);
        let mut sealed = Vec::with_capacity(HEADER_BYTES + plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&header);
        sealed.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let (_, content) = sealed.split_at_mut(HEADER_BYTES);
        let tag = key
            .records
            .seal_in_place_separate_tag(nonce, Aad::from(record.as_bytes()), content)
            .map_err(|_| TrustError::Random)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens a record. True if it was encrypted by an older key than the newest.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn decrypt(&self, record: &str, sealed: &[u8]) -> Result<(Vec<u8>, bool), OpenError> {
        let (header, content) =
            sealed.split_first_chunk::<HEADER_BYTES>().ok_or(OpenError::Plain)?;
        if header[0] != FORMAT {
            return Err(OpenError::Plain);
        }
        let name = header[1..=ID_BYTES].try_into().map(KeyName).map_err(|_| OpenError::Plain)?;
        let place = self.keys.iter().position(|key| key.name == name);
        let place = place.ok_or(OpenError::Key(name))?;
        let nonce = Nonce::try_assume_unique_for_key(&header[1 + ID_BYTES..])
            .map_err(|_| OpenError::Changed)?;
        let mut content = content.to_vec();
        let plain = self.keys[place]
            .records
            .open_in_place(nonce, Aad::from(record.as_bytes()), &mut content)
            .map_err(|_| OpenError::Changed)?
            .len();
        content.truncate(plain);
        Ok((content, place > 0))
    }

    fn newest(&self) -> &Key {
        self.keys.first().expect("there is at least one")
    }
}

impl fmt::Debug for SecretsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretsKeys({} from {})", self.names(), self.from)
    }
}

impl Key {
    /// What the key is used for has a key of its own, derived from it.
    fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let derived = |purpose: &str| {
            let mut derived = Zeroizing::new([0; KEY_BYTES]);
            derived.copy_from_slice(hmac::sign(&key, purpose.as_bytes()).as_ref());
            derived
        };
        let mut name = [0; ID_BYTES];
        name.copy_from_slice(&derived("lichen name of a key of secrets")[..ID_BYTES]);
        let records = UnboundKey::new(&AES_256_GCM, &*derived("lichen secrets at rest"));
        Self {
            name: KeyName(name),
            records: LessSafeKey::new(records.expect("a key of AES-256 has 32 bytes")),
            seals: derived("lichen secrets sealed to devices"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use proptest::prelude::*;

    use super::*;

    fn text(byte: u8) -> String {
        STANDARD.encode([byte; KEY_BYTES])
    }

    fn keys(bytes: &[u8]) -> SecretsKeys {
        let texts: Vec<String> = bytes.iter().map(|byte| text(*byte)).collect();
        SecretsKeys::parse(&texts.join("\n"), "a test").unwrap()
    }

    #[test]
    fn a_key_is_made_once_and_its_owner_alone_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trust").join(SECRETS_KEY);
        assert!(SecretsKeys::read(&path).unwrap().is_none());
        let made = SecretsKeys::create(&path).unwrap();
        let again = SecretsKeys::read(&path).unwrap().unwrap();
        assert_eq!(made.names(), again.names());
        assert_eq!(made.sealing_secret(), again.sealing_secret());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let sealed = made.encrypt("a", b"hunter2").unwrap();
        assert_eq!(again.decrypt("a", &sealed).unwrap(), (b"hunter2".to_vec(), false));
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_told() {
        let many = [text(1).as_str()].repeat(MAX_KEYS + 1).join(" ");
        for wrong in ["", " \n", "hunter2", &text(1)[1..], many.as_str()] {
            let said = SecretsKeys::parse(wrong, "the file x").unwrap_err().to_string();
            assert!(said.contains("the file x"), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        let keys = format!("{:?}", keys(&[1]));
        assert!(!keys.contains(&text(1)) && keys.contains("a test"), "{keys}");
    }

    #[test]
    fn an_older_key_opens_and_another_does_not() {
        let old = keys(&[1]);
        let sealed = old.encrypt("a", b"hunter2").unwrap();
        let both = keys(&[2, 1]);
        assert_eq!(both.decrypt("a", &sealed).unwrap(), (b"hunter2".to_vec(), true));
        let name = old.names();
        let error = keys(&[2]).decrypt("a", &sealed).unwrap_err();
        assert_eq!(error.to_string(), format!("it was encrypted with the key {name}"));
        assert_ne!(both.sealing_secret(), old.sealing_secret());
    }

    #[test]
    fn a_record_is_bound_to_its_name_and_never_encrypted_twice_alike() {
        let keys = keys(&[1]);
        let sealed = keys.encrypt("a", b"hunter2").unwrap();
        assert_ne!(sealed, keys.encrypt("a", b"hunter2").unwrap());
        assert_eq!(keys.decrypt("b", &sealed), Err(OpenError::Changed));
        assert_eq!(keys.decrypt("a", b"\x01{}"), Err(OpenError::Plain));
    }

    proptest! {
        #[test]
        fn what_was_changed_or_cut_does_not_open(plain: Vec<u8>, at: usize, bit in 0_u8..8) {
            let keys = keys(&[1]);
            let mut sealed = keys.encrypt("a", &plain).unwrap();
            prop_assert_eq!(keys.decrypt("a", &sealed), Ok((plain, false)));
            let at = at % sealed.len();
            prop_assert!(keys.decrypt("a", &sealed[..at]).is_err());
            sealed[at] ^= 1 << bit;
            prop_assert!(keys.decrypt("a", &sealed).is_err());
        }

        #[test]
        fn random_bytes_are_never_a_panic(bytes: Vec<u8>) {
            prop_assert!(keys(&[1]).decrypt("a", &bytes).is_err());
        }
    }
}
