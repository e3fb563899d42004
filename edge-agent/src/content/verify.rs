//! Verifies what lies in the store: disks of devices wear out. An artefact by its digest, an unpacked layer by what was written
//! down of it; before it is used for the first time, and all of it in the background.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use firmware_compat::id::Hash;
use lichen_oci::{
    Digest,
    inventory::{Depth, Pace},
    layers::LayerError,
};
use sha2::{Digest as _, Sha256};

use super::{BLOCK_BYTES, Content, ContentError, names, seen::Stamp};
use crate::state::StateError;

impl Content {
    /// The file of an artefact whose digest was checked since the agent's start. One that is damaged is removed.
    ///
    /// # Errors
    /// [`ContentError::Missing`] and [`ContentError::Damaged`].
    pub fn verified(&self, digest: &Hash) -> Result<PathBuf, ContentError> {
        let path = self.artefact(digest)?;
        self.verify_file(&path, digest, &mut |_| {})?;
        Ok(path)
    }

    fn verify_file(&self, path: &Path, digest: &Hash, pace: Pace<'_>) -> Result<(), ContentError> {
        let stamp = stamp(path);
        if stamp.is_some_and(|stamp| self.seen.has_artefact(digest, stamp)) {
            return Ok(());
        }
        let cause = match digest_of(path, pace) {
            Ok(found) if found == *digest => {
                if let Some(stamp) = stamp {
                    self.seen.artefact(*digest, stamp);
                }
                return Ok(());
            }
            Ok(_) => String::new(),
            Err(source) => {
                let error = StateError::Io { action: "read", path: path.to_owned(), source };
                if error.passes() {
                    return Err(error.into());
                }
                error.to_string()
            }
        };
        // One that can't be removed is found again, checked again and refused again.
        let _ = fs::remove_file(path);
        Err(ContentError::Damaged { digest: *digest, cause })
    }

    /// Looks at an unpacked layer, if there is one and nobody has. One that is damaged is put aside.
    pub(super) fn look_at_layer(
        &self,
        layer: &Digest,
        depth: Depth,
        pace: Pace<'_>,
    ) -> Result<(), ContentError> {
        if !self.layers.has(layer) || self.seen.has_layer(layer, depth) {
            return Ok(());
        }
        match self.layers.check(layer, depth, pace) {
            Ok(()) => {
                self.seen.layer(*layer, depth);
                Ok(())
            }
            Err(LayerError::Damaged { cause, .. }) => {
                self.seen.forget_layer(layer);
                self.layers.put_aside(layer)?;
                Err(ContentError::Damaged { digest: Hash(*layer.as_bytes()), cause })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Looks at everything, byte by byte. Returns the artefacts that are not whole, and what is wrong with each. Blocks for as
    /// long as `pace` takes.
    #[must_use]
    pub fn scrub(&self, pace: Pace<'_>) -> Vec<(Hash, String)> {
        let mut damaged = Vec::new();
        for digest in
            names(&self.artefacts).unwrap_or_default().iter().filter_map(|name| Hash::parse(name))
        {
            let Ok(path) = self.artefact(&digest) else { continue };
            if let Err(error @ ContentError::Damaged { .. }) =
                self.verify_file(&path, &digest, pace)
            {
                damaged.push((digest, error.to_string()));
            }
        }
        for packed in
            names(&self.unpacked).unwrap_or_default().iter().filter_map(|name| Hash::parse(name))
        {
            let Some(layer) = self.layer_of(&packed) else { continue };
            let _turn = self.turns.take(layer);
            if let Err(ContentError::Damaged { cause, .. }) =
                self.look_at_layer(&layer, Depth::Bytes, pace)
            {
                let error = ContentError::Damaged { digest: packed, cause };
                damaged.push((packed, error.to_string()));
            }
        }
        damaged
    }

    /// As if nothing had been looked at: what was whole a week ago may not be.
    pub fn forget_seen(&self) {
        self.seen.clear();
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.len(), found.ino(), found.mtime(), found.mtime_nsec()))
}

fn digest_of(path: &Path, pace: Pace<'_>) -> io::Result<Hash> {
    let mut file = File::open(path)?;
    let (mut hash, mut block) = (Sha256::new(), vec![0; BLOCK_BYTES]);
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(Hash(hash.finalize().into())),
            Ok(length) => {
                hash.update(&block[..length]);
                pace(length);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
