//! Reads a tar stream as a sequence of bounded, resolved entries.
//!
//! The `tar` crate finds the headers; names and extended headers are read here, because its own reading of them is
//! unbounded (a long name is loaded whole) and splits PAX records at line feeds, which occur in binary attributes.
//! Nothing here touches a file system: see `place.rs`.
//! Sources: POSIX.1-2024 `pax`, GNU tar manual "Basic Tar Format", OCI image specification `layer.md`.

use std::io::{self, Read};

use tar::{Archive, EntryType, Header};

/// Most bytes in the extended headers of one entry: a path, a link target and a few attributes of up to 64 KiB.
const MAX_EXTENDED_BYTES: u64 = 256 << 10;
/// Longest path and link target; the kernel's PATH_MAX.
const MAX_PATH_BYTES: usize = 4096;

/// One entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The path as the archive spells it.
    pub path: Vec<u8>,
    pub kind: Kind,
    /// Permission bits, 0o7777 at most.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// Extended attributes by their full name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File { size: u64 },
    Directory,
    Symlink { target: Vec<u8> },
    Hardlink { target: Vec<u8> },
    Fifo,
    Char { major: u32, minor: u32 },
    Block { major: u32, minor: u32 },
}

/// Why a tar stream can't be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarError {
    #[error("the archive is damaged: {0}")]
    Read(#[from] io::Error),
    #[error("the archive is damaged: {0}")]
    Malformed(&'static str),
    #[error("{path} is {what}, which layers do not support here")]
    Unsupported { path: String, what: &'static str },
}

/// Calls `place` for each entry in order, with a reader of the entry's own bytes.
pub(crate) fn for_each<R: Read, E: From<TarError>>(
    stream: R,
    mut place: impl FnMut(&Entry, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let mut archive = Archive::new(stream);
    let mut extended = Extended::default();
    for raw in archive.entries().map_err(TarError::from)?.raw(true) {
        let mut raw = raw.map_err(TarError::from)?;
        let size = raw.size();
        match raw.header().entry_type() {
            EntryType::GNULongName => {
                extended.path = Some(until_nul(extended.load(&mut raw, size)?))
            }
            EntryType::GNULongLink => {
                extended.link = Some(until_nul(extended.load(&mut raw, size)?))
            }
            EntryType::XHeader => {
                let records = extended.load(&mut raw, size)?;
                extended.read(&records)?;
            }
            // Defaults for the whole archive: in practice a comment by `git archive`.
            EntryType::XGlobalHeader => drop(extended.load(&mut raw, size)?),
            _ => {
                let entry = resolve(raw.header(), size, core::mem::take(&mut extended))?;
                place(&entry, &mut raw)?;
            }
        }
    }
    Ok(())
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

/// What extended headers say about the entry that follows them.
#[derive(Default)]
struct Extended {
    /// How many there were, in bytes: an entry may have any number of headers.
    bytes: u64,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<i64>,
    sparse: bool,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Extended {
    /// The content of one more extended header.
    fn load(&mut self, raw: &mut impl Read, size: u64) -> Result<Vec<u8>, TarError> {
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > MAX_EXTENDED_BYTES {
            return Err(TarError::Malformed("an entry has more than 256 KiB of extended headers"));
        }
        let mut bytes = Vec::new();
        raw.read_to_end(&mut bytes)?;
        if bytes.len() as u64 != size {
            return Err(TarError::Malformed("it ends inside an extended header"));
        }
        Ok(bytes)
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<(), TarError> {
        while !bytes.is_empty() {
            let (key, value, rest) =
                pax_record(bytes).ok_or(TarError::Malformed("a PAX record has a wrong length"))?;
            bytes = rest;
            let number = || {
                let text = core::str::from_utf8(value).ok();
                text.and_then(|text| text.parse::<u64>().ok())
                    .ok_or(TarError::Malformed("a PAX record is not a number"))
            };
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(number()?),
                b"uid" => self.uid = Some(number()?),
                b"gid" => self.gid = Some(number()?),
                b"mtime" => self.mtime = whole_seconds(value),
                _ if key.starts_with(b"GNU.sparse.") => self.sparse = true,
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        self.xattrs.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Splits `<length> <key>=<value>\n` off; the length counts the whole record in decimal.
fn pax_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = core::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &bytes[length..]))
}

fn whole_seconds(value: &[u8]) -> Option<i64> {
    let text = core::str::from_utf8(value).ok()?;
    text.split('.').next()?.parse().ok()
}

fn resolve(header: &Header, size: u64, extended: Extended) -> Result<Entry, TarError> {
    let path = extended.path.unwrap_or_else(|| header.path_bytes().into_owned());
    let link = extended.link.or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
    if path.len() > MAX_PATH_BYTES || link.as_ref().is_some_and(|l| l.len() > MAX_PATH_BYTES) {
        return Err(TarError::Malformed("a path is longer than 4096 bytes"));
    }
    let unsupported = |what| TarError::Unsupported { path: printable(&path), what };
    if extended.sparse {
        return Err(unsupported("a sparse file"));
    }
    if extended.size.is_some_and(|declared| declared != size) {
        return Err(unsupported("a file of 8 GiB or more"));
    }
    let target = || match &link {
        Some(link) if !link.is_empty() => Ok(link.clone()),
        _ => Err(TarError::Malformed("a link has no target")),
    };
    let kind = match header.entry_type() {
        // Before POSIX, a directory was a file whose name ends in a slash.
        EntryType::Regular if path.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous => Kind::File { size },
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink { target: target()? },
        EntryType::Link => Kind::Hardlink { target: target()? },
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char => device(header, |major, minor| Kind::Char { major, minor })?,
        EntryType::Block => device(header, |major, minor| Kind::Block { major, minor })?,
        EntryType::GNUSparse => return Err(unsupported("a sparse file")),
        _ => return Err(unsupported("an entry of unknown type")),
    };
    let old = header.as_old();
    let number = |field: &[u8], read: &dyn Fn() -> io::Result<u64>| match is_blank(field) {
        true => Ok(0), // some writers leave out what is zero
        false => read(),
    };
    let uid = number(&old.uid, &|| header.uid())?;
    let gid = number(&old.gid, &|| header.gid())?;
    let mode = number(&old.mode, &|| header.mode().map(u64::from))?;
    Ok(Entry {
        kind,
        mode: (mode & 0o7777) as u32,
        uid: owner(extended.uid.unwrap_or(uid))?,
        gid: owner(extended.gid.unwrap_or(gid))?,
        mtime: extended.mtime.or_else(|| i64::try_from(header.mtime().ok()?).ok()).unwrap_or(0),
        xattrs: extended.xattrs,
        path,
    })
}

fn device(header: &Header, kind: impl FnOnce(u32, u32) -> Kind) -> Result<Kind, TarError> {
    let (major, minor) = match header.as_ustar() {
        Some(fields) => (fields.dev_major, fields.dev_minor),
        None => header.as_gnu().map_or(([0; 8], [0; 8]), |f| (f.dev_major, f.dev_minor)),
    };
    let major = if is_blank(&major) { None } else { header.device_major()? };
    let minor = if is_blank(&minor) { None } else { header.device_minor()? };
    Ok(kind(major.unwrap_or(0), minor.unwrap_or(0)))
}

fn is_blank(field: &[u8]) -> bool {
    field.iter().all(|byte| matches!(byte, 0 | b' '))
}

fn owner(id: u64) -> Result<u32, TarError> {
    // The largest value means "leave as it is" to chown(2).
    u32::try_from(id)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or(TarError::Malformed("an owner's id does not fit 32 bits"))
}

/// A path from an archive in a form that is safe to print.
pub(crate) fn printable(path: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(path).escape_debug().collect();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(bytes: &[u8]) -> Result<Vec<Entry>, TarError> {
        let mut entries = Vec::new();
        for_each(bytes, |entry, data| {
            io::copy(data, &mut io::sink())?;
            entries.push(entry.clone());
            Ok::<_, TarError>(())
        })?;
        Ok(entries)
    }

    fn append(builder: &mut tar::Builder<Vec<u8>>, kind: EntryType, path: &[u8], data: &[u8]) {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.as_old_mut().name[..path.len()].copy_from_slice(path);
        header.set_cksum();
        builder.append(&header, data).expect("append");
    }

    fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + rest.to_string().len();
            length = rest + length.to_string().len();
            bytes.extend(format!("{length} {key}=").as_bytes());
            bytes.extend(*value);
            bytes.push(b'\n');
        }
        bytes
    }

    #[test]
    fn pax_records_override_the_header_and_carry_binary_attributes() {
        let capability: &[u8] = &[1, 0, 0, 2, b'\n', 0x20, 0, b'='];
        let mut builder = tar::Builder::new(Vec::new());
        let records = pax(&[
            ("path", b"a/long/name"),
            ("uid", b"100000"),
            ("mtime", b"12.5"),
            ("SCHILY.xattr.security.capability", capability),
        ]);
        append(&mut builder, EntryType::XHeader, b"pax", &records);
        append(&mut builder, EntryType::Regular, b"short", b"data");
        append(&mut builder, EntryType::Regular, b"next", b"");
        let entries = entries(&builder.into_inner().expect("tar")).expect("entries");
        assert_eq!(entries[0].path, b"a/long/name");
        assert_eq!((entries[0].uid, entries[0].mtime), (100_000, 12));
        assert_eq!(entries[0].xattrs, [(b"security.capability".to_vec(), capability.to_vec())]);
        assert_eq!((entries[1].path.as_slice(), entries[1].uid), (&b"next"[..], 0));
    }

    #[test]
    fn gnu_long_names_and_old_directories_are_understood() {
        let long = [b"d/".repeat(100), b"\0".to_vec()].concat();
        let mut builder = tar::Builder::new(Vec::new());
        append(&mut builder, EntryType::GNULongName, b"././@LongLink", &long);
        append(&mut builder, EntryType::Regular, b"cut", b"");
        let entries = entries(&builder.into_inner().expect("tar")).expect("entries");
        assert_eq!(entries[0].path, long[..200]);
        assert_eq!(entries[0].kind, Kind::Directory);
    }

    #[test]
    fn an_oversized_extended_header_is_refused_before_it_is_read() {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::GNULongName);
        header.set_size(1 << 40);
        header.set_cksum();
        let error = entries(header.as_bytes()).expect_err("refused");
        assert!(error.to_string().contains("256 KiB"), "{error}");
    }

    #[test]
    fn many_extended_headers_of_one_entry_are_bounded_together() {
        let mut builder = tar::Builder::new(Vec::new());
        for _ in 0..8 {
            let records = pax(&[("SCHILY.xattr.user.x", &[7; 60_000])]);
            append(&mut builder, EntryType::XHeader, b"pax", &records);
        }
        append(&mut builder, EntryType::Regular, b"file", b"");
        let error = entries(&builder.into_inner().expect("tar")).expect_err("refused");
        assert!(error.to_string().contains("256 KiB"), "{error}");
    }

    #[test]
    fn wrong_pax_lengths_are_errors() {
        for bytes in [&b"9999 path=x\n"[..], b"0 a=b\n", b"x", b"5 a=b", b"3 a\n", b"1 "] {
            assert!(Extended::default().read(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _ = entries(&bytes);
            let _ = Extended::default().read(&bytes);
        }
    }
}
