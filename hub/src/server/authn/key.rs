//! The key that tokens are signed with: Ed25519, in a file that only its owner reads. Without the file there is a new
//! key, and no older token is good any more.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};

/// Where all of the hub's keys are, below its state directory.
const DIRECTORY: &str = "trust";
/// The seed of the key, as hexadecimal digits.
const FILE: &str = "tokens.key";
const SEED_BYTES: usize = 32;
/// More than the file has.
const MAX_FILE_BYTES: u64 = 256;
/// Bytes of the key's hash that name it.
const ID_BYTES: usize = 8;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system refuses.
    #[error("could not {what} {}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is not what a hub writes.
    #[error(
        "the key of tokens in {} is damaged: put it back from a backup, or delete it for a new one; with a new one every \
         token of a ServiceAccount has to be made again",
        .0.display()
    )]
    Damaged(PathBuf),
    /// The system has no random numbers.
    #[error("the system gives no random numbers for a new key of tokens")]
    Random,
}

/// Signs tokens, and knows its own signatures.
pub(super) struct SigningKey {
    pair: Ed25519KeyPair,
    id: String,
}

impl SigningKey {
    /// The key in a state directory. It is made if it is not there.
    pub(super) fn open(state: &Path) -> Result<Self, KeyError> {
        let dir = state.join(DIRECTORY);
        let path = dir.join(FILE);
        if let Some(text) = read(&path)? {
            let seed = parse(&text).ok_or_else(|| KeyError::Damaged(path.clone()))?;
            return Self::from_seed(&seed).ok_or(KeyError::Damaged(path));
        }
        let mut seed = [0; SEED_BYTES];
        SystemRandom::new().fill(&mut seed).map_err(|_| KeyError::Random)?;
        close(&dir).map_err(failed("close to others the directory", &dir))?;
        write(&dir, &path, &hex(&seed)).map_err(failed("write", &path))?;
        Self::from_seed(&seed).ok_or(KeyError::Random)
    }

    /// A key that has signed nothing.
    pub(super) fn of_nobody() -> Self {
        Self::from_seed(&[0; SEED_BYTES]).expect("any seed makes a key")
    }

    fn from_seed(seed: &[u8; SEED_BYTES]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let hash = digest::digest(&digest::SHA256, pair.public_key().as_ref());
        let id = hex(hash.as_ref().get(..ID_BYTES)?);
        Some(Self { pair, id })
    }

    /// Tells it from other keys.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(bytes).as_ref().to_vec()
    }

    pub(super) fn has_signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let public = UnparsedPublicKey::new(&ED25519, self.pair.public_key().as_ref());
        public.verify(bytes, signature).is_ok()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    move |source| KeyError::File { what, path: path.to_owned(), source }
}

fn read(path: &Path) -> Result<Option<String>, KeyError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(failed("read", path))?;
    String::from_utf8(bytes).map(Some).map_err(|_| KeyError::Damaged(path.to_owned()))
}

/// Makes a directory that only its owner enters. One that is there is closed to others.
fn close(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    fs::set_permissions(dir, Permissions::from_mode(0o700))
}

/// Writes a file that only its owner reads: after a power cut it is there whole, or not at all.
fn write(dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    // What a hub left behind that was stopped here.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(dir)?.sync_all()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse(text: &str) -> Option<[u8; SEED_BYTES]> {
    let digits = text.trim_end();
    if digits.len() != 2 * SEED_BYTES || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut seed = [0; SEED_BYTES];
    for (byte, at) in seed.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    Some(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_reads_the_key_and_it_stays_the_same() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let trust = dir.path().join(DIRECTORY);
        fs::create_dir(&trust).expect("made");
        fs::set_permissions(&trust, Permissions::from_mode(0o755)).expect("opened to others");
        fs::write(trust.join("tokens.new"), "half of one").expect("written");
        let first = SigningKey::open(dir.path()).expect("a new key");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&trust), mode(&trust.join(FILE))), (0o700, 0o600));
        let again = SigningKey::open(dir.path()).expect("the same key");
        assert!(again.has_signed(b"x", &first.sign(b"x")) && first.id() == again.id());
        assert!(
            !format!("{first:?}")
                .contains(fs::read_to_string(trust.join(FILE)).expect("there").trim())
        );
        let elsewhere = tempfile::tempdir().expect("temporary directory");
        let other = SigningKey::open(elsewhere.path()).expect("another key");
        assert!(!other.has_signed(b"x", &first.sign(b"x")) && first.id() != other.id());
    }

    #[test]
    fn a_damaged_key_is_no_reason_for_a_new_one() {
        let dir = tempfile::tempdir().expect("temporary directory");
        SigningKey::open(dir.path()).expect("a new key");
        let path = dir.path().join(DIRECTORY).join(FILE);
        for text in ["", "00", &"0".repeat(63), &"g".repeat(64), &"0".repeat(66), &"é".repeat(32)]
        {
            fs::write(&path, text).expect("written");
            let said = SigningKey::open(dir.path()).expect_err(text).to_string();
            assert!(said.contains("is damaged: put it back"), "{said}");
        }
    }
}
