//! As much of ELF as packing needs: for which processor a program is, and whether it brings everything it needs.

use std::io::{self, Read, Seek, SeekFrom};

use crate::Platform;

/// Most program headers that are read; real programs have about a dozen.
const MAX_PROGRAM_HEADERS: u64 = 256;
/// Longest path of an interpreter.
const MAX_INTERPRETER_BYTES: u64 = 4096;
/// Type of the program header that names the interpreter.
const PT_INTERP: u32 = 3;

/// What a program's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The platform that it was built for.
    pub platform: Platform,
    /// The dynamic loader that it needs; `None` for a static program.
    pub interpreter: Option<String>,
}

/// Why a file is not a program that an image can be made of.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// It could not be read.
    #[error("could not read the program")]
    Io(#[from] io::Error),
    /// No ELF magic number.
    #[error("it is not an ELF program")]
    NotElf,
    /// An object file, a library or a core dump.
    #[error("it is an ELF file, but not a program (type {0})")]
    NotAProgram(u16),
    /// A processor that Lichen has no name for.
    #[error(
        "it is built for a processor that is not supported (ELF machine {0}); amd64, arm64, arm, riscv64 and 386 are"
    )]
    Machine(u16),
    /// Big-endian.
    #[error("it is built for a big-endian processor, which is not supported")]
    BigEndian,
    /// Tables outside the file or of impossible size.
    #[error("its ELF header is damaged")]
    Damaged,
}

/// Reads the headers of an ELF program.
///
/// # Errors
/// It is no program, or one for an unknown processor.
pub fn read(file: &mut (impl Read + Seek)) -> Result<Program, ElfError> {
    file.rewind()?;
    let mut head = Vec::new();
    Read::by_ref(file).take(64).read_to_end(&mut head)?;
    if !head.starts_with(b"\x7fELF") {
        return Err(ElfError::NotElf);
    }
    if head.len() < 52 {
        return Err(ElfError::Damaged);
    }
    let wide = match (head[4], head[5]) {
        (_, 2) => return Err(ElfError::BigEndian),
        (1, 1) => false,
        (2, 1) if head.len() == 64 => true,
        _ => return Err(ElfError::Damaged),
    };
    match half(&head, 16) {
        2 | 3 => {}
        other => return Err(ElfError::NotAProgram(other)),
    }
    let platform = match (half(&head, 18), wide) {
        (62, true) => Platform::linux("amd64", None),
        (183, true) => Platform::linux("arm64", None),
        // The header doesn't tell v6 from v7; boards with v6 need it said (`--platform arm/v6`).
        (40, false) => Platform::linux("arm", Some("v7")),
        (243, true) => Platform::linux("riscv64", None),
        (3, false) => Platform::linux("386", None),
        (other, _) => return Err(ElfError::Machine(other)),
    };
    let interpreter = interpreter(file, &head, wide)?;
    Ok(Program { platform, interpreter })
}

fn interpreter(
    file: &mut (impl Read + Seek),
    head: &[u8],
    wide: bool,
) -> Result<Option<String>, ElfError> {
    let (table, entry_size, count) = match wide {
        true => (long(head, 32), u64::from(half(head, 54)), u64::from(half(head, 56))),
        false => (u64::from(word(head, 28)), u64::from(half(head, 42)), u64::from(half(head, 44))),
    };
    let smallest = if wide { 56 } else { 32 };
    if count > MAX_PROGRAM_HEADERS || (count > 0 && entry_size < smallest) {
        return Err(ElfError::Damaged);
    }
    for number in 0..count {
        let at = table.checked_add(number * entry_size).ok_or(ElfError::Damaged)?;
        let entry = exactly(file, at, smallest)?;
        if word(&entry, 0) != PT_INTERP {
            continue;
        }
        let (offset, size) = match wide {
            true => (long(&entry, 8), long(&entry, 32)),
            false => (u64::from(word(&entry, 4)), u64::from(word(&entry, 16))),
        };
        if size > MAX_INTERPRETER_BYTES {
            return Err(ElfError::Damaged);
        }
        let path = exactly(file, offset, size)?;
        let path = path.split(|&byte| byte == 0).next().unwrap_or_default();
        return Ok(Some(String::from_utf8_lossy(path).into_owned()));
    }
    Ok(None)
}

