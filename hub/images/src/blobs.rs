//! Reading blobs by digest, wherever they are kept, and never trusting what is read before its digest is checked.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::digest::Digester;
use crate::{Descriptor, Digest};

/// A place that holds blobs: the hub's store, a layout, an archive, memory.
pub trait Blobs: Send + Sync {
    /// Opens a blob; `None` if it isn't here. The content is not verified: see [`Checked`] and [`read_small`].
    ///
    /// # Errors
    /// The place could not be read.
    fn open(&self, digest: &Digest) -> io::Result<Option<Blob>>;
}

/// An opened blob.
pub struct Blob {
    /// How many bytes `reader` gives.
    pub len: u64,
    /// The bytes.
    pub reader: Box<dyn Read + Send>,
}

/// Why a blob can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It is not here.
    #[error("blob {0} is missing")]
    Missing(Digest),
    /// It is larger than what is accepted for its kind.
    #[error("blob {digest} has {len} bytes; at most {limit} are accepted for its kind")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        len: u64,
        /// The bound in bytes.
        limit: u64,
    },
    /// Its length is not the one in the manifest.
    #[error("blob {digest} has {len} bytes, but its descriptor says {expected}")]
    Length {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        len: u64,
        /// The size that was declared.
        expected: u64,
    },
    /// Its content is not what its name says.
    #[error("blob {expected} is corrupt: its content has the digest {found}")]
    Corrupt {
        /// The name.
        expected: Digest,
        /// The content.
        found: Digest,
    },
    /// It could not be read.
    #[error("could not read blob {digest}")]
    Io {
        /// The blob.
        digest: Digest,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Reads a whole blob of at most `limit` bytes, verified.
///
/// # Errors
/// Missing, too large, corrupt or unreadable.
pub fn read_small(blobs: &dyn Blobs, digest: &Digest, limit: u64) -> Result<Vec<u8>, BlobError> {
    let io = |source| BlobError::Io { digest: *digest, source };
    let blob = blobs.open(digest).map_err(io)?.ok_or(BlobError::Missing(*digest))?;
    if blob.len > limit {
        return Err(BlobError::TooLarge { digest: *digest, len: blob.len, limit });
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a reader that gives more than its length.
    blob.reader.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    match Digest::of(&bytes) {
        found if found == *digest => Ok(bytes),
        found => Err(BlobError::Corrupt { expected: *digest, found }),
    }
}

/// Opens the blob that a descriptor names, checking its length now and its digest while it is read.
///
/// # Errors
/// Missing, of another length, or unreadable.
pub fn open_checked(blobs: &dyn Blobs, wanted: &Descriptor) -> Result<Checked, BlobError> {
    let digest = wanted.digest;
    let opened = blobs.open(&digest).map_err(|source| BlobError::Io { digest, source })?;
    let blob = opened.ok_or(BlobError::Missing(digest))?;
    if blob.len != wanted.size {
        return Err(BlobError::Length { digest, len: blob.len, expected: wanted.size });
    }
    Ok(Checked {
        reader: blob.reader,
        expected: digest,
        left: blob.len,
        hash: Some(Digester::default()),
    })
}

/// A reader that gives exactly the declared bytes. A wrong digest is an error instead of the last bytes, so that
/// nobody ever gets a whole blob that is not the one named.
pub struct Checked {
    reader: Box<dyn Read + Send>,
    expected: Digest,
    left: u64,
    /// Gone once the digest was compared.
    hash: Option<Digester>,
}

impl Checked {
    /// How many bytes are still to come.
    pub fn remaining(&self) -> u64 {
        self.left
    }

    fn compare(&mut self) -> io::Result<()> {
        let Some(hash) = self.hash.take() else { return Ok(()) };
        match hash.finish() {
            found if found == self.expected => Ok(()),
            found => {
                let error = BlobError::Corrupt { expected: self.expected, found };
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return self.compare().map(|()| 0);
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.reader.read(&mut buffer[..room])?;
        if got == 0 && room > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..got]);
        }
        self.left -= got as u64;
        if self.left == 0 {
            self.compare()?;
        }
        Ok(got)
    }
}

/// Blobs in memory: documents that were generated while reading a source.
#[derive(Debug, Default, Clone)]
pub struct Memory(BTreeMap<Digest, Vec<u8>>);

impl Memory {
    /// Adds a blob and describes it.
    pub fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let descriptor = Descriptor::of(media_type, &bytes);
        self.0.insert(descriptor.digest, bytes);
        descriptor
    }
}

impl Blobs for Memory {
    fn open(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        Ok(self.0.get(digest).map(|bytes| Blob {
            len: bytes.len() as u64,
            reader: Box::new(io::Cursor::new(bytes.clone())),
        }))
    }
}

/// Generated blobs in front of those of a source.
pub(crate) struct Layered {
    pub(crate) front: Memory,
    pub(crate) back: Box<dyn Blobs>,
}

impl Blobs for Layered {
    fn open(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        match self.front.open(digest)? {
            Some(blob) => Ok(Some(blob)),
            None => self.back.open(digest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(&'static [u8]);
    impl Blobs for Fixed {
        fn open(&self, _: &Digest) -> io::Result<Option<Blob>> {
            Ok(Some(Blob { len: self.0.len() as u64, reader: Box::new(self.0) }))
        }
    }

    #[test]
    fn a_corrupt_blob_is_never_given_whole() {
        let wanted = Descriptor::of("a/b", b"right");
        let mut reader = open_checked(&Fixed(b"wrong"), &wanted).expect("open");
        let mut buffer = Vec::new();
        let error = reader.read_to_end(&mut buffer).expect_err("corrupt");
        assert!(buffer.len() < 5 && error.to_string().contains("is corrupt"), "{error}");
        let mut good = Vec::new();
        let mut reader = open_checked(&Fixed(b"right"), &wanted).expect("open");
        reader.read_to_end(&mut good).expect("read");
        assert_eq!(good, b"right");
    }

    #[test]
    fn an_empty_blob_under_a_wrong_name_is_corrupt() {
        let wanted = Descriptor::new("a/b", Digest::of(b"x"), 0);
        let mut reader = open_checked(&Fixed(b""), &wanted).expect("open");
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
    }

    #[test]
    fn length_and_bound_are_checked_before_reading() {
        let wanted = Descriptor::of("a/b", b"longer");
        assert!(matches!(
            open_checked(&Fixed(b"short"), &wanted),
            Err(BlobError::Length { len: 5, expected: 6, .. })
        ));
        let digest = Digest::of(b"short");
        assert!(matches!(
            read_small(&Fixed(b"short"), &digest, 4),
            Err(BlobError::TooLarge { len: 5, limit: 4, .. })
        ));
        assert!(matches!(
            read_small(&Memory::default(), &digest, 4),
            Err(BlobError::Missing(missing)) if missing == digest
        ));
    }
}
