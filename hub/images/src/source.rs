//! Opens what `lichen image push` is given, choosing by content and not by file name, as a list of verified blobs.
//!
//! The forms are next door: [`crate::layout`], [`crate::archive`], [`crate::docker`], [`crate::wasm`].

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::archive::{Archive, ArchiveError};
use crate::blobs::{BlobError, Blobs, Checked, Layered, Memory, open_checked};
use crate::docker::DockerError;
use crate::layout::{Layout, LayoutError};
use crate::walk::{Piece, WalkError, walk};
use crate::wasm::WasmError;
use crate::{Descriptor, docker, layout, wasm};

/// Largest archive after decompression. It goes to a temporary file, so this bounds what a small hostile file fills.
pub const MAX_UNCOMPRESSED_BYTES: u64 = 16 << 30;

/// An image or artefact that is complete and can be pushed.
pub struct Pushable {
    /// What the pushed name will stand for.
    pub root: Descriptor,
    /// Builds that an index lists but the source does not have; the pushed index leaves them out.
    pub absent: Vec<Descriptor>,
    /// The name that the source gives itself, if it does.
    pub name: Option<String>,
    pieces: Vec<Piece>,
    blobs: Box<dyn Blobs>,
}

impl Pushable {
    /// Everything to send, in order: blobs before the manifests that refer to them, the root last.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Opens one of the pieces. The reader gives exactly the declared size and fails instead of giving the last bytes
    /// if the digest is wrong.
    ///
    /// # Errors
    /// The source changed or can't be read.
    pub fn open(&self, piece: &Piece) -> Result<Checked, BlobError> {
        open_checked(self.blobs.as_ref(), &piece.descriptor)
    }

    /// The blobs behind it, for [`crate::resolve`].
    pub fn blobs(&self) -> &dyn Blobs {
        self.blobs.as_ref()
    }

    /// Follows the root through the blobs.
    pub(crate) fn new(root: Descriptor, blobs: Box<dyn Blobs>) -> Result<Self, WalkError> {
        let pieces = walk(blobs.as_ref(), &root)?;
        Ok(Self { root, absent: Vec::new(), name: None, pieces, blobs })
    }
}

impl core::fmt::Debug for Pushable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pushable").field("root", &self.root).finish_non_exhaustive()
    }
}

/// Why a path can't be pushed. The messages name the path; sources say why.
#[derive(Debug, thiserror::Error)]
#[error("could not read {} as an image", path.display())]
pub struct SourceError {
    /// What was given.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub cause: Box<Cause>,
}