fn exactly(file: &mut (impl Read + Seek), at: u64, len: u64) -> Result<Vec<u8>, ElfError> {
    // Seeking takes signed offsets; one beyond them is beyond every file.
    if i64::try_from(at).is_err() {
        return Err(ElfError::Damaged);
    }
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != len {
        return Err(ElfError::Damaged);
    }
    Ok(bytes)
}

/// The callers below have checked that the bytes are there.
fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) | u32::from(half(bytes, at + 2)) << 16
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}

/// A tiny program's bytes for tests: a header, and an interpreter if one is given.
#[cfg(test)]
pub(crate) fn sample(machine: u16, wide: bool, interpreter: Option<&str>) -> Vec<u8> {
    let (header, entry) = if wide { (64usize, 56usize) } else { (52, 32) };
    let mut bytes = vec![0; header];
    bytes[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', if wide { 2 } else { 1 }, 1, 1]);
    bytes[16..18].copy_from_slice(&2u16.to_le_bytes());
    bytes[18..20].copy_from_slice(&machine.to_le_bytes());
    let (table, size, count) = if wide { (32, 54, 56) } else { (28, 42, 44) };
    let Some(path) = interpreter else { return bytes };
    bytes[table..table + 4].copy_from_slice(&(header as u32).to_le_bytes());
    bytes[size..size + 2].copy_from_slice(&(entry as u16).to_le_bytes());
    bytes[count..count + 2].copy_from_slice(&1u16.to_le_bytes());
    let mut program = vec![0; entry];
    program[..4].copy_from_slice(&PT_INTERP.to_le_bytes());
    let (offset, len) = if wide { (8, 32) } else { (4, 16) };
    program[offset..offset + 4].copy_from_slice(&((header + entry) as u32).to_le_bytes());
    program[len..len + 4].copy_from_slice(&(path.len() as u32 + 1).to_le_bytes());
    bytes.extend(program);
    bytes.extend(path.as_bytes());
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    #[test]
    fn processor_and_interpreter_are_read() {
        let check = |machine, wide, interpreter: Option<&str>, platform: &str| {
            let program =
                read(&mut Cursor::new(sample(machine, wide, interpreter))).expect(platform);
            assert_eq!(program.platform.to_string(), platform);
            assert_eq!(program.interpreter.as_deref(), interpreter);
        };
        check(62, true, None, "amd64");
        check(183, true, Some("/lib/ld-linux-aarch64.so.1"), "arm64");
        check(40, false, Some("/lib/ld-linux-armhf.so.3"), "arm/v7");
        check(40, false, None, "arm/v7");
        check(243, true, None, "riscv64");
    }

    #[test]
    fn what_is_no_program_is_refused_by_name() {
        let check = |bytes: &[u8], part: &str| {
            let error = read(&mut Cursor::new(bytes)).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        };
        check(b"#!/bin/sh", "not an ELF");
        check(b"\x7fELF", "damaged");
        check(&sample(8, false, None), "machine 8");
        check(&sample(243, false, None), "machine 243");
        let mut library = sample(62, true, None);
        library[16] = 1;
        check(&library, "type 1");
        let mut big = sample(62, true, None);
        big[5] = 2;
        check(&big, "big-endian");
        let mut cut = sample(62, true, Some("/lib/ld"));
        cut.truncate(100);
        check(&cut, "damaged");
    }

    proptest! {
        #[test]
        fn a_damaged_header_never_panics(at in 0usize..130, bytes: [u8; 8], wide: bool) {
            let mut program = sample(if wide { 62 } else { 40 }, wide, Some("/lib/ld"));
            for (offset, byte) in bytes.iter().enumerate() {
                if let Some(place) = program.get_mut(4 + at + offset) {
                    *place = *byte;
                }
            }
            let _ = read(&mut Cursor::new(program));
        }
    }
}
