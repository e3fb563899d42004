//! The shim's own mount namespace: the overlay, parts of volumes, the private cgroup2, and memory for what the runtime writes
//! of a `config.json` that is on no disk.
//!
//! Nothing mounted here is visible outside, and everything is gone when the last process of the namespace is,
//! whatever killed it.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::beneath::{self, by_descriptor};
use crate::private::Private;
use crate::spec::{Container, Overlay, SubPath};

/// The runtime's state of one container: a copy of `config.json`, which holds all of an environment, and little else.
const STATE_OPTIONS: &core::ffi::CStr = c"mode=0700,size=32m,nr_inodes=1024";
const UNSWAPPED_OPTIONS: &core::ffi::CStr = c"mode=0700,size=32m,nr_inodes=1024,noswap";

/// Moves the shim into a mount namespace of its own and mounts what the container needs. `private`: its `config.json`, and
/// the directory of the runtime's state.
pub(crate) fn enter(
    container: &Container,
    private: Option<(&Private, &Path)>,
) -> Result<(), String> {
    // SAFETY: only `CLONE_FILES` is dangerous, and it is not among the flags.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.map_err(|errno| {
        format!("could not make a mount namespace: {errno}; containers need root (CAP_SYS_ADMIN)")
    })?;
    // Slave, not private: what the machine unmounts later must not be held busy by this namespace.
    let propagation = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", propagation)
        .map_err(|errno| format!("could not detach the mount namespace: {errno}"))?;
    if container.private_cgroup2 {
        mount_cgroup2()?;
    }
    if let Some((config, state)) = private {
        mount_memory(state)?;
        show_config(config, &container.bundle)?;
    }
    container.sub_paths.iter().try_for_each(show)?;
    container.overlay.as_ref().map_or(Ok(()), mount_overlay)
}

/// Shows a part of a volume at its target, with what is mounted below it.
fn show(part: &SubPath) -> Result<(), String> {
    let SubPath { volume, inner, target } = part;
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        format!("could not {what} {} in {}: {error}", inner.display(), volume.display())
    };
    let found = beneath::open(volume, inner).map_err(|error| failed("open", &error))?;
    let is_dir = beneath::is_dir(&found).map_err(|error| failed("look at", &error))?;
    let parent = target.parent().unwrap_or(Path::new("/"));
    let place = fs::create_dir_all(if is_dir { target } else { parent });
    let place = if is_dir { place } else { place.and_then(|()| fs::write(target, "")) };
    place.map_err(|error| format!("could not make {}: {error}", target.display()))?;
    mount_bind_recursive(by_descriptor(&found), target).map_err(|errno| failed("mount", &errno))
}

/// Mounts memory that is seen in this namespace alone, and goes with it.
fn mount_memory(path: &Path) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| {
        format!("could not mount memory on {}: {error}", path.display())
    };
    fs::create_dir_all(path).map_err(|error| failed(&error))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    // Never swapped to a disk, where the kernel knows such (Linux 6.4).
    let mounted = match mount("tmpfs", path, "tmpfs", flags, UNSWAPPED_OPTIONS) {
        Err(Errno::INVAL) => mount("tmpfs", path, "tmpfs", flags, STATE_OPTIONS),
        mounted => mounted,
    };
    mounted.map_err(|errno| failed(&errno))
}

/// The bundle leads to the memory file for as long as this process has it open.
fn show_config(config: &Private, bundle: &Path) -> Result<(), String> {
    let path = bundle.join("config.json");
    let target = format!("/proc/{}/fd/{}", std::process::id(), config.as_raw());
    // A start that was cut short may have left one.
    let _ = fs::remove_file(&path);
    std::os::unix::fs::symlink(target, &path)
        .map_err(|error| format!("could not make {}: {error}", path.display()))
}

fn mount_cgroup2() -> Result<(), String> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", flags, None)
        .map_err(|errno| format!("could not mount cgroup2 on /sys/fs/cgroup: {errno}"))
}

/// Directories are named to the kernel by descriptor. So the options fit one page however long the paths
/// are, and a `:` or `,` in a path means nothing.
fn mount_overlay(overlay: &Overlay) -> Result<(), String> {
    for dir in [&overlay.upper, &overlay.work, &overlay.target] {
        fs::create_dir_all(dir)
            .map_err(|error| format!("could not make {}: {error}", dir.display()))?;
    }
    let layers = layers(overlay)?;
    let upper = open(&overlay.upper)?;
    let work = open(&overlay.work)?;
    let target = open(&overlay.target)?;
    let named = |fd| by_descriptor(fd).to_string_lossy().into_owned();
    let lower: Vec<String> = layers.iter().map(named).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}\0",
        lower.join(":"),
        named(&upper),
        named(&work)
    );
    let options = core::ffi::CStr::from_bytes_with_nul(options.as_bytes())
        .map_err(|_| "the overlay's options contain a NUL byte".to_owned())?;
    mount("overlay", by_descriptor(&target), "overlay", MountFlags::NODEV, options).map_err(
        |errno| {
            format!(
                "could not mount an overlay of {} layers on {}: {errno}; \
                 the kernel's log says more, and `modprobe overlay` helps where it is a module",
                layers.len(),
                overlay.target.display()
            )
        },
    )
}

/// Opens the layers. A layer that occurs again further down is left out there: everything in it is hidden by
/// its first occurrence, and the kernel refuses one directory twice.
fn layers(overlay: &Overlay) -> Result<Vec<OwnedFd>, String> {
    let mut seen: Vec<&PathBuf> = Vec::new();
    let mut open_layers = Vec::new();
    for layer in &overlay.lower {
        if !seen.contains(&layer) {
            seen.push(layer);
            open_layers.push(open(layer)?);
        }
    }
    Ok(open_layers)
}

fn open(path: &Path) -> Result<OwnedFd, String> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(|errno| format!("could not open the directory {}: {errno}", path.display()))
}
