//! What only root can unpack: owners, capabilities, device nodes and overlayfs' whiteouts.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lichen_oci::Digest;
use lichen_oci::image::Compression;
use lichen_oci::layers::{LayerStore, Limits};
use rustix::fs::lgetxattr;
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

const FILE: EntryType = EntryType::Regular;
const DIR: EntryType = EntryType::Directory;

fn header(kind: EntryType, name: &str, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o4755);
    header.set_uid(1000);
    header.set_gid(100);
    header.set_size(size as u64);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    header
}

/// Unpacks a layer of empty entries into a store below `scratch`.
fn unpack(scratch: &Path, entries: &[(EntryType, &str)]) -> PathBuf {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, name) in entries {
        builder.append(&header(*kind, name, 0), &[][..]).expect("append");
    }
    unpack_bytes(scratch, &builder.into_inner().expect("tar"))
}

fn unpack_bytes(scratch: &Path, bytes: &[u8]) -> PathBuf {
    let store = LayerStore::open(scratch.join("layers")).expect("store");
    let id = Digest::from_bytes(Sha256::digest(bytes).into());
    store.unpack(bytes, Compression::None, &id, Limits::default()).expect("unpacked");
    store.path(&id)
}

fn is_whiteout(path: PathBuf) -> bool {
    let found = path.symlink_metadata().expect("an entry");
    found.file_type().is_char_device() && found.rdev() == 0
}

fn is_opaque(path: PathBuf) -> bool {
    let mut value = [0; 8];
    let read = lgetxattr(path, "trusted.overlay.opaque", &mut value);
    read.is_ok_and(|length| &value[..length] == b"y")
}

#[test]
#[ignore = "needs root: run by make test"]
fn owners_set_id_bits_and_capabilities_survive() {
    let scratch = tempfile::tempdir().expect("scratch");
    // Revision 2 with cap_net_raw and, in the permitted set, the bits of a line feed.
    let capability = [1, 0, 0, 2, 0x0a, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut builder = tar::Builder::new(Vec::new());
    let records = [
        ("SCHILY.xattr.security.capability", &capability[..]),
        ("SCHILY.xattr.trusted.overlay.redirect", &b"/elsewhere"[..]),
    ];
    builder.append_pax_extensions(records).expect("append");
    builder.append(&header(FILE, "ping", 0), &[][..]).expect("append");
    let path = unpack_bytes(scratch.path(), &builder.into_inner().expect("tar")).join("ping");
    let found = path.metadata().expect("ping");
    assert_eq!((found.uid(), found.gid()), (1000, 100));
    assert_eq!(found.permissions().mode() & 0o7777, 0o4755);
    let mut value = [0; 64];
    let length = lgetxattr(&path, "security.capability", &mut value).expect("a capability");
    assert_eq!(&value[..length], capability);
    assert!(lgetxattr(&path, "trusted.overlay.redirect", &mut value).is_err());
}

#[test]
#[ignore = "needs root: run by make test"]
fn whiteouts_hide_lower_layers_wherever_they_stand_in_the_archive() {
    let scratch = tempfile::tempdir().expect("scratch");
    let path = unpack(
        scratch.path(),
        &[
            (FILE, ".wh.plain"),
            (DIR, "opaque"),
            (FILE, "opaque/own"),
            (FILE, "opaque/.wh..wh..opq"),
            (FILE, ".wh.before"),
            (DIR, "before"),
            (FILE, ".wh.implied"),
            (FILE, "implied/file"),
            (DIR, "after"),
            (FILE, ".wh.after"),
            (FILE, "file"),
            (FILE, ".wh.file"),
            (FILE, ".wh.replaced"),
            (FILE, "replaced"),
            (FILE, ".wh..wh.plnk"),
        ],
    );
    assert!(is_whiteout(path.join("plain")));
    for directory in ["opaque", "before", "implied", "after"] {
        assert!(is_opaque(path.join(directory)), "{directory}");
    }
    assert!(path.join("opaque/own").is_file() && path.join("implied/file").is_file());
    assert!(path.join("file").is_file() && path.join("replaced").is_file());
    let names = fs::read_dir(&path).expect("layer").flatten().map(|entry| entry.file_name());
    assert!(names.into_iter().all(|name| !name.as_encoded_bytes().starts_with(b".wh.")));
}

#[test]
#[ignore = "needs root: run by make test"]
fn device_nodes_are_made_and_belong_to_their_owner() {
    let scratch = tempfile::tempdir().expect("scratch");
    let mut device = header(EntryType::Char, "null", 0);
    device.set_device_major(1).expect("major");
    device.set_device_minor(3).expect("minor");
    device.set_cksum();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append(&device, &[][..]).expect("append");
    let path = unpack_bytes(scratch.path(), &builder.into_inner().expect("tar")).join("null");
    let found = path.metadata().expect("null");
    assert!(found.file_type().is_char_device());
    assert_eq!((found.rdev(), found.uid()), (rustix::fs::makedev(1, 3), 1000));
}

#[test]
#[ignore = "needs root and mount namespaces: run by make test"]
fn removing_a_tree_stops_at_a_mount_and_leaves_what_is_mounted() {
    let scratch = tempfile::tempdir().expect("scratch");
    let (run, volume) = (scratch.path().join("run"), scratch.path().join("volume"));
    fs::create_dir_all(run.join("upper/deep/mounted")).expect("run directory");
    fs::create_dir(&volume).expect("volume");
    fs::write(volume.join("precious"), "kept").expect("file");
    let target = run.join("upper/deep/mounted");
    rustix::mount::mount_bind(&volume, &target).expect("bind mount");
    let error = lichen_oci::bundle::remove_run_dir(&run).expect_err("it is mounted");
    assert!(error.to_string().contains("still mounted"), "{error}");
    // Wherever the removal has moved the directory to, the mount went with it.
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let run_text = run.display().to_string();
    let inside = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    for mount in inside.filter(|mount| mount.starts_with(&run_text)) {
        rustix::mount::unmount(mount, rustix::mount::UnmountFlags::DETACH).expect("unmounted");
    }
    assert_eq!(fs::read_to_string(volume.join("precious")).expect("file"), "kept");
    lichen_oci::bundle::remove_run_dir(&run).expect("removed");
    assert!(!run.exists());
}
