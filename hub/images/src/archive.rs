//! Image archives: a tar file read in place. One pass over the headers says where each file lies; nothing is unpacked, so
//! there is nothing to escape from, and nothing is allocated by a length that a header declares.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::Digest;
use crate::blobs::{Blob, Blobs};
use crate::layout::Layout;

/// Most entries of an archive: several per layer of the largest image, with room.
pub const MAX_ENTRIES: usize = 65_536;
/// Largest extension header (a long name, PAX records): paths of an image archive have under 100 characters.
const MAX_EXTENSION_BYTES: u64 = 64 << 10;
/// Longest path that is kept; longer ones can't be part of an image archive.
const MAX_PATH_BYTES: usize = 1024;
const BLOCK: u64 = 512;

/// Why a tar file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It could not be read.
    #[error("could not read the archive")]
    Io(#[from] io::Error),
    /// A header is damaged.
    #[error("the archive is damaged at byte {0}; save it again")]
    Damaged(u64),
    /// It ends inside an entry.
    #[error("the archive is cut off: {0:?} goes beyond its end; save it again")]
    CutOff(String),
    /// Too many entries.
    #[error("the archive has more than {MAX_ENTRIES} entries")]
    TooMany,
    /// An extension header that is too large.
    #[error("the archive has a name of {0} bytes, more than any image archive")]
    LongName(u64),
    /// A document in the archive that is too large.
    #[error("{path} in the archive has {len} bytes; at most {limit} are accepted")]
    TooLarge {
        /// Its path.
        path: String,
        /// Its size in bytes.
        len: u64,
        /// The bound in bytes.
        limit: u64,
    },
    /// A file that the archive must have.
    #[error("the archive has no {0}")]
    Missing(String),
}

/// Where a file's bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    offset: u64,
    len: u64,
}

/// An indexed tar file.
#[derive(Debug)]
pub struct Archive {
    file: Arc<File>,
    files: BTreeMap<String, Place>,
    links: BTreeMap<String, String>,
    complete: bool,
}

impl Archive {
    /// Reads every header. The last entry of a path counts, as with `tar -x`.
    ///
    /// # Errors
    /// The archive is damaged, cut off or too large.
    pub fn open(file: File) -> Result<Self, ArchiveError> {
        let len = file.metadata()?.len();
        let (files, links) = (BTreeMap::new(), BTreeMap::new());
        let mut archive = Self { file: Arc::new(file), files, links, complete: false };
        archive.index(len)?;
        Ok(archive)
    }

    /// Whether there is a file of that path.
    pub fn contains(&self, path: &str) -> bool {
        self.place(path).is_some()
    }

    /// Whether the end is marked. Readers of tar files don't insist on the mark, but if a file is missed, this says why.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// A reader of a file's bytes, and their number.
    pub fn reader(&self, path: &str) -> Option<Blob> {
        let Place { offset, len } = self.place(path)?;
        let reader = Section { file: Arc::clone(&self.file), at: offset, left: len };
        Some(Blob { len, reader: Box::new(reader) })
    }

