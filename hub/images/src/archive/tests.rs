//! Tar files, well made and hostile.

use std::io::Write;

use proptest::prelude::*;

use super::*;

fn open(bytes: &[u8]) -> Result<Archive, ArchiveError> {
    let mut file = tempfile::tempfile().expect("temporary file");
    file.write_all(bytes).expect("write");
    Archive::open(file)
}

fn header(kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header
}

fn tar(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    build(&mut builder);
    builder.into_inner().expect("finish")
}

fn add(builder: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) {
    let mut header = header(tar::EntryType::Regular, content.len() as u64);
    builder.append_data(&mut header, path, content).expect("append");
}

#[test]
fn files_are_read_in_place_also_with_long_names_and_links() {
    let long = format!("{}/layer.tar", "d".repeat(120));
    let bytes = tar(|builder| {
        add(builder, "./index.json", b"{}");
        add(builder, &long, b"long");
        let mut link = header(tar::EntryType::Symlink, 0);
        builder.append_link(&mut link, "x/layer.tar", "../index.json").expect("link");
    });
    let archive = open(&bytes).expect("open");
    assert_eq!(archive.read("index.json", 9).expect("plain"), b"{}");
    assert_eq!(archive.read(&long, 9).expect("long name"), b"long");
    assert_eq!(archive.read("x/layer.tar", 9).expect("link"), b"{}");
    assert!(matches!(archive.read("index.json", 1), Err(ArchiveError::TooLarge { len: 2, .. })));
    assert!(matches!(archive.read("none", 1), Err(ArchiveError::Missing(_))));
}

#[test]
fn pax_records_name_and_size_the_next_entry() {
    let bytes = tar(|builder| {
        builder.append_pax_extensions([("path", b"real".as_slice()), ("size", b"3")]).expect("pax");
        // The plain header's size of 0 must not count.
        let mut entry = header(tar::EntryType::Regular, 0);
        entry.set_path("fake").expect("path");
        entry.set_cksum();
        builder.append(&entry, io::empty()).expect("append");
        builder.get_mut().extend_from_slice(b"abc");
        builder.get_mut().resize(512 * 4, 0);
        add(builder, "after", b"x");
    });
    let archive = open(&bytes).expect("open");
    assert_eq!(archive.read("real", 9).expect("real"), b"abc");
    assert_eq!(archive.read("after", 9).expect("after"), b"x");
    assert!(!archive.contains("fake"));
}

#[test]
fn paths_and_links_cannot_leave_the_archive() {
    let bytes = tar(|builder| {
        for (name, target) in
            [("a", "/etc/passwd"), ("b", "../../etc/passwd"), ("c", "d"), ("d", "c")]
        {
            let mut link = header(tar::EntryType::Symlink, 0);
            builder.append_link(&mut link, name, target).expect("link");
        }
        let mut entry = header(tar::EntryType::Regular, 1);
        entry.as_mut_bytes()[..8].copy_from_slice(b"../evil\0");
        entry.set_cksum();
        builder.append(&entry, b"x".as_slice()).expect("append");
    });
    let archive = open(&bytes).expect("open");
    for name in ["a", "b", "c", "d", "../evil", "evil", "/etc/passwd"] {
        assert!(!archive.contains(name), "{name}");
    }
}

#[test]
fn declared_lengths_are_believed_only_inside_the_file() {
    let mut huge = header(tar::EntryType::Regular, 0);
    huge.set_path("huge").expect("path");
    huge.set_size(u64::MAX);
    huge.set_cksum();
    assert!(matches!(open(huge.as_bytes()), Err(ArchiveError::CutOff(name)) if name == "huge"));

    let mut name = header(tar::EntryType::GNULongName, 1 << 20);
    name.set_cksum();
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(512 + (1 << 20), b'a');
    assert!(matches!(open(&bytes), Err(ArchiveError::LongName(len)) if len == 1 << 20));
    assert!(matches!(open(&[1; 512]), Err(ArchiveError::Damaged(0))));
    assert!(matches!(open(&[0; 100]), Err(ArchiveError::Damaged(0))));
}

#[test]
fn the_number_of_entries_is_bounded() {
    let mut entry = header(tar::EntryType::Directory, 0);
    entry.set_path("d").expect("path");
    entry.set_cksum();
    let bytes = entry.as_bytes().repeat(MAX_ENTRIES + 1);
    assert!(matches!(open(&bytes), Err(ArchiveError::TooMany)));
}

proptest! {
    #[test]
    fn any_bytes_are_indexed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let _ = open(&bytes);
    }

    #[test]
    fn a_damaged_archive_never_panics(at in 0usize..3072, byte: u8) {
        let mut bytes = tar(|builder| {
            builder.append_pax_extensions([("path", b"p".as_slice()), ("size", b"2")]).expect("pax");
            add(builder, "one", b"12");
            add(builder, &"n".repeat(150), b"two");
        });
        let at = at % bytes.len();
        bytes[at] = byte;
        // With a right checksum the damage gets past the first defence.
        let block = at / 512 * 512;
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(&bytes[block..block + 512]);
        header.set_cksum();
        bytes[block..block + 512].copy_from_slice(header.as_bytes());
        if let Ok(archive) = open(&bytes) {
            for path in archive.files.keys() {
                let mut content = Vec::new();
                let blob = archive.reader(path).expect("indexed");
                prop_assert!(blob.len <= bytes.len() as u64);
                blob.reader.take(1 << 20).read_to_end(&mut content).expect("read");
                prop_assert_eq!(content.len() as u64, blob.len);
            }
        }
    }
}
