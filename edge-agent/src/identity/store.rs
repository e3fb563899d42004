//! The directory `<state>/identity/`, which only this user can look into.
//!
//! | file | content | written |
//! |---|---|---|
//! | `key.pem` | the key of the certificate | before the hub is asked for one |
//! | `sealing.key` | the key to which secrets are sealed | then |
//! | `wish` | the name under which it asks to join | then |
//! | `certificate.pem` | what the hub issued | at joining, and at each renewal |
//! | `hub.json` | the name, and by what and where the hub is found | last at joining; when something of it changes |
//!
//! Each file is replaced whole and durably. `hub.json` is what makes a device a member: whatever a power cut leaves before
//! it is there, joining goes on with, with the same keys. Once it is there, a file that is missing or damaged is an error
//! for the operator: an identity is never made anew by itself, because the hub would take it for a second device.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use firmware_compat::{enrolment::MAX_DOCUMENT_BYTES, topic::is_device_name};

use super::{
    HubFile, Identity, KeyError, Keys,
    key_files::{KEY, KeyFiles, SEALING},
};
use crate::state::{StateDir, StateError, Written, make_dir, read_bounded};

const CERTIFICATE: &str = "certificate.pem";
const HUB: &str = "hub.json";
const WISH: &str = "wish";

/// Why there is no identity to use.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The system refuses.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file is not what it was.
    #[error(
        "{} is damaged ({cause}), so this device can't show who it is; its pods run on. {}",
        path.display(),
        way_out(path, dir)
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
        /// The directory.
        dir: PathBuf,
    },
    /// A file is gone, and others that need it are there.
    #[error(
        "{} is missing, so this device can't show who it is; its pods run on. {}",
        path.display(),
        way_out(path, dir)
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// The directory.
        dir: PathBuf,
    },
    /// The device can't make a key.
    #[error("could not make {}: {source}", path.display())]
    Unmade {
        /// The file that it would have been kept in.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
}

/// A device that has its keys joins again as who it is, and opens what is sealed to it.
fn way_out(path: &Path, dir: &Path) -> String {
    let is_key = [KEY, SEALING].iter().any(|key| path.ends_with(key));
    let dir = dir.display();
    match is_key {
        true => format!(
            "Put it back from a copy; or give this identity up: remove {dir} and join anew, once the hub has forgotten the \
             device (lichen device forget NAME)"
        ),
        false => format!(
            "Put it back from a copy; or join again with the keys that are there: remove {dir}/{HUB}, and run lichen-agent \
             join with a new token of this hub"
        ),
    }
}

/// The directory of one device's identity.
#[derive(Clone, Debug)]
pub struct IdentityDir {
    path: PathBuf,
    written: Written,
}

impl IdentityDir {
    /// That of a state directory. Nothing is made before something is written.
    #[must_use]
    pub fn of(state: &StateDir) -> Self {
        Self::at(state.path().join("identity"), state.written().clone())
    }

    /// Any directory; what is written there is counted.
    #[must_use]
    pub fn at(path: PathBuf, written: Written) -> Self {
        Self { path, written }
    }

    /// The identity; `None` if the device has not joined a hub, or not to the end.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn load(&self) -> Result<Option<Identity>, IdentityError> {
        let Some(text) = self.read(HUB)? else { return Ok(None) };
        let hub = HubFile::parse(&text).map_err(|error| self.damaged(HUB, &error))?;
        let keys = KeyFiles::load(self)?.ok_or_else(|| self.missing_key())?;
        let certificate = self.read(CERTIFICATE)?.ok_or_else(|| self.missing(CERTIFICATE))?;
        // What is wrong with the CAs is wrong with the other file.
        let authorities = super::certificate::read_pem(&hub.facts.ca, super::MAX_CERTIFICATES);
        authorities.map_err(|error| self.damaged(HUB, &error))?;
        let identity = Identity::new(Arc::new(keys), &certificate, hub);
        identity.map(Some).map_err(|error| self.damaged(CERTIFICATE, &error))
    }

    /// The device's name and its keys, with which it opens what is sealed to it: its Pods need them whatever is wrong with the
    /// rest.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn name_and_keys(&self) -> Result<(String, Arc<dyn Keys>), IdentityError> {
        let text = self.read(HUB)?.ok_or_else(|| self.missing(HUB))?;
        let hub = HubFile::parse(&text).map_err(|error| self.damaged(HUB, &error))?;
        let keys = KeyFiles::load(self)?.ok_or_else(|| self.missing_key())?;
        Ok((hub.name.to_string(), Arc::new(keys)))
    }

    /// Keeps what the hub issued at joining or renewal, first the certificate and then what is known of the hub. Power may
    /// fail between the two: either certificate goes with either knowledge.
    ///
    /// # Errors
    /// Those of the system.
    pub fn save(&self, certificate: &str, hub: &HubFile) -> Result<(), IdentityError> {
        self.write(CERTIFICATE, certificate.as_bytes())?;
        self.save_hub(hub)
    }

    /// Keeps what is known of the hub.
    ///
    /// # Errors
    /// Those of the system.
    pub fn save_hub(&self, hub: &HubFile) -> Result<(), IdentityError> {
        self.write(HUB, hub.to_text().as_bytes())
    }

    /// The name under which it has asked to join before. A damaged one is none.
    #[must_use]
    pub fn wish(&self) -> Option<String> {
        let name = self.read(WISH).ok()??.trim().to_owned();
        is_device_name(&name).then_some(name)
    }

    /// Keeps the name under which it asks to join: asked for once more, it is the same device, whatever its host is called
    /// by then.
    ///
    /// # Errors
    /// Those of the system.
    pub fn keep_wish(&self, name: &str) -> Result<(), IdentityError> {
        match self.wish().as_deref() == Some(name) {
            true => Ok(()),
            false => self.write(WISH, format!("{name}\n").as_bytes()),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn read(&self, name: &str) -> Result<Option<String>, IdentityError> {
        let bytes = read_bounded(&self.path.join(name), MAX_DOCUMENT_BYTES as u64)?;
        let Some(bytes) = bytes else { return Ok(None) };
        let text = String::from_utf8(bytes);
        text.map(Some).map_err(|_| self.damaged(name, &"it is not text"))
    }

    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), IdentityError> {
        make_dir(&self.path)?;
        crate::state::sync_dir_of(&self.path)?;
        Ok(self.written.replace_private(&self.path.join(name), content)?)
    }

    pub(super) fn damaged(&self, name: &str, cause: &dyn std::fmt::Display) -> IdentityError {
        let (path, dir) = (self.path.join(name), self.path.clone());
        IdentityError::Damaged { path, cause: cause.to_string(), dir }
    }

    pub(super) fn missing(&self, name: &str) -> IdentityError {
        IdentityError::Missing { path: self.path.join(name), dir: self.path.clone() }
    }

    pub(super) fn unmade(&self, name: &str, source: KeyError) -> IdentityError {
        IdentityError::Unmade { path: self.path.join(name), source }
    }

    fn missing_key(&self) -> IdentityError {
        let gone = [KEY, SEALING].into_iter().find(|name| !self.path.join(name).exists());
        self.missing(gone.unwrap_or(KEY))
    }
}
