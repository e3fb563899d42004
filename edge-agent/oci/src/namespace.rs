//! Namespaces that the containers of a Pod share: made once, held by a bind mount on a file, joined by each container.
//!
//! No process holds one, so it outlives the agent and every shim. It goes when its file is removed, or with the boot:
//! the file is then there and no namespace behind it, which [`is_held`] tells.

mod loopback;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// `NSFS_MAGIC` of linux/magic.h: the file system that namespaces are files of.
const NSFS_MAGIC: u64 = 0x6e73_6673;
/// The thread that makes a namespace nests nothing.
const STACK_BYTES: usize = 64 * 1024;

/// What is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// Addresses, ports and abstract sockets. A new one has nothing but loopback.
    Network,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Process numbers. One is made by its first process, not here: see the shim's `pause`.
    Processes,
}

impl Namespace {
    /// Its name below `/proc/<pid>/ns`.
    fn file(self) -> &'static str {
        match self {
            Self::Network => "net",
            Self::Ipc => "ipc",
            Self::Processes => "pid",
        }
    }

    fn flag(self) -> UnshareFlags {
        match self {
            Self::Network => UnshareFlags::NEWNET,
            Self::Ipc => UnshareFlags::NEWIPC,
            Self::Processes => UnshareFlags::NEWPID,
        }
    }

    /// What people call it, and what the kernel is built with to have it.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Network => ("network", "CONFIG_NET_NS"),
            Self::Ipc => ("IPC", "CONFIG_IPC_NS"),
            Self::Processes => ("processes", "CONFIG_PID_NS"),
        }
    }
}

/// Why a Pod has no namespace of its own.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// A step failed.
    #[error("could not {what} for the pod's {of} at {path}: {cause}{hint}", of = kind.words().0, path = path.display(), hint = hint(*kind, cause))]
    Io {
        /// Of what.
        kind: Namespace,
        /// The step.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

fn hint(kind: Namespace, cause: &io::Error) -> String {
    match Errno::from_io_error(cause) {
        Some(Errno::PERM) => " (namespaces need root)".to_owned(),
        Some(Errno::INVAL) => format!(" (is {} in the kernel?)", kind.words().1),
        _ => String::new(),
    }
}

/// Makes a namespace, unless `path` holds one already.
///
/// # Errors
/// See [`NamespaceError`].
pub fn make(kind: Namespace, path: &Path) -> Result<(), NamespaceError> {
    if is_held(path) {
        return Ok(());
    }
    File::create(path).map_err(failed(kind, "make a file", path))?;
    let made = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("pod-namespace".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || enter_and_hold(kind, path))
            .map_err(failed(kind, "start a thread", path))?;
        thread.join().unwrap_or_else(|_| {
            Err(failed(kind, "start a thread", path)(io::Error::other("it panicked")))
        })
    });
    if made.is_err() {
        // Nothing is mounted on it.
        let _ = fs::remove_file(path);
    }
    made
}

/// Holds the namespace that a process of the Pod is in, for an agent whose service manager gave it other mounts than
/// the agent before. Never the device's own.
///
/// # Errors
/// See [`NamespaceError`].
pub fn hold_again(kind: Namespace, path: &Path, pid: u32) -> Result<(), NamespaceError> {
    let file = kind.file();
    let theirs = format!("/proc/{pid}/ns/{file}");
    let id = |name: &str| fs::metadata(name).map(|found| (found.dev(), found.ino()));
    let look = |name: &str| id(name).map_err(failed(kind, "look for the namespace", path));
    if look(&theirs)? == look(&format!("/proc/self/ns/{file}"))? {
        let cause = io::Error::other("its process has the device's own");
        return Err(failed(kind, "hold the namespace", path)(cause));
    }
    File::create(path).map_err(failed(kind, "make a file", path))?;
    mount_bind(&theirs, path)
        .map_err(|errno| failed(kind, "hold the namespace", path)(errno.into()))
}

/// Whether a file is a namespace, and not what is left of one after a reboot.
#[must_use]
pub fn is_held(path: &Path) -> bool {
    // The type's width and sign differ between architectures.
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type as u64 == NSFS_MAGIC)
}

