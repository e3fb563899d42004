//! A Pod's network namespace: made once, held by a bind mount on a file, joined by each of its containers.
//!
//! No process holds it, so it outlives the agent and every shim. It goes when its file is removed, or with the boot:
//! the file is then there and no namespace behind it, which [`is_network`] tells.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// `NSFS_MAGIC` of linux/magic.h: the file system that namespaces are files of.
const NSFS_MAGIC: u64 = 0x6e73_6673;
/// The thread that makes a namespace nests nothing.
const STACK_BYTES: usize = 64 * 1024;

/// Why a Pod has no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A step failed.
    #[error("could not {what} for the pod's network at {path}: {cause}{hint}", path = path.display(), hint = hint(cause))]
    Io {
        /// The step.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

fn hint(cause: &io::Error) -> &'static str {
    match Errno::from_io_error(cause) {
        Some(Errno::PERM) => " (network namespaces need root)",
        Some(Errno::INVAL) => " (is CONFIG_NET_NS in the kernel?)",
        _ => "",
    }
}

/// Makes a network namespace with nothing but loopback, unless `path` holds one already.
///
/// # Errors
/// See [`NetworkError`].
pub fn make_network(path: &Path) -> Result<(), NetworkError> {
    if is_network(path) {
        return Ok(());
    }
    File::create(path).map_err(failed("make a file", path))?;
    let made = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("pod-network".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || enter_and_hold(path))
            .map_err(failed("start a thread", path))?;
        thread.join().unwrap_or_else(|_| {
            Err(failed("start a thread", path)(io::Error::other("it panicked")))
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
/// See [`NetworkError`].
pub fn hold_again(path: &Path, pid: u32) -> Result<(), NetworkError> {
    let theirs = format!("/proc/{pid}/ns/net");
    let id = |name: &str| fs::metadata(name).map(|found| (found.dev(), found.ino()));
    let look = |name| id(name).map_err(failed("look for the namespace", path));
    if look(&theirs)? == look("/proc/self/ns/net")? {
        let cause = io::Error::other("its process is on the device's own network");
        return Err(failed("hold the namespace", path)(cause));
    }
    File::create(path).map_err(failed("make a file", path))?;
    mount_bind(&theirs, path).map_err(|errno| failed("hold the namespace", path)(errno.into()))
}

/// Whether a file is a namespace, and not what is left of one after a reboot.
#[must_use]
pub fn is_network(path: &Path) -> bool {
    // The type's width and sign differ between architectures.
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type as u64 == NSFS_MAGIC)
}

/// Lets go of a namespace and removes its file; it ends with the last process in it. A missing file is a success.
///
/// # Errors
/// See [`NetworkError`].
pub fn remove_network(path: &Path) -> Result<(), NetworkError> {
    match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // Nothing is mounted there: another boot's.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
        // Without root there is none; if there is, removing the file tells.
        Err(Errno::PERM) => {}
        Err(errno) => return Err(failed("unmount the file", path)(errno.into())),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove the file", path)(error))
        }
        _ => Ok(()),
    }
}

/// Runs on a thread that ends with it.
fn enter_and_hold(path: &Path) -> Result<(), NetworkError> {
    // SAFETY: the call must not unshare FILES, which would invalidate descriptors of other threads. It moves this thread
    // alone into another network namespace, and the thread ends after two more steps.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
        .map_err(|errno| failed("make a namespace", path)(errno.into()))?;
    raise_loopback().map_err(|errno| failed("raise loopback", path)(errno.into()))?;
    mount_bind("/proc/thread-self/ns/net", path)
        .map_err(|errno| failed("hold the namespace", path)(errno.into()))
}

/// Asks the kernel over netlink to set loopback up; it gives itself 127.0.0.1 and ::1 then. See rtnetlink(7).
fn raise_loopback() -> rustix::io::Result<()> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    send(&socket, &loopback_up(), SendFlags::empty())?;
    let mut answer = [0; 256];
    let (_, length) = recv(&socket, &mut answer, RecvFlags::empty())?;
    match acknowledgement(&answer[..length.min(answer.len())]) {
        Some(0) => Ok(()),
        Some(errno) => Err(Errno::from_raw_os_error(-errno)),
        None => Err(Errno::BADMSG),
    }
}

/// `RTM_NEWLINK` for the first interface of the namespace, which is loopback, with `IFF_UP`.
fn loopback_up() -> [u8; 32] {
    const LENGTH: u32 = 32;
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_ACK: u16 = 0x1 | 0x4;
    const LOOPBACK: i32 = 1;
    const IFF_UP: u32 = 1;
    let mut message = [0; LENGTH as usize];
    message[..4].copy_from_slice(&LENGTH.to_ne_bytes());
    message[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message[6..8].copy_from_slice(&NLM_F_REQUEST_ACK.to_ne_bytes());
    // Sequence and port stay 0, and so do family, padding and type of the interface.
    message[20..24].copy_from_slice(&LOOPBACK.to_ne_bytes());
    message[24..28].copy_from_slice(&IFF_UP.to_ne_bytes());
    message[28..32].copy_from_slice(&IFF_UP.to_ne_bytes());
    message
}

/// The number in an `NLMSG_ERROR`: 0, or an error as a negative number.
fn acknowledgement(answer: &[u8]) -> Option<i32> {
    const NLMSG_ERROR: [u8; 2] = 2_u16.to_ne_bytes();
    let number = answer.get(16..20).filter(|_| answer[4..6] == NLMSG_ERROR)?;
    number.try_into().ok().map(i32::from_ne_bytes)
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NetworkError {
    let path = path.to_owned();
    move |cause| NetworkError::Io { what, path, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_a_reboot_left_is_no_network_and_is_removed() {
        let scratch = tempfile::tempdir().expect("scratch");
        let path = scratch.path().join("network");
        assert!(!is_network(&path));
        File::create(&path).expect("a file");
        assert!(!is_network(&path));
        remove_network(&path).expect("removable");
        remove_network(&path).expect("a missing one is removed already");
    }

    #[test]
    fn answers_that_are_cut_or_something_else_are_no_acknowledgement() {
        let mut answer = [0; 36];
        answer[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        answer[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(acknowledgement(&answer), Some(-1));
        assert_eq!(acknowledgement(&answer[..19]), None);
        assert_eq!(acknowledgement(&[]), None);
        assert_eq!(acknowledgement(&[0; 36]), None);
    }

    #[test]
    #[ignore = "needs root: run by make test"]
    fn a_network_is_made_once_with_loopback_up_and_leaves_nothing() {
        let scratch = tempfile::tempdir().expect("scratch");
        let path = scratch.path().join("network");
        let inode = || fs::metadata(&path).map(|found| found.ino());
        make_network(&path).expect("a network");
        let first = inode().expect("a file");
        make_network(&path).expect("the same");
        assert_eq!(inode().expect("a file"), first);
        let own = hold_again(&scratch.path().join("own"), std::process::id());
        assert!(own.expect_err("the device's").to_string().contains("own network"));
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
        remove_network(&path).expect("removable");
        assert!(!path.exists());
    }
}
