//! Records as bytes: for each the length of its key and of its value (32 bits each, big-endian), key, value.

use std::io::{self, Read, Write};

use super::BackupError;

/// Longest key that is read. The longest that a hub writes has two names of 253 characters.
const MAX_KEY: u32 = 4 << 10;
/// Longest value that is read. The largest object that the API takes has 1.5 MiB.
const MAX_VALUE: u32 = 64 << 20;

/// Writes a record.
pub(super) fn write(out: &mut impl Write, key: &str, value: &[u8]) -> io::Result<()> {
    for (part, max) in [(key.as_bytes(), MAX_KEY), (value, MAX_VALUE)] {
        let length = u32::try_from(part.len()).ok().filter(|length| *length <= max);
        let length = length.ok_or_else(|| io::Error::other(format!("record {key} is too long")))?;
        out.write_all(&length.to_be_bytes())?;
    }
    out.write_all(key.as_bytes())?;
    out.write_all(value)
}

/// Reads the next record; `None` at the end.
pub(super) fn read(input: &mut impl Read) -> Result<Option<(String, Vec<u8>)>, BackupError> {
    let mut first = [0; 1];
    if input.read(&mut first).map_err(super::read::refused)? == 0 {
        return Ok(None);
    }
    let mut rest = [0; 7];
    input.read_exact(&mut rest).map_err(super::read::refused)?;
    let [a] = first;
    let [b, c, d, value @ ..] = rest;
    let (key, value) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes(value));
    if key > MAX_KEY || value > MAX_VALUE {
        return Err(BackupError::Damaged("a record is longer than any of a hub".to_owned()));
    }
    let key = String::from_utf8(exactly(input, key)?)
        .map_err(|_| BackupError::Damaged("the key of a record is no text".to_owned()))?;
    Ok(Some((key, exactly(input, value)?)))
}

/// So many bytes; room is made only for what is there.
fn exactly(input: &mut impl Read, length: u32) -> Result<Vec<u8>, BackupError> {
    let mut bytes = Vec::new();
    let read = input.take(length.into()).read_to_end(&mut bytes).map_err(super::read::refused)?;
    if read < length as usize {
        return Err(BackupError::Damaged("a record is cut short".to_owned()));
    }
    Ok(bytes)
}
