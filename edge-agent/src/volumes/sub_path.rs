//! `subPath`: a part of a volume, mounted in its place.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Component, Path, PathBuf},
};

use firmware_compat::v1::owned::{Volume, VolumeSource};

use super::{VolumeError, io_failed, refused};

/// A path below a volume's root; a missing one is made as a directory. Symbolic links cannot lead out of the volume.
pub(super) fn place(volume: &Volume, root: &Path, sub_path: &str) -> Result<PathBuf, VolumeError> {
    let part_is_plain = |part| matches!(part, Component::Normal(_));
    if !Path::new(sub_path).components().all(part_is_plain) {
        return Err(refused(volume, sub_path, "a subPath is relative and has no `.` or `..`"));
    }
    let path = root.join(sub_path);
    if !path.exists() {
        if let VolumeSource::ConfigMap { .. } = volume.source {
            return Err(refused(volume, sub_path, "the configMap has no such file"));
        }
        // Before anything is made: what is there already must not lead out.
        let there = path.ancestors().find(|part| part.exists()).unwrap_or(root);
        inside(volume, root, there, sub_path)?;
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o755);
        builder.create(&path).map_err(io_failed(volume, "make", &path))?;
    }
    inside(volume, root, &path, sub_path)
}

fn inside(
    volume: &Volume,
    root: &Path,
    path: &Path,
    sub_path: &str,
) -> Result<PathBuf, VolumeError> {
    let real = |path: &Path| fs::canonicalize(path).map_err(io_failed(volume, "find", path));
    let (root, path) = (real(root)?, real(path)?);
    if path.starts_with(&root) {
        Ok(path)
    } else {
        Err(refused(volume, sub_path, "a symbolic link leads out of the volume"))
    }
}
