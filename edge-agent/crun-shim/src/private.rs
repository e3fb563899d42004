//! What a run is given that is on no disk: bytes in a memory file, which the agent fills, nobody changes, and the shim
//! inherits. When agent and shim have let go of it, it is gone; whatever kills them.
//!
//! It is the shim's standard error until it is taken over, as the run directory is its standard input.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::stdio::dup2_stdin;

/// Nobody makes it longer, shorter or other than it is.
const FIXED: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Bytes that are on no disk.
pub struct Private(OwnedFd);

impl Private {
    /// Puts bytes into a memory file. No core is written of a process that has done so: it has seen them.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new(bytes: &[u8]) -> io::Result<Self> {
        keep_out_of_cores()?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("lichen-private", flags | MemfdFlags::NOEXEC_SEAL);
        // Linux before 6.3 knows no executable memory files to refuse.
        let file = match file {
            Err(Errno::INVAL) => memfd_create("lichen-private", flags)?,
            file => file?,
        };
        let mut file = File::from(file);
        file.write_all(bytes)?;
        file.rewind()?;
        fcntl_add_seals(&file, FIXED)?;
        Ok(Self(file.into()))
    }

    /// The same file, to hand on. Its readers share one position in it.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    /// Takes a descriptor over if it is such a file.
    pub(crate) fn of(fd: &impl AsFd) -> Option<Self> {
        let is_ours = fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(FIXED));
        is_ours.then(|| fd.as_fd().try_clone_to_owned().ok().map(Self)).flatten()
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    pub(crate) fn as_raw(&self) -> i32 {
        std::os::fd::AsRawFd::as_raw_fd(&self.0)
    }
}

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Private")
    }
}

/// Reads what a [`Process`](crate::Process) was given, at most so many bytes and one. Its standard input is empty from then
/// on, and no core is written of it.
///
/// # Errors
/// Those of the system.
pub fn take_input(max: u64) -> io::Result<Vec<u8>> {
    keep_out_of_cores()?;
    let mut bytes = Vec::new();
    io::stdin().lock().take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(bytes)
}

/// From now on the kernel writes no core of this process, and lets no other process of its user look into it. What it
/// executes is not concerned.
///
/// # Errors
/// Those of the system.
pub fn keep_out_of_cores() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_it_is_read_back_and_can_not_be_changed() {
        let private = Private::new(b"hunter2").expect("makeable");
        let taken = Private::of(&private.0).expect("one of ours");
        let mut file = File::from(taken.into_fd());
        let mut text = String::new();
        file.read_to_string(&mut text).expect("readable");
        assert_eq!(text, "hunter2");
        file.rewind().expect("seekable");
        assert!(file.write_all(b"x").is_err());
        assert!(file.set_len(0).is_err());
        assert_eq!(format!("{private:?}"), "Private");
    }

    #[test]
    fn no_core_is_written_of_who_has_made_one() {
        Private::new(b"hunter2").expect("makeable");
        let behaviour = rustix::process::dumpable_behavior().expect("known");
        assert_eq!(behaviour, DumpableBehavior::NotDumpable);
    }

    #[test]
    fn another_file_is_none() {
        assert!(Private::of(&File::open("/dev/null").expect("there")).is_none());
        assert!(Private::of(&tempfile::tempfile().expect("makeable")).is_none());
        let open = memfd_create("open", MemfdFlags::ALLOW_SEALING).expect("makeable");
        assert!(Private::of(&open).is_none());
    }
}
