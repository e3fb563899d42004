//! The hub's signing key: an Ed25519 key by which devices know what this hub says. It is made at the hub's first start and
//! lies in the state directory, where its owner alone reads it.
//!
//! What is signed, and when, is decided in `lichen-hub-core`; the bytes are those of `firmware_compat::signed`.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use firmware_compat::{id::PublicKey, keys::SigningKeys, signed::Signature};
use lichen_hub_core::signing::Sign;
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};

/// The directory of keys in the state directory, and the key's file in it, in PKCS#8.
const DIRECTORY: &str = "trust";
const FILE: &str = "signing.key";
/// Far more than such a key takes.
const MAX_BYTES: u64 = 1024;

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The system refuses.
    #[error("could not {action} the hub's signing key {}", path.display())]
    Refused {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "the hub's signing key {} is damaged ({cause}): restore it from a backup; without the file the hub makes a new \
         key, which no device knows before its agent is restarted once with --adopt-hub",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
}

/// The hub's key.
pub(crate) struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// Reads the key of a state directory, or makes it.
    pub(crate) fn open(state: &Path) -> Result<Self, SigningKeyError> {
        let directory = state.join(DIRECTORY);
        let path = directory.join(FILE);
        let refused = |action| {
            let path = path.clone();
            move |source| SigningKeyError::Refused { action, path, source }
        };
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
                    .map_err(|_| io::Error::other("the system has no random numbers"))
                    .map_err(refused("make"))?;
                keep(&directory, &path, made.as_ref()).map_err(refused("write"))?;
                tracing::info!(path = %path.display(), "made the hub's signing key");
                made.as_ref().to_vec()
            }
            Err(error) => return Err(refused("read")(error)),
        };
        let pair = Ed25519KeyPair::from_pkcs8(&bytes)
            .map_err(|why| SigningKeyError::Damaged { path, cause: why.to_string() })?;
        let public = pair.public_key().as_ref().try_into();
        Ok(Self { pair, public: PublicKey(public.expect("an Ed25519 public key has 32 bytes")) })
    }
}

impl Sign for SigningKey {
    fn keys(&self) -> SigningKeys {
        SigningKeys::one(self.public)
    }

    fn sign(&self, message: &[u8]) -> Signature {
        self.pair.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whole and durable, or not at all: devices believe a key from the moment on that it is used.
fn keep(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let temporary = path.with_extension("new");
    let mut options = File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(directory)?.sync_all()?;
    let state = directory.parent().unwrap_or(directory);
    File::open(state)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn the_key_is_made_once_and_its_owner_alone_reads_it() {
        let state = tempfile::tempdir().expect("a directory");
        let key = SigningKey::open(state.path()).expect("it is made");
        let signature = key.sign(b"what the hub says");
        let again = SigningKey::open(state.path()).expect("it is there");
        assert_eq!(again.keys(), key.keys());
        let public = UnparsedPublicKey::new(&ED25519, again.keys().oldest().0);
        assert!(public.verify(b"what the hub says", &signature).is_ok());
        assert!(public.verify(b"what nobody says", &signature).is_err());
        let mode =
            |path: PathBuf| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode(state.path().join(DIRECTORY)), 0o700);
        assert_eq!(mode(state.path().join(DIRECTORY).join(FILE)), 0o600);
        assert!(!format!("{key:?}").contains("pair"), "the private key is in no log");
    }

    #[test]
    fn a_damaged_key_is_never_replaced_in_silence() {
        let state = tempfile::tempdir().expect("a directory");
        let key = SigningKey::open(state.path()).expect("it is made").keys();
        let path = state.path().join(DIRECTORY).join(FILE);
        let bytes = fs::read(&path).expect("it is there");
        for damage in [&b""[..], b"rubbish", &bytes[..bytes.len() - 1]] {
            fs::write(&path, damage).expect("writable");
            let error = SigningKey::open(state.path()).expect_err("damaged").to_string();
            assert!(error.contains("signing.key") && error.contains("backup"), "{error}");
        }
        fs::write(&path, bytes).expect("writable");
        assert_eq!(SigningKey::open(state.path()).expect("as before").keys(), key);
    }
}