/// Lets go of a namespace and removes its file; it ends with the last process in it. A missing file is a success.
///
/// # Errors
/// See [`NamespaceError`].
pub fn remove(kind: Namespace, path: &Path) -> Result<(), NamespaceError> {
    match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // Nothing is mounted there: another boot's.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
        // Without root there is none; if there is, removing the file tells.
        Err(Errno::PERM) => {}
        Err(errno) => return Err(failed(kind, "unmount the file", path)(errno.into())),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed(kind, "remove the file", path)(error))
        }
        _ => Ok(()),
    }
}

/// Runs on a thread that ends with it.
fn enter_and_hold(kind: Namespace, path: &Path) -> Result<(), NamespaceError> {
    // SAFETY: the call must not unshare FILES, which would invalidate descriptors of other threads. It moves this thread
    // alone into another namespace, and the thread ends after two more steps.
    unsafe { unshare_unsafe(kind.flag()) }
        .map_err(|errno| failed(kind, "make a namespace", path)(errno.into()))?;
    if kind == Namespace::Network {
        loopback::raise().map_err(|errno| failed(kind, "raise loopback", path)(errno.into()))?;
    }
    mount_bind(format!("/proc/thread-self/ns/{}", kind.file()), path)
        .map_err(|errno| failed(kind, "hold the namespace", path)(errno.into()))
}

fn failed(
    kind: Namespace,
    what: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> NamespaceError {
    let path = path.to_owned();
    move |cause| NamespaceError::Io { kind, what, path, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_a_reboot_left_is_no_namespace_and_is_removed() {
        let scratch = tempfile::tempdir().expect("scratch");
        let path = scratch.path().join("network");
        assert!(!is_held(&path));
        File::create(&path).expect("a file");
        assert!(!is_held(&path));
        remove(Namespace::Network, &path).expect("removable");
        remove(Namespace::Network, &path).expect("a missing one is removed already");
    }

    #[test]
    fn an_error_says_what_the_kernel_lacks() {
        let cause = Errno::INVAL.into();
        let error = failed(Namespace::Ipc, "make a namespace", Path::new("/p/ipc"))(cause);
        let text = error.to_string();
        assert!(text.starts_with("could not make a namespace for the pod's IPC at /p/ipc: "));
        assert!(text.ends_with("(is CONFIG_IPC_NS in the kernel?)"), "{text}");
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_network_is_made_once_with_loopback_up_and_leaves_nothing() {
        let scratch = tempfile::tempdir().expect("scratch");
        let path = scratch.path().join("network");
        made_once(Namespace::Network, &path);
        let heard = std::thread::spawn({
            let path = path.clone();
            move || {
                let file = File::open(path).expect("a namespace");
                let kind = rustix::thread::LinkNameSpaceType::Network;
                rustix::thread::move_into_link_name_space(
                    std::os::fd::AsFd::as_fd(&file),
                    Some(kind),
                )
                .expect("root");
                let listener = std::net::TcpListener::bind("127.0.0.1:80").expect("loopback is up");
                std::net::TcpStream::connect("127.0.0.1:80").expect("reachable");
                listener.accept().is_ok()
            }
        });
        assert!(heard.join().expect("no panic"));
        remove(Namespace::Network, &path).expect("removable");
        assert!(!path.exists());
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn an_ipc_namespace_is_made_once_and_leaves_nothing() {
        let scratch = tempfile::tempdir().expect("scratch");
        let path = scratch.path().join("ipc");
        made_once(Namespace::Ipc, &path);
        remove(Namespace::Ipc, &path).expect("removable");
        assert!(!path.exists());
    }

    fn made_once(kind: Namespace, path: &Path) {
        let inode = || fs::metadata(path).map(|found| found.ino());
        make(kind, path).expect("a namespace");
        let first = inode().expect("a file");
        make(kind, path).expect("the same");
        assert_eq!(inode().expect("a file"), first);
        let own = fs::metadata(format!("/proc/self/ns/{}", kind.file())).expect("there").ino();
        assert_ne!(first, own, "it is not the device's");
        let refused = hold_again(kind, &path.with_extension("own"), std::process::id());
        assert!(refused.expect_err("the device's").to_string().contains("the device's own"));
    }
}
