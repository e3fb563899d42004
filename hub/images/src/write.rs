//! Writes a packed image as an OCI layout directory or as an OCI archive (a tar file of a layout).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::blobs::{BlobError, open_checked};
use crate::document::Index;
use crate::layout::REF_NAME;
use crate::pack::Packed;
use crate::walk::{Piece, WalkError, walk};

const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Where a packed image goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A layout in a directory that doesn't exist or is empty.
    Layout(PathBuf),
    /// A tar file; one that exists is replaced.
    Archive(PathBuf),
}

impl Output {
    /// An archive for a path that ends in `.tar`, else a layout.
    pub fn at(path: &Path) -> Self {
        match path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar")) {
            true => Self::Archive(path.to_owned()),
            false => Self::Layout(path.to_owned()),
        }
    }
}

/// Why an image can't be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file system refused.
    #[error("could not write {}", .0.display())]
    Io(PathBuf, #[source] io::Error),
    /// There is something already.
    #[error("{} is not empty; name a new directory, or a file that ends in .tar", .0.display())]
    NotEmpty(PathBuf),
    /// The image is damaged.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// A blob of the image is damaged.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Writes the image. `name` is recorded as the image's name in the layout.
///
/// # Errors
/// The place is taken or can't be written.
pub fn write(packed: &Packed, output: &Output, name: Option<&str>) -> Result<(), WriteError> {
    let pieces = walk(packed.blobs(), &packed.root)?;
    match output {
        Output::Layout(path) => layout(packed, &pieces, path, name),
        Output::Archive(path) => archive(packed, &pieces, path, name),
    }
}

fn layout(
    packed: &Packed,
    pieces: &[Piece],
    path: &Path,
    name: Option<&str>,
) -> Result<(), WriteError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| WriteError::Io(path, error)
    };
    if path.exists() && fs::read_dir(path).map_err(io(path))?.next().is_some() {
        return Err(WriteError::NotEmpty(path.to_owned()));
    }
    let blobs = path.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(io(&blobs))?;
    for piece in pieces {
        let to = blobs.join(piece.descriptor.digest.hex());
        let mut reader = open_checked(packed.blobs(), &piece.descriptor)?;
        let mut file = File::create_new(&to).map_err(io(&to))?;
        io::copy(&mut reader, &mut file).map_err(io(&to))?;
    }
    // The marker comes last: only then is the directory a layout.
    for (file, content) in [("index.json", index(packed, name)), ("oci-layout", MARKER.to_vec())] {
        let to = path.join(file);
        fs::write(&to, content).map_err(io(&to))?;
    }
    Ok(())
}

fn archive(
    packed: &Packed,
    pieces: &[Piece],
    path: &Path,
    name: Option<&str>,
) -> Result<(), WriteError> {
    let io = |error| WriteError::Io(path.to_owned(), error);
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new()
        .prefix(".lichen-pack")
        .permissions(permissions())
        .tempfile_in(dir)
        .map_err(io)?;
    let mut builder = tar::Builder::new(temporary);
    let header = |len| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(len);
        header.set_mtime(0);
        header
    };
    for (file, content) in [("oci-layout", MARKER.to_vec()), ("index.json", index(packed, name))] {
        let mut header = header(content.len() as u64);
        builder.append_data(&mut header, file, content.as_slice()).map_err(io)?;
    }
    for piece in pieces {
        let to = format!("blobs/sha256/{}", piece.descriptor.digest.hex());
        let reader = open_checked(packed.blobs(), &piece.descriptor)?;
        builder.append_data(&mut header(piece.descriptor.size), to, reader).map_err(io)?;
    }
    let temporary = builder.into_inner().map_err(io)?;
    temporary.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

/// An archive is for others to read too, unlike other temporary files; the umask still applies.
fn permissions() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o666)
}

fn index(packed: &Packed, name: Option<&str>) -> Vec<u8> {
    let mut root = packed.root.clone();
    root.annotations = name.map(|name| [(REF_NAME.to_owned(), name.to_owned())].into());
    serde_json::to_vec(&Index::new(vec![root])).expect("an index is always JSON")
}