    /// Reads a small file whole.
    ///
    /// # Errors
    /// There is none, or it has more than `limit` bytes.
    pub fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, ArchiveError> {
        let blob = self.reader(path).ok_or_else(|| ArchiveError::Missing(path.to_owned()))?;
        if blob.len > limit {
            return Err(ArchiveError::TooLarge { path: path.to_owned(), len: blob.len, limit });
        }
        let mut bytes = Vec::new();
        blob.reader.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Follows at most one link: old `docker save` stores a layer once and links to it.
    fn place(&self, path: &str) -> Option<Place> {
        let direct = || self.files.get(path);
        let linked = || self.files.get(self.links.get(path)?);
        direct().or_else(linked).copied()
    }

    fn index(&mut self, len: u64) -> Result<(), ArchiveError> {
        let mut at = 0;
        let mut entries = 0;
        let mut extension = Extension::default();
        while let Some(header) = self.header(at, len)? {
            entries += 1;
            if entries > MAX_ENTRIES {
                return Err(ArchiveError::TooMany);
            }
            let kind = header.entry_type();
            let describes_next = kind.is_gnu_longname()
                || kind.is_gnu_longlink()
                || kind.is_pax_local_extensions()
                || kind.is_pax_global_extensions();
            let own = header.entry_size().map_err(|_| ArchiveError::Damaged(at))?;
            let size = extension.size.filter(|_| !describes_next).unwrap_or(own);
            let offset = at + BLOCK;
            let padded = size.checked_next_multiple_of(BLOCK);
            let next = padded.and_then(|padded| offset.checked_add(padded));
            let path = || extension.path.clone().or_else(|| clean(&header.path_bytes()));
            let (Some(next), true) = (next, size <= len.saturating_sub(offset)) else {
                return Err(ArchiveError::CutOff(path().unwrap_or_default()));
            };
            if describes_next {
                self.extend(&mut extension, kind, Place { offset, len: size })?;
            } else {
                if let Some(path) = path() {
                    self.add(path, &header, &extension, Place { offset, len: size });
                }
                extension = Extension::default();
            }
            at = next;
        }
        self.complete = at < len;
        Ok(())
    }

    fn add(&mut self, path: String, header: &tar::Header, extension: &Extension, place: Place) {
        let kind = header.entry_type();
        if kind.is_file() || kind.is_contiguous() {
            self.links.remove(&path);
            self.files.insert(path, place);
        } else if kind.is_symlink() || kind.is_hard_link() {
            let target = extension.link.clone().or_else(|| {
                header.link_name_bytes().and_then(|name| String::from_utf8(name.into_owned()).ok())
            });
            let base = if kind.is_symlink() {
                path.rsplit_once('/').map_or("", |(dir, _)| dir)
            } else {
                ""
            };
            if let Some(target) = target.and_then(|target| join(base, &target)) {
                self.files.remove(&path);
                self.links.insert(path, target);
            }
        }
    }

    /// The header at an offset; `None` at the end of the archive.
    fn header(&self, at: u64, len: u64) -> Result<Option<tar::Header>, ArchiveError> {
        if at >= len {
            return Ok(None);
        }
        if len - at < BLOCK {
            return Err(ArchiveError::Damaged(at));
        }
        let mut header = tar::Header::new_old();
        self.file.read_exact_at(header.as_mut_bytes(), at)?;
        if header.as_bytes().iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        match is_header(header.as_bytes()) {
            true => Ok(Some(header)),
            false => Err(ArchiveError::Damaged(at)),
        }
    }

    /// Takes up what an extension header says about the entry after it.
    fn extend(
        &self,
        extension: &mut Extension,
        kind: tar::EntryType,
        place: Place,
    ) -> Result<(), ArchiveError> {
        if place.len > MAX_EXTENSION_BYTES {
            return Err(ArchiveError::LongName(place.len));
        }
        let mut bytes = vec![0; usize::try_from(place.len).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, place.offset)?;
        if kind.is_gnu_longname() {
            extension.path = clean(&bytes);
        } else if kind.is_gnu_longlink() {
            extension.link = text(&bytes);
        } else if kind.is_pax_local_extensions() {
            for record in tar::PaxExtensions::new(&bytes) {
                let record = record.map_err(|_| ArchiveError::Damaged(place.offset))?;
                match record.key_bytes() {
                    b"path" => extension.path = clean(record.value_bytes()),
                    b"linkpath" => extension.link = text(record.value_bytes()),
                    b"size" => {
                        let size = record.value().ok().and_then(|value| value.parse().ok());
                        extension.size = Some(size.ok_or(ArchiveError::Damaged(place.offset))?);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

impl Blobs for Archive {
    fn open(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        Ok(self.reader(&format!("blobs/sha256/{}", digest.hex())))
    }
}

impl Layout for Archive {
    fn file(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        match self.read(name, limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ArchiveError::Missing(_)) => Ok(None),
            Err(ArchiveError::Io(error)) => Err(error),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }

    fn into_blobs(self: Box<Self>) -> Box<dyn Blobs> {
        self
    }
}

/// What extension headers said about the next entry.
#[derive(Default)]
struct Extension {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

/// Whether 512 bytes are a tar header: its checksum is right.
pub(crate) fn is_header(block: &[u8]) -> bool {
    let Ok(block) = <&[u8; 512]>::try_from(block) else { return false };
    let stored = tar::Header::from_byte_slice(block).cksum().ok();
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>();
    let computed = sum(&block[..148]) + 8 * u32::from(b' ') + sum(&block[156..]);
    stored == Some(computed)
}

fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8(bytes[..end].to_vec()).ok()
}

/// A path in its plain form, without `./` in front; `None` for one that no image archive has.
fn clean(bytes: &[u8]) -> Option<String> {
    if bytes.len() > MAX_PATH_BYTES {
        return None;
    }
    join("", &text(bytes)?)
}

/// Resolves a relative path by text alone; `None` if it is absolute, empty or leaves the archive.
fn join(base: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// A part of a file. Several can be read at once, because none moves the file's own position.
struct Section {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.file.read_at(&mut buffer[..room], self.at)?;
        self.at += got as u64;
        self.left -= got as u64;
        Ok(got)
    }
}

#[cfg(test)]
mod tests;