/// The causes of a [`SourceError`].
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The file system refused.
    #[error("the file system refused")]
    Io(#[from] io::Error),
    /// It could not be decompressed.
    #[error("could not decompress it; it may be cut off, so save or download it again")]
    Gzip(#[source] io::Error),
    /// Something else than an image, with a hint.
    #[error("it is {0}")]
    Kind(&'static str),
    /// A layout is not complete or not valid.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A tar file is not valid.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A docker archive is not valid.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// A Wasm file is not valid.
    #[error(transparent)]
    Wasm(#[from] WasmError),
    /// The image is not complete or not valid.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// More than [`MAX_UNCOMPRESSED_BYTES`].
    #[error("it has more than {MAX_UNCOMPRESSED_BYTES} bytes after decompression")]
    TooLarge,
}

/// Opens an OCI layout directory, an OCI archive, a docker archive (either may be gzip-compressed), a `.wasm` or a
/// `.wat`. `select` names one image of a source that holds several.
///
/// # Errors
/// What the path is instead, or what is wrong with it.
pub fn open(path: &Path, select: Option<&str>) -> Result<Pushable, SourceError> {
    open_any(path, select)
        .map_err(|cause| SourceError { path: path.to_owned(), cause: Box::new(cause) })
}

fn open_any(path: &Path, select: Option<&str>) -> Result<Pushable, Cause> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return from_layout(Box::new(layout::Directory::new(path)), select);
    }
    if !metadata.is_file() {
        return Err(Cause::Kind("neither a file nor a directory"));
    }
    let mut file = File::open(path)?;
    match Content::of(&mut file)? {
        Content::Tar => from_archive(file, select),
        Content::Gzip => {
            let mut unpacked = decompress(file)?;
            match Content::of(&mut unpacked)? {
                Content::Tar => from_archive(unpacked, select),
                _ => Err(Cause::Kind("gzip-compressed, but not an archive inside")),
            }
        }
        Content::Wasm | Content::Text => Ok(from_wasm(file)?),
        Content::Other(what) => Err(Cause::Kind(what)),
    }
}

fn from_archive(file: File, select: Option<&str>) -> Result<Pushable, Cause> {
    let archive = Archive::open(file)?;
    // A new `docker save` writes both forms; the layout says more.
    if archive.contains("index.json") {
        return from_layout(Box::new(archive), select);
    }
    if archive.contains("manifest.json") {
        let docker = docker::read(archive, select)?;
        let mut pushable = Pushable::new(docker.root, Box::new(docker.blobs))?;
        pushable.name = docker.name;
        return Ok(pushable);
    }
    if !archive.is_complete() {
        return Err(Cause::Kind("an archive that is cut off; save or download it again"));
    }
    Err(Cause::Kind(
        "a tar file without index.json or manifest.json, so not an image archive; `lichen image pack` makes an image of a directory",
    ))
}

fn from_layout(layout: Box<dyn Layout>, select: Option<&str>) -> Result<Pushable, Cause> {
    let chosen = layout::choose(layout.as_ref(), select)?;
    let blobs = Layered { front: chosen.generated, back: layout.into_blobs() };
    let mut pushable = Pushable::new(chosen.root, Box::new(blobs))?;
    pushable.absent = chosen.absent;
    pushable.name = chosen.name;
    Ok(pushable)
}

fn from_wasm(file: File) -> Result<Pushable, Cause> {
    let mut bytes = Vec::new();
    file.take(wasm::MAX_MODULE_BYTES + 1).read_to_end(&mut bytes)?;
    let module = wasm::binary(bytes)?;
    let mut blobs = Memory::default();
    let root = wasm::artefact(module, &mut blobs)?;
    Ok(Pushable::new(root, Box::new(blobs))?)
}

/// Unpacks to a file without a name, which is gone when it is closed.
fn decompress(file: File) -> Result<File, Cause> {
    let mut unpacked = tempfile::tempfile()?;
    let mut reader = MultiGzDecoder::new(io::BufReader::new(file)).take(MAX_UNCOMPRESSED_BYTES + 1);
    if io::copy(&mut reader, &mut unpacked).map_err(Cause::Gzip)? > MAX_UNCOMPRESSED_BYTES {
        return Err(Cause::TooLarge);
    }
    Ok(unpacked)
}

/// What a file is, by its first bytes.
enum Content {
    Tar,
    Gzip,
    Wasm,
    /// Perhaps the text form of Wasm.
    Text,
    Other(&'static str),
}

impl Content {
    /// Looks at the beginning and goes back there.
    fn of(file: &mut File) -> io::Result<Self> {
        let mut head = Vec::new();
        file.rewind()?;
        Read::by_ref(file).take(512).read_to_end(&mut head)?;
        file.rewind()?;
        Ok(match head.as_slice() {
            [] => Self::Other("an empty file"),
            [0, b'a', b's', b'm', ..] => Self::Wasm,
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                Self::Other("compressed with zstd; decompress it first with `zstd -d`")
            }
            [0xfd, b'7', b'z', b'X', b'Z', ..] => {
                Self::Other("compressed with xz; decompress it first with `unxz`")
            }
            [b'B', b'Z', b'h', ..] => {
                Self::Other("compressed with bzip2; decompress it first with `bunzip2`")
            }
            [0x7f, b'E', b'L', b'F', ..] => {
                Self::Other("a program; `lichen image pack` makes an image of a static one")
            }
            _ if crate::archive::is_header(&head) => Self::Tar,
            _ if head.trim_ascii_start().starts_with(b"(")
                || head.trim_ascii_start().starts_with(b";;") =>
            {
                Self::Text
            }
            _ => Self::Other(
                "none of: an OCI layout, an OCI or docker archive, a .wasm or a .wat file",
            ),
        })
    }
}
