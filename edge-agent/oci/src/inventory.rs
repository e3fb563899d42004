//! What an unpacked layer held when it was whole: its entries with their sizes and checksums, written beside it, so that damage
//! by a worn disk is seen. It guards against chance, not against somebody who writes to the disk on purpose.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use flate2::{Compression, Crc, read::GzDecoder, write::GzEncoder};
use rustix::fs::OFlags;

/// Says what follows.
const MAGIC: &[u8; 4] = b"LTR1";
/// No path is longer.
const MAX_PATH: u32 = 4096;
/// Read at a time.
const BLOCK_BYTES: usize = 64 * 1024;

/// How closely a tree is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// That every entry is there, is what it was, and is as long.
    Sizes,
    /// Every byte.
    Bytes,
}

/// Called with the number of bytes that were read, before more are: may take its time.
pub type Pace<'a> = &'a mut dyn FnMut(usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Facts {
    kind: u8,
    size: u64,
    crc: u32,
}

const DIRECTORY: u8 = b'd';
const FILE: u8 = b'f';
const LINK: u8 = b'l';
const OTHER: u8 = b'o';

/// Makes the record of a tree.
pub(crate) fn take(root: &Path) -> io::Result<Vec<u8>> {
    let mut record = GzEncoder::new(Vec::new(), Compression::fast());
    record.write_all(MAGIC)?;
    let mut below = vec![PathBuf::new()];
    while let Some(dir) = below.pop() {
        for entry in fs::read_dir(root.join(&dir))? {
            let path = dir.join(entry?.file_name());
            let facts = look(&root.join(&path), Depth::Bytes, &mut |_| {})?;
            let bytes = path.as_os_str().as_bytes();
            record.write_all(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes())?;
            record.write_all(bytes)?;
            record.write_all(&[facts.kind])?;
            record.write_all(&facts.size.to_le_bytes())?;
            record.write_all(&facts.crc.to_le_bytes())?;
            if facts.kind == DIRECTORY {
                below.push(path);
            }
        }
    }
    record.finish()
}

/// Why a tree is not what its record says.
#[derive(Debug)]
pub(crate) enum Mismatch {
    /// The record itself says nothing.
    Record,
    /// In words.
    Tree(String),
}

/// Holds a tree against its record.
pub(crate) fn check(
    root: &Path,
    record: &[u8],
    depth: Depth,
    pace: Pace<'_>,
) -> Result<(), Mismatch> {
    let unreadable = |_| Mismatch::Record;
    let mut record = GzDecoder::new(record);
    let mut magic = [0; 4];
    record.read_exact(&mut magic).map_err(unreadable)?;
    if &magic != MAGIC {
        return Err(Mismatch::Record);
    }
    while let Some((path, expected)) = next(&mut record).map_err(unreadable)? {
        let full = root.join(OsStr::from_bytes(&path));
        let named =
            |why: String| Mismatch::Tree(format!("{}: {why}", String::from_utf8_lossy(&path)));
        let found = look(&full, depth, pace).map_err(|error| named(error.to_string()))?;
        if found.kind != expected.kind {
            return Err(named("it is of another kind".to_owned()));
        }
        if found.size != expected.size {
            return Err(named(format!("{} bytes instead of {}", found.size, expected.size)));
        }
        if depth == Depth::Bytes && found.crc != expected.crc {
            return Err(named("its bytes are other ones".to_owned()));
        }
    }
    Ok(())
}

fn next(record: &mut impl Read) -> io::Result<Option<(Vec<u8>, Facts)>> {
    let mut length = [0; 4];
    match record.read(&mut length[..1])? {
        0 => return Ok(None),
        _ => record.read_exact(&mut length[1..])?,
    }
    let length = u32::from_le_bytes(length);
    if length > MAX_PATH {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut path = vec![0; length as usize];
    record.read_exact(&mut path)?;
    let (mut kind, mut size, mut crc) = ([0; 1], [0; 8], [0; 4]);
    record.read_exact(&mut kind)?;
    record.read_exact(&mut size)?;
    record.read_exact(&mut crc)?;
    let facts =
        Facts { kind: kind[0], size: u64::from_le_bytes(size), crc: u32::from_le_bytes(crc) };
    Ok(Some((path, facts)))
}

fn look(path: &Path, depth: Depth, pace: Pace<'_>) -> io::Result<Facts> {
    let found = fs::symlink_metadata(path)?;
    let kind = found.file_type();
    if kind.is_dir() {
        return Ok(Facts { kind: DIRECTORY, size: 0, crc: 0 });
    }
    if kind.is_symlink() {
        let target = fs::read_link(path)?;
        let mut crc = Crc::new();
        crc.update(target.as_os_str().as_bytes());
        return Ok(Facts { kind: LINK, size: target.as_os_str().len() as u64, crc: crc.sum() });
    }
    if !kind.is_file() {
        return Ok(Facts { kind: OTHER, size: 0, crc: 0 });
    }
    let crc = match depth {
        Depth::Sizes => 0,
        Depth::Bytes => crc_of(path, pace)?,
    };
    Ok(Facts { kind: FILE, size: found.len(), crc })
}

fn crc_of(path: &Path, pace: Pace<'_>) -> io::Result<u32> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let mut file = File::options().read(true).custom_flags(flags).open(path)?;
    let (mut crc, mut block) = (Crc::new(), vec![0; BLOCK_BYTES]);
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(crc.sum()),
            Ok(length) => {
                crc.update(&block[..length]);
                pace(length);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(dir.path().join("usr/bin")).expect("writable");
        fs::write(dir.path().join("usr/bin/program"), vec![7; 100_000]).expect("writable");
        std::os::unix::fs::symlink("program", dir.path().join("usr/bin/link")).expect("a link");
        dir
    }

    fn problem(dir: &Path, record: &[u8], depth: Depth) -> Option<String> {
        match check(dir, record, depth, &mut |_| {}) {
            Ok(()) => None,
            Err(Mismatch::Record) => Some("record".to_owned()),
            Err(Mismatch::Tree(why)) => Some(why),
        }
    }

    #[test]
    fn damage_is_found_by_its_size_or_by_its_bytes() {
        let dir = tree();
        let record = take(dir.path()).expect("readable");
        assert_eq!(problem(dir.path(), &record, Depth::Bytes), None);
        let program = dir.path().join("usr/bin/program");
        let mut bytes = fs::read(&program).expect("readable");
        bytes[50_000] ^= 1;
        fs::write(&program, &bytes).expect("writable");
        assert_eq!(problem(dir.path(), &record, Depth::Sizes), None);
        let expected = Some("usr/bin/program: its bytes are other ones".to_owned());
        assert_eq!(problem(dir.path(), &record, Depth::Bytes), expected);
        fs::write(&program, "").expect("writable");
        let expected = Some("usr/bin/program: 0 bytes instead of 100000".to_owned());
        assert_eq!(problem(dir.path(), &record, Depth::Sizes), expected);
        fs::remove_file(&program).expect("removable");
        assert!(problem(dir.path(), &record, Depth::Sizes).is_some());
    }

    #[test]
    fn a_damaged_record_says_nothing_about_the_tree() {
        let dir = tree();
        let record = take(dir.path()).expect("readable");
        for length in 0..record.len() {
            let cut = problem(dir.path(), &record[..length], Depth::Sizes);
            assert_eq!(cut.as_deref(), Some("record"), "{length}");
        }
    }
}
