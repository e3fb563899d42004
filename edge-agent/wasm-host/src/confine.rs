//! Takes from this process what its guest never needs, once all is open that it was given: should the engine have a hole,
//! there is little behind it.
//!
//! Wasm alone keeps a guest to what it imports. This is a second wall, of the kernel's: another user, no privileges
//! ([`user`]), no files but the guest's directories ([`files`]), no system call that a guest's host does not make ([`calls`]).
//! Every step counts for the thread that takes it and those that it starts, so it must be taken by the only one.

// The compiler of filters knows no 32-bit architecture.
#[cfg(target_pointer_width = "64")]
mod calls;
mod files;
mod user;

use std::os::fd::OwnedFd;

use crate::error::RunError;
use crate::spec::{Preopen, Run};

/// What a guest's files are opened from, before the user changes.
pub struct Given(Vec<(OwnedFd, bool)>);

impl Given {
    /// Opens the directories of a spec again, to name them to the kernel.
    ///
    /// # Errors
    /// [`RunError::Preopen`] names the one that is missing.
    pub fn open(preopens: &[Preopen]) -> Result<Self, RunError> {
        let open = |preopen: &Preopen| {
            let found = lichen_shim::beneath::open(&preopen.host, &preopen.inner);
            found.map(|fd| (fd, preopen.read_only)).map_err(|error| RunError::Preopen {
                host: preopen.host.join(&preopen.inner),
                guest: preopen.guest.clone(),
                cause: error.to_string(),
            })
        };
        preopens.iter().map(open).collect::<Result<_, _>>().map(Self)
    }
}

/// Confines this thread for good. Walls that the kernel does not have are left out.
///
/// # Errors
/// [`RunError::Host`]: a wall that the kernel has could not be put up.
pub fn confine(run: &Run, given: &Given) -> Result<(), RunError> {
    let refused = |what: &str, cause: String| RunError::Host(format!("could not {what}: {cause}"));
    user::change(run.user, &run.groups)
        .map_err(|error| refused("give up privileges", error.to_string()))?;
    files::allow_only(&given.0, run.network)
        .map_err(|error| refused("restrict files", error.to_string()))?;
    #[cfg(target_pointer_width = "64")]
    calls::forbid(run.network).map_err(|error| refused("restrict system calls", error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, net::TcpListener, process::Command, thread};

    use super::*;

    /// What a confined thread finds, without harm to the others.
    fn confined<T: Send + 'static>(run: Run, look: impl FnOnce() -> T + Send + 'static) -> T {
        let given = Given::open(&run.preopens).expect("they are there");
        let thread = thread::spawn(move || {
            confine(&run, &given).expect("it is confined");
            look()
        });
        thread.join().expect("it ends")
    }

    fn with(dir: &std::path::Path, read_only: bool) -> Run {
        let preopen = Preopen {
            host: dir.to_owned(),
            inner: "".into(),
            guest: "/data".to_owned(),
            read_only,
        };
        Run { preopens: vec![preopen], ..Run::default() }
    }

    #[test]
    fn only_the_guests_directories_can_be_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().to_owned();
        let inside = path.join("inside");
        let found = confined(with(&path, false), move || {
            (fs::write(&inside, "x").is_ok(), fs::read("/etc/passwd").is_ok())
        });
        assert_eq!(found, (true, !files::is_known()));
        let inside = path.join("other");
        let written = confined(with(&path, true), move || fs::write(inside, "x").is_ok());
        assert_eq!(written, !files::is_known(), "read-only");
    }

    #[test]
    fn no_program_can_be_run_and_no_process_be_signalled() {
        let own = std::process::id();
        let (ran, signalled, socket) = confined(Run::default(), move || {
            let parent = rustix::process::getppid().expect("a parent");
            assert_ne!(parent.as_raw_pid().cast_unsigned(), own);
            (
                Command::new("/bin/true").status().is_ok(),
                rustix::process::test_kill_process(parent).is_ok(),
                TcpListener::bind("127.0.0.1:0").is_ok(),
            )
        });
        assert_eq!((ran, signalled, socket), (false, false, false));
    }

    #[test]
    fn a_guest_with_a_network_has_sockets() {
        let run = Run { network: true, ..Run::default() };
        assert!(confined(run, || TcpListener::bind("127.0.0.1:0").is_ok()));
    }

    #[test]
    #[expect(unsafe_code, reason = "only the kernel's own call shows what it refuses")]
    fn memory_is_never_made_into_code_again() {
        let made = confined(Run::default(), || {
            use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
            let map = |prot| {
                // SAFETY: a new mapping at a place of the kernel's choice, which nobody has a reference to; it stays
                // until the process ends.
                unsafe { mmap_anonymous(core::ptr::null_mut(), 4096, prot, MapFlags::PRIVATE) }
            };
            (
                map(ProtFlags::READ | ProtFlags::WRITE).is_ok(),
                map(ProtFlags::READ | ProtFlags::EXEC).is_ok(),
            )
        });
        assert_eq!(made, (true, false));
    }

    #[test]
    fn privileges_are_gone_whoever_it_runs_as() {
        let root = rustix::process::geteuid().is_root();
        for user in [None, Some((12_345, 23_456))] {
            if user.is_some() && !root {
                continue;
            }
            let (uid, gid, sets, fixed) = confined(Run { user, ..Run::default() }, || {
                (
                    rustix::process::geteuid().as_raw(),
                    rustix::process::getegid().as_raw(),
                    rustix::thread::capabilities(None).expect("readable"),
                    rustix::thread::no_new_privs().expect("readable"),
                )
            });
            if let Some(expected) = user {
                assert_eq!((uid, gid), expected);
            }
            assert!(sets.effective.is_empty() && sets.permitted.is_empty() && fixed, "{sets:?}");
        }
    }
}
