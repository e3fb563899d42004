//! Unpacking layers: what is placed, what is refused, and that nothing leaves the store. Needs no root.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use lichen_oci::Digest;
use lichen_oci::image::Compression;
use lichen_oci::layers::{LayerError, LayerStore, Limits};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

/// One entry of a hand-made layer: kind, name, and data or link target.
type Row<'a> = (EntryType, &'a str, &'a str);

fn layer(rows: &[Row<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, name, data) in rows {
        let mut header = Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(if *kind == EntryType::Directory { 0o755 } else { 0o640 });
        header.set_mtime(1_000_000);
        // Straight into the bytes: the crate's own setters refuse what these tests are about.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        let is_file = *kind == EntryType::Regular;
        if !is_file {
            header.as_old_mut().linkname[..data.len()].copy_from_slice(data.as_bytes());
        }
        header.set_size(if is_file { data.len() as u64 } else { 0 });
        header.set_cksum();
        builder.append(&header, if is_file { data.as_bytes() } else { &[] }).expect("append");
    }
    builder.into_inner().expect("tar")
}

fn diff_id(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

/// A store inside a directory that would show what escapes from it.
struct Scratch {
    directory: tempfile::TempDir,
    store: LayerStore,
}

impl Scratch {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("scratch");
        let store = LayerStore::open(directory.path().join("store/layers")).expect("store");
        fs::write(directory.path().join("outside"), "untouched").expect("outside");
        Self { directory, store }
    }

    fn unpack(&self, bytes: &[u8]) -> Result<std::path::PathBuf, LayerError> {
        let id = diff_id(bytes);
        self.store.unpack(bytes, Compression::None, &id, Limits::default())?;
        Ok(self.store.path(&id))
    }

    /// Nothing but the store and the witness exist, and no leftover is in the store.
    fn assert_contained(&self) {
        assert_eq!(names(self.directory.path()), ["outside", "store"]);
        assert_eq!(names(&self.directory.path().join("store")), ["layers"]);
        let outside = fs::read_to_string(self.directory.path().join("outside"));
        assert_eq!(outside.expect("outside"), "untouched");
        assert_eq!(self.store.sweep_partial().expect("sweep"), 0);
    }

    fn refusal(&self, rows: &[Row<'_>]) -> String {
        let error = self.unpack(&layer(rows)).expect_err("refused").to_string();
        self.assert_contained();
        assert_eq!(self.store.list().expect("list"), []);
        error
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("directory");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("entry").file_name().into_string().expect("name"))
        .collect();
    names.sort();
    names
}

const FILE: EntryType = EntryType::Regular;
const DIR: EntryType = EntryType::Directory;
const LINK: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;

#[test]
fn files_links_and_directories_are_placed_as_the_archive_says() {
    let scratch = Scratch::new();
    let path = scratch
        .unpack(&layer(&[
            (DIR, "./", ""),
            (DIR, "./etc/", ""),
            (FILE, "./etc/name", "first"),
            (FILE, "/etc/name", "second"),
            (FILE, "no/parents/here", "x"),
            (LINK, "link", "etc/name"),
            (HARD, "hard", "etc/name"),
            (EntryType::Fifo, "fifo", ""),
            (FILE, "etc/empty", ""),
        ]))
        .expect("unpacked");
    assert_eq!(fs::read_to_string(path.join("etc/name")).expect("file"), "second");
    assert_eq!(fs::read_to_string(path.join("no/parents/here")).expect("file"), "x");
    assert_eq!(fs::read_link(path.join("link")).expect("link"), Path::new("etc/name"));
    let (file, hard) = (path.join("etc/name").metadata(), path.join("hard").metadata());
    let (file, hard) = (file.expect("file"), hard.expect("hard"));
    assert_eq!(file.ino(), hard.ino());
    assert_eq!((file.permissions().mode() & 0o7777, file.mtime()), (0o640, 1_000_000));
    assert_eq!(names(&path), ["etc", "fifo", "hard", "link", "no"]);
    scratch.assert_contained();
}

#[test]
fn a_gzip_layer_in_several_members_is_one_layer() {
    let scratch = Scratch::new();
    let bytes = layer(&[(FILE, "a", "data"), (FILE, "b", "more")]);
    let mut blob = Vec::new();
    for part in bytes.chunks(700) {
        let mut encoder = flate2::write::GzEncoder::new(&mut blob, flate2::Compression::fast());
        encoder.write_all(part).expect("gzip");
        encoder.finish().expect("gzip");
    }
    let id = diff_id(&bytes);
    let unpacked = scratch.store.unpack(blob.as_slice(), Compression::Gzip, &id, Limits::default());
    let unpacked = unpacked.expect("unpacked");
    assert_eq!((unpacked.bytes, unpacked.entries), (bytes.len() as u64, 2));
    assert_eq!(scratch.store.list().expect("list"), [id]);
    assert!(scratch.store.has(&id));
    let again = scratch.store.unpack(&b"never read"[..], Compression::Gzip, &id, Limits::default());
    assert_eq!(again.expect("there already").entries, 0);
}

#[test]
fn paths_that_leave_the_layer_are_refused() {
    for name in ["../x", "a/../../x", "..", "a/..", "../../../../../../outside"] {
        let error = Scratch::new().refusal(&[(FILE, name, "evil")]);
        assert!(error.contains("leaves the layer with \"..\""), "{name}: {error}");
    }
}

#[test]
fn a_file_through_an_absolute_symlink_lands_inside_the_layer() {
    let scratch = Scratch::new();
    let outside = scratch.directory.path().display().to_string();
    let inside = outside.trim_start_matches('/').to_owned();
    let path = scratch
        .unpack(&layer(&[
            (LINK, "link", &outside),
            (FILE, "link/outside", "evil"),
            (LINK, "up", "../../../.."),
            (FILE, "up/top", "x"),
        ]))
        .expect("unpacked");
    assert_eq!(fs::read_to_string(path.join(inside).join("outside")).expect("file"), "evil");
    assert_eq!(fs::read_to_string(path.join("top")).expect("file"), "x");
    scratch.assert_contained();
}

#[test]
fn a_file_never_writes_through_a_link_of_its_own_name() {
    let scratch = Scratch::new();
    let outside = scratch.directory.path().join("outside").display().to_string();
    let rows = [(LINK, "name", outside.as_str()), (FILE, "name", "own"), (DIR, "name", "")];
    let path = scratch.unpack(&layer(&rows[..2])).expect("unpacked");
    assert_eq!(fs::read_to_string(path.join("name")).expect("file"), "own");
    let path = scratch.unpack(&layer(&[rows[0], rows[2]])).expect("unpacked");
    assert!(path.join("name").symlink_metadata().expect("name").is_dir());
    scratch.assert_contained();
}

#[test]
fn hard_links_reach_only_files_of_the_layer() {
    let outside = Scratch::new().directory.path().join("outside").display().to_string();
    let error = Scratch::new().refusal(&[(HARD, "x", &outside)]);
    assert!(error.contains("hard link to a file that is not in its layer"), "{error}");
    let error = Scratch::new().refusal(&[(HARD, "x", "../outside")]);
    assert!(error.contains("leaves the layer"), "{error}");
    let error = Scratch::new().refusal(&[(LINK, "l", "/"), (HARD, "x", "l/nothing")]);
    assert!(error.contains("not in its layer"), "{error}");
}

#[test]
fn loops_of_symlinks_end() {
    let error = Scratch::new().refusal(&[(LINK, "a", "b"), (LINK, "b", "a"), (FILE, "a/x", "")]);
    assert!(error.contains("too many symlinks"), "{error}");
    let deep = "d/".repeat(49);
    let rows = [
        (LINK, "l", deep.as_str()),
        (LINK, "l/l", &deep),
        (LINK, "l/l/l", &deep),
        (FILE, "l/l/l/x", ""),
    ];
    let error = Scratch::new().refusal(&rows);
    assert!(error.contains("nested too deeply"), "{error}");
}

#[test]
fn whiteouts_of_nothing_are_refused() {
    for name in [".wh.", "a/.wh..", ".wh..."] {
        let error = Scratch::new().refusal(&[(FILE, name, "")]);
        assert!(error.contains("is a whiteout of no file"), "{name}: {error}");
    }
}

#[test]
fn a_device_that_would_hide_a_file_is_refused() {
    let error = Scratch::new().refusal(&[(EntryType::Char, "dev/x", "")]);
    assert!(error.contains("device 0:0"), "{error}");
}

#[test]
fn directories_that_a_path_implies_count_as_entries() {
    let scratch = Scratch::new();
    let (deep, wide) = (["d"; 40].join("/"), ["e"; 40].join("/"));
    let bytes = layer(&[(FILE, &deep, ""), (FILE, &wide, "")]);
    let id = diff_id(&bytes);
    let unpack = |entries| {
        let limits = Limits { bytes: 1 << 20, entries };
        scratch.store.unpack(bytes.as_slice(), Compression::None, &id, limits)
    };
    let error = unpack(79).expect_err("limited").to_string();
    assert!(error.contains("more than 79 entries"), "{error}");
    scratch.assert_contained();
    unpack(80).expect("39 directories and a file, twice");
}

#[test]
fn limits_stop_before_the_disk_is_full() {
    let bytes = layer(&[(FILE, "a", &"x".repeat(5000)), (FILE, "b", "")]);
    let id = diff_id(&bytes);
    let cases = [
        (Limits { bytes: 4096, entries: 10 }, "more than 4096 bytes"),
        (Limits { bytes: 1 << 20, entries: 1 }, "more than 1 entries"),
        (Limits { bytes: bytes.len() as u64 - 1, entries: 10 }, "bytes, the limit of this device"),
    ];
    for (limits, expected) in cases {
        let scratch = Scratch::new();
        let error = scratch.store.unpack(bytes.as_slice(), Compression::None, &id, limits);
        let error = error.expect_err("limited").to_string();
        assert!(error.contains(expected), "{error}");
        scratch.assert_contained();
    }
}

#[test]
fn a_layer_with_another_digest_is_never_complete() {
    let scratch = Scratch::new();
    let bytes = layer(&[(FILE, "a", "")]);
    let wrong = diff_id(b"something else");
    let result =
        scratch.store.unpack(bytes.as_slice(), Compression::None, &wrong, Limits::default());
    assert!(matches!(result, Err(LayerError::DiffId { found, .. }) if found == diff_id(&bytes)));
    assert!(!scratch.store.has(&wrong));
    scratch.assert_contained();
}

#[test]
fn truncated_layers_are_never_complete() {
    let bytes = layer(&[(DIR, "d", ""), (FILE, "d/a", &"x".repeat(3000)), (FILE, "b", "y")]);
    let id = diff_id(&bytes);
    for length in (0..bytes.len()).step_by(256) {
        let scratch = Scratch::new();
        let cut = &bytes[..length];
        assert!(scratch.store.unpack(cut, Compression::None, &id, Limits::default()).is_err());
        assert!(!scratch.store.has(&id));
        scratch.assert_contained();
    }
}

#[test]
fn an_archive_without_its_last_padding_is_whole() {
    // umoci writes such layers: the last file's data ends the stream.
    let scratch = Scratch::new();
    let bytes = layer(&[(FILE, "a", "data"), (FILE, "b", "more")]);
    let cut = &bytes[..3 * 512 + 4];
    let path = scratch.unpack(cut).expect("unpacked");
    assert_eq!(fs::read_to_string(path.join("b")).expect("file"), "more");
}

#[test]
fn zstd_is_refused_with_a_way_out() {
    let scratch = Scratch::new();
    let id = diff_id(b"");
    let error = scratch.store.unpack(&b""[..], Compression::Zstd, &id, Limits::default());
    assert!(error.expect_err("zstd").to_string().contains("push the image with gzip layers"));
    scratch.assert_contained();
}

#[test]
fn leftovers_of_a_power_loss_are_swept_and_layers_stay() {
    let scratch = Scratch::new();
    let path = scratch.unpack(&layer(&[(FILE, "a", "kept")])).expect("unpacked");
    let leftover = path.with_file_name(format!("{}.partial-1-0", "ab".repeat(32)));
    fs::create_dir_all(leftover.join("deep/er")).expect("leftover");
    assert_eq!(scratch.store.list().expect("list").len(), 1);
    assert_eq!(scratch.store.sweep_partial().expect("sweep"), 1);
    assert!(!leftover.exists());
    assert_eq!(fs::read_to_string(path.join("a")).expect("kept"), "kept");
}

#[test]
fn a_removed_layer_is_gone_and_removing_it_again_is_fine() {
    let scratch = Scratch::new();
    let bytes = layer(&[(DIR, "a", ""), (FILE, "a/b", "x")]);
    let path = scratch.unpack(&bytes).expect("unpacked");
    scratch.store.remove_layer(&diff_id(&bytes)).expect("removed");
    scratch.store.remove_layer(&diff_id(&bytes)).expect("removed already");
    assert!(!path.exists());
    scratch.assert_contained();
}

/// Names and targets that meet each other, inside and out.
fn name() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "b", "c", "..", ".", "", ".wh.a", ".wh..."]);
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

fn kind() -> impl Strategy<Value = EntryType> {
    prop::sample::select(vec![FILE, DIR, LINK, LINK, HARD, EntryType::Fifo])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_archive_writes_outside_its_layer(
        rows in prop::collection::vec((kind(), name(), name()), 1..12)
    ) {
        let scratch = Scratch::new();
        let rows: Vec<Row<'_>> =
            rows.iter().map(|(kind, name, data)| (*kind, name.as_str(), data.as_str())).collect();
        let _ = scratch.unpack(&layer(&rows));
        scratch.assert_contained();
    }

    #[test]
    fn damaged_archives_never_panic_or_escape(
        rows in prop::collection::vec((kind(), name(), name()), 1..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let scratch = Scratch::new();
        let rows: Vec<Row<'_>> =
            rows.iter().map(|(kind, name, data)| (*kind, name.as_str(), data.as_str())).collect();
        let mut bytes = layer(&rows);
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let _ = scratch.unpack(&bytes);
        scratch.assert_contained();
    }
}
