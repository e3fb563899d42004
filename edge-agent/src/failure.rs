//! Failed steps in the words of the core: a message with its causes, and the reason where the core goes by it.

use std::{error::Error, io};

use lichen_agent_core::event::{DISK_FULL, Failure};
use lichen_oci::{bundle::BundleError, layers::LayerError};

use crate::{
    content::ContentError, sandbox::SandboxError, state::StateError, volumes::VolumeError,
};

/// What failed, with the step's usual reason unless the disk is full.
#[must_use]
pub fn failure(error: &(dyn Error + 'static)) -> Failure {
    let reason = if is_full(error) { DISK_FULL } else { "" };
    Failure { reason: reason.to_owned(), message: crate::runtime::chain(error) }
}

/// Whether an error comes of a disk, or of a quota, on which there is no room.
#[must_use]
pub fn is_full(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let is_refused = matches!(error.downcast_ref(), Some(ContentError::NoRoom { .. }));
        if is_refused || io_of(error).is_some_and(is_no_room) {
            return true;
        }
        next = error.source();
    }
    false
}

fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What the system said, of errors that have it in their own words and of those that stand for another.
fn io_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return Some(error);
    }
    if let Some(error) = error.downcast_ref::<ContentError>() {
        return match error {
            ContentError::State(error) => io_of(error),
            ContentError::Layer(error) => io_of(error),
            ContentError::NoRoom { .. }
            | ContentError::Damaged { .. }
            | ContentError::Missing(_) => None,
        };
    }
    if let Some(error) = error.downcast_ref::<SandboxError>() {
        return match error {
            SandboxError::State(error) => io_of(error),
            SandboxError::Volume(error) => io_of(error),
            SandboxError::Bundle(error) => io_of(error),
            SandboxError::Shm { source, .. } | SandboxError::Release { source, .. } => Some(source),
            SandboxError::Namespace(_) | SandboxError::Cgroup(_) | SandboxError::Processes(_) => {
                None
            }
        };
    }
    if let Some(StateError::Io { source, .. }) = error.downcast_ref::<StateError>() {
        return Some(source);
    }
    if let Some(VolumeError::Io { source, .. }) = error.downcast_ref::<VolumeError>() {
        return Some(source);
    }
    if let Some(BundleError::Io { cause, .. }) = error.downcast_ref::<BundleError>() {
        return Some(cause);
    }
    error.downcast_ref::<LayerError>().and_then(LayerError::io)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_full_disk_has_a_reason_wherever_it_shows() {
        let state = |errno: Errno| StateError::io("write", Path::new("assignment"), errno.into());
        let layer = |errno: Errno| LayerError::Store {
            what: "create",
            path: "x".into(),
            cause: errno.into(),
        };
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            assert_eq!(failure(&state(errno)).reason, DISK_FULL);
            assert_eq!(failure(&SandboxError::from(state(errno))).reason, DISK_FULL);
            assert_eq!(failure(&ContentError::from(layer(errno))).reason, DISK_FULL);
        }
        assert_eq!(failure(&state(Errno::IO)).reason, "");
        assert_eq!(failure(&ContentError::from(layer(Errno::ROFS))).reason, "");
    }
}
