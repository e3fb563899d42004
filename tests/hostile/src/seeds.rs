//! The named files of the corpora that hold messages or records: made from the wire's golden bytes and from what a hub
//! stores, so that they follow a change of either. Each says what it must reach, or it is kept for nothing.
//!
//! `UPDATE_CORPUS=1 cargo test -p lichen-hostile --test replay` writes them anew. What a fuzzer made up has the hash of its
//! bytes for a name and is not made here.

use std::{fs, path::Path};

use firmware_compat::frame::{Frame, HEADER_BYTES};

mod agent;
mod frames;
mod hub;
mod records;
mod sealed;
mod state;

/// The targets whose named files are made here.
pub const TARGETS: [&str; 6] = ["agent", "frames", "hub", "records", "sealed", "state"];

/// One named file of a corpus.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Its target.
    pub target: &'static str,
    /// Its name.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Whether it reaches what it is kept for.
    pub reaches: fn(&[u8]) -> bool,
}

/// Every named file of [`TARGETS`].
#[must_use]
pub fn all() -> Vec<Seed> {
    let all =
        [agent::seeds, frames::seeds, hub::seeds, records::seeds, sealed::seeds, state::seeds];
    all.iter().flat_map(|seeds| seeds()).collect()
}

fn seed(
    target: &'static str,
    name: impl Into<String>,
    bytes: Vec<u8>,
    reaches: fn(&[u8]) -> bool,
) -> Seed {
    Seed { target, name: name.into(), bytes, reaches }
}

fn golden_folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../firmware-compat/tests/golden")
}

/// Names of all that the wire has recorded, in order.
fn golden_names() -> Vec<String> {
    let entries = fs::read_dir(golden_folder()).expect("the wire's recorded bytes");
    let name = |entry: std::io::Result<fs::DirEntry>| {
        let file = entry.expect("a folder can be listed").file_name();
        file.to_str()?.strip_suffix(".hex").map(str::to_owned)
    };
    let mut names: Vec<String> = entries.filter_map(name).collect();
    names.sort();
    names
}

/// Recorded bytes of the wire: a frame, or a body that stands for itself.
fn golden(name: &str) -> Vec<u8> {
    let path = golden_folder().join(format!("{name}.hex"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hexadecimal digit");
    let digits: Vec<u32> = text.trim().bytes().map(digit).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).expect("a byte")).collect()
}

/// Recorded frames, with the numbers of their kinds in [`firmware_compat::frame::Kind::EVERY`], and their bodies.
fn golden_frames() -> Vec<(u8, Vec<u8>)> {
    let frames = golden_names().into_iter().map(|name| golden(&name));
    let of_kind = |bytes: Vec<u8>| {
        let kind = Frame::parse(&bytes).ok()?.kind;
        let number = firmware_compat::frame::Kind::EVERY.iter().position(|k| *k == kind)?;
        Some((u8::try_from(number).ok()?, bytes[HEADER_BYTES..].to_vec()))
    };
    frames.filter_map(of_kind).collect()
}

/// A piece of a script: its length and its bytes.
fn piece(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("pieces are short");
    [&length.to_le_bytes()[..], bytes].concat()
}
