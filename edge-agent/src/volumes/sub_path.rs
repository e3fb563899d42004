//! `subPath`: a part of a volume, mounted in its place.
//!
//! Here it is found and, if it is missing, made. Who mounts it goes the way down once more: containers that have the volume
//! change it at any time, so the path that was found is not to be trusted, see [`lichen_shim::beneath`].

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path, PathBuf},
};

use firmware_compat::v1::owned::Volume;
use lichen_oci::expand::{expand, unknown};
use lichen_shim::beneath;

use super::{VolumeError, has_files, io_failed, refused};

/// A `subPathExpr` with the container's variables in it.
pub(super) fn expanded(
    volume: &Volume,
    expression: &str,
    variables: &BTreeMap<&str, String>,
) -> Result<String, VolumeError> {
    if unknown(expression, variables).is_some() {
        return Err(refused(
            volume,
            expression,
            "it refers to a variable that the container does not have",
        ));
    }
    expand(expression, variables)
        .map_err(|_| refused(volume, expression, "it is too long once it is expanded"))
}

/// The way down from a volume's root: names only, no symbolic link among them. A missing directory is made. Links of the
/// volume's own are followed as long as they stay in it.
pub(super) fn place(volume: &Volume, root: &Path, sub_path: &str) -> Result<PathBuf, VolumeError> {
    let part_is_plain = |part| matches!(part, Component::Normal(_));
    if !Path::new(sub_path).components().all(part_is_plain) {
        return Err(refused(volume, sub_path, "a subPath is relative and has no `.` or `..`"));
    }
    let path = root.join(sub_path);
    let there = path.ancestors().find(|part| part.exists()).unwrap_or(root);
    if there != path && has_files(volume) {
        return Err(refused(volume, sub_path, "the ConfigMap or Secret has no such file"));
    }
    let missing = path.strip_prefix(there).unwrap_or(Path::new(""));
    let inner = inside(volume, root, there, sub_path)?.join(missing);
    match beneath::make(root, &inner) {
        Ok(_) => Ok(inner),
        Err(error) if is_link(&error) => Err(refused(volume, sub_path, LEADS_OUT)),
        Err(error) => Err(io_failed(volume, "make", &path)(error)),
    }
}

const LEADS_OUT: &str = "a symbolic link leads out of the volume";

/// Where something that is there lies in the volume.
fn inside(
    volume: &Volume,
    root: &Path,
    path: &Path,
    sub_path: &str,
) -> Result<PathBuf, VolumeError> {
    let real = |path: &Path| fs::canonicalize(path).map_err(io_failed(volume, "find", path));
    let (root, path) = (real(root)?, real(path)?);
    match path.strip_prefix(&root) {
        Ok(inner) => Ok(inner.to_owned()),
        Err(_) => Err(refused(volume, sub_path, LEADS_OUT)),
    }
}

/// A link that took the place of something since it was looked at, or one that leads nowhere yet.
fn is_link(error: &io::Error) -> bool {
    rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::LOOP)
}
