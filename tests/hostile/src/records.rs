//! The bytes are records of the hub's store, as bit rot, an unlucky restore or another version of the hub may leave
//! them: `key`, a line break, the value, a zero byte, and so on. A value that looks like JSON gets the version byte of
//! the present format. With a `+` in front, they replace records of a sound store instead of being all there is.

use firmware_compat::frame::Kind as FrameKind;
use lichen_hub_core::record::{self, KeyOf, LoadError};

use crate::{
    hub::fleet::{Fleet, NAMES, Records},
    meter::bounded,
};

/// A hub with what the sound store holds, twice over, and its first turns.
const BASE_BYTES: usize = 24 * 1024 * 1024;
/// Heap bytes per byte of the records: JSON to objects, resolved, shown, assigned and written again.
const BYTES_PER_BYTE: usize = 4096;

/// One start from whatever the store holds.
pub fn records(bytes: &[u8]) {
    let (sound, given) = given(bytes);
    for (key, value) in &given {
        keys(key);
        let refusal = record::decode::<serde_json::Value>(key, value).err();
        assert!(refusal.is_none_or(|error| names(&error, key)));
    }
    let records = beside(sound, given);
    let limit = BASE_BYTES + BYTES_PER_BYTE * bytes.len();
    bounded("a hub's start", limit, || match Fleet::open(records) {
        Ok(mut fleet) => begin(&mut fleet),
        Err(error) => assert!(!error.to_string().is_empty()),
    });
}

/// A hub that loads what the bytes say.
pub(crate) fn opened(bytes: &[u8]) -> Result<Fleet, LoadError> {
    let (sound, given) = given(bytes);
    Fleet::open(beside(sound, given))
}

/// Whether there is a sound store, and the records.
fn given(bytes: &[u8]) -> (bool, Records) {
    match bytes.strip_prefix(b"+") {
        Some(rest) => (true, read(rest)),
        None => (false, read(bytes)),
    }
}

fn beside(sound: bool, given: Records) -> Records {
    let mut records = if sound { Fleet::beginning() } else { Records::new() };
    records.extend(given);
    records
}

/// What loads must work: a device comes, images are found, time passes, the operator changes something.
fn begin(fleet: &mut Fleet) {
    fleet.hello(0, 0);
    for _ in 0..8 {
        fleet.supply(0);
    }
    fleet.report(0, 3, 0);
    fleet.hear(NAMES[1], FrameKind::Hello, b"no frame".to_vec());
    for _ in 0..8 {
        fleet.wake();
    }
    for which in 0..4 {
        fleet.ask(which, 3);
    }
    fleet.ask(5, 0);
    fleet.report(0, 3, 0);
    fleet.check_in_the_end();
}

fn read(bytes: &[u8]) -> Records {
    let mut records = Records::new();
    for entry in bytes.split(|byte| *byte == 0) {
        let Some(at) = entry.iter().position(|byte| *byte == b'\n') else { continue };
        let key = String::from_utf8_lossy(&entry[..at]).into_owned();
        let value = &entry[at + 1..];
        let is_json = value.first().is_some_and(|first| *first >= b' ');
        let version: &[u8] = if is_json { &[record::VERSION] } else { &[] };
        records.insert(key, [version, value].concat());
    }
    records
}

/// What a key means does not depend on how it is written.
fn keys(key: &str) {
    let Some(parsed) = record::parse_key(key) else { return };
    let written = match &parsed {
        KeyOf::Meta => record::META.to_owned(),
        KeyOf::Time => record::TIME.to_owned(),
        KeyOf::Object(of) => record::object_key(of),
        KeyOf::Pod(id) => record::pod_key(*id),
        KeyOf::Revision(uid, hash) => record::revision_key(uid, hash),
        KeyOf::Device(name) => record::device_key(name),
        KeyOf::Retired(name) => record::retired_key(name),
        KeyOf::Withdrawn(serial) => record::withdrawn_key(serial),
        KeyOf::Image(reference) => record::image_key(reference),
        KeyOf::Data(of) => record::data_key(of),
    };
    assert_eq!(record::parse_key(&written), Some(parsed));
}

fn names(error: &LoadError, key: &str) -> bool {
    error.to_string().contains(key)
}
