//! A layer from a directory or a single file: a tar stream that depends only on names, content and permission bits.
//!
//! Entries are sorted, owned by root, and dated 1970; so packing twice, or on two machines, gives the same digest.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use crate::Digest;
use crate::digest::Digester;

/// Most files and directories of one packed directory.
pub const MAX_ENTRIES: usize = 500_000;
/// Deepest nesting of a packed directory.
const MAX_DEPTH: usize = 128;

/// Why a directory can't be made into a layer.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The file system refused.
    #[error("could not {verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// With which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A device, a socket or a pipe.
    #[error("{} is {kind}, which a layer can't hold; remove it", path.display())]
    Special {
        /// Which file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A name that means a deletion in a layer.
    #[error("{} has a name that means \"deleted\" in a layer; rename it", .0.display())]
    Whiteout(PathBuf),
    /// More than [`MAX_ENTRIES`].
    #[error("the directory has more than {MAX_ENTRIES} entries")]
    TooMany,
    /// Deeper than [`MAX_DEPTH`].
    #[error("{} is nested deeper than {MAX_DEPTH} directories", .0.display())]
    TooDeep(PathBuf),
    /// The file grew or shrank while it was read.
    #[error("{} changed while it was read; pack again when nothing writes to it", .0.display())]
    Changed(PathBuf),
}

/// A finished layer.
#[derive(Debug)]
pub struct Layer {
    /// The compressed tar file, without a name, at its start.
    pub file: File,
    /// Digest of the compressed bytes.
    pub digest: Digest,
    /// Number of compressed bytes.
    pub size: u64,
    /// Digest of the uncompressed bytes.
    pub diff_id: Digest,
}

/// A layer being written.
pub struct LayerWriter(tar::Builder<Hashing<GzEncoder<Hashing<File>>>>);

impl LayerWriter {
    /// Starts a layer in a temporary file.
    ///
    /// # Errors
    /// There is no room for one.
    pub fn new() -> io::Result<Self> {
        let file = Hashing::new(tempfile::tempfile()?);
        let gzip = GzBuilder::new().mtime(0).operating_system(255).write(file, Compression::new(6));
        Ok(Self(tar::Builder::new(Hashing::new(gzip))))
    }

    /// Adds a file of which `len` bytes are read.
    fn file(&mut self, path: &Path, mode: u32, len: u64, reader: impl Read) -> io::Result<u64> {
        let mut header = header(tar::EntryType::Regular, mode, len);
        let mut counted = Counted { reader: reader.take(len), count: 0 };
        self.0.append_data(&mut header, path, &mut counted)?;
        Ok(counted.count)
    }

    fn directory(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        let mut header = header(tar::EntryType::Directory, mode, 0);
        self.0.append_data(&mut header, path, io::empty())
    }

    fn link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        self.0.append_link(&mut header(tar::EntryType::Symlink, 0o777, 0), path, target)
    }

    /// Adds a file under another name: the program of a one-file image.
    ///
    /// # Errors
    /// It can't be read or changed meanwhile.
    pub fn add_file(&mut self, from: &Path, name: &Path, mode: u32) -> Result<(), TreeError> {
        let io = |source| TreeError::Io { verb: "read", path: from.to_owned(), source };
        let file = File::open(from).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        match self.file(name, mode, len, file).map_err(io)? {
            count if count == len => Ok(()),
            _ => Err(TreeError::Changed(from.to_owned())),
        }
    }

    /// Adds everything in a directory, which becomes the root.
    ///
    /// # Errors
    /// Something in it can't be read or can't be in a layer.
    pub fn add_tree(&mut self, root: &Path) -> Result<(), TreeError> {
        let mut entries = 0;
        self.children(root, Path::new(""), 0, &mut entries)
    }

    fn children(
        &mut self,
        root: &Path,
        inside: &Path,
        depth: usize,
        entries: &mut usize,
    ) -> Result<(), TreeError> {
        let dir = root.join(inside);
        if depth > MAX_DEPTH {
            return Err(TreeError::TooDeep(dir));
        }
        for name in sorted_names(&dir)? {
            *entries += 1;
            if *entries > MAX_ENTRIES {
                return Err(TreeError::TooMany);
            }
            let (path, inside) = (dir.join(&name), inside.join(&name));
            if name.as_bytes().starts_with(b".wh.") {
                return Err(TreeError::Whiteout(path));
            }
            let metadata = fs::symlink_metadata(&path).map_err(io_error("examine", &path))?;
            let mode = metadata.permissions().mode() & 0o7777;
            if metadata.is_dir() {
                self.directory(&inside, mode).map_err(io_error("pack", &path))?;
                self.children(root, &inside, depth + 1, entries)?;
            } else if metadata.is_symlink() {
                let target = fs::read_link(&path).map_err(io_error("read", &path))?;
                self.link(&inside, &target).map_err(io_error("pack", &path))?;
            } else if metadata.is_file() {
                self.add_file(&path, &inside, mode)?;
            } else {
                return Err(TreeError::Special { kind: special(&metadata), path });
            }
        }
        Ok(())
    }

    /// Completes the layer.
    ///
    /// # Errors
    /// The temporary file can't be written.
    pub fn finish(self) -> io::Result<Layer> {
        let (gzip, diff_id, _) = self.0.into_inner()?.finish();
        let (mut file, digest, size) = gzip.finish()?.finish();
        file.rewind()?;
        Ok(Layer { file, digest, size, diff_id })
    }
}

pub(crate) fn sorted_names(dir: &Path) -> Result<Vec<std::ffi::OsString>, TreeError> {
    let entries = fs::read_dir(dir).map_err(io_error("list", dir))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>().map_err(io_error("list", dir))?;
    names.sort();
    Ok(names)
}

fn header(kind: tar::EntryType, mode: u32, len: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(len);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn special(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a pipe"
    }
}

fn io_error<'a>(
    verb: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> TreeError + use<'a> {
    move |source| TreeError::Io { verb, path: path.to_owned(), source }
}

/// A writer that hashes and counts what goes through.
struct Hashing<W> {
    inner: W,
    hash: Digester,
    count: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Digester::default(), count: 0 }
    }

    fn finish(self) -> (W, Digest, u64) {
        (self.inner, self.hash.finish(), self.count)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A reader that counts, so that a file that shrank is noticed.
struct Counted<R> {
    reader: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.reader.read(buffer)?;
        self.count += got as u64;
        Ok(got)
    }
}
