//! Every recorded message, and the two texts that stand beside messages.

use firmware_compat::{frame, id::PodId, topic::Topic, v1::owned};

use super::{Seed, golden, golden_names, seed};

pub(super) fn seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = golden_names()
        .into_iter()
        .map(|name| {
            let bytes = golden(&name);
            seed("frames", name, bytes, reads)
        })
        .collect();
    let id = b"00112233445566778899aabbccddeeff".to_vec();
    seeds.push(seed("frames", "id", id, |bytes| {
        as_text(bytes, |text| PodId::parse(text).is_some())
    }));
    let topic = b"lichen/1/board-1/up/hello".to_vec();
    seeds.push(seed("frames", "topic", topic, |bytes| {
        as_text(bytes, |text| Topic::parse(text).is_some())
    }));
    seeds
}

fn as_text(bytes: &[u8], is: fn(&str) -> bool) -> bool {
    std::str::from_utf8(bytes).is_ok_and(is)
}

/// Whether it is a message of its kind, or a body that travels in parts.
fn reads(bytes: &[u8]) -> bool {
    macro_rules! any {
        ($($message:ident),*) => { $(frame::decode::<owned::$message>(bytes).is_ok())||* };
    }
    let is_message =
        any!(Hello, Status, Event, Reply, Want, Gone, Head, Part, Command, Time, Report);
    is_message
        || frame::decode_body::<owned::Assignment>(bytes).is_ok()
        || frame::decode_body::<owned::Pod>(bytes).is_ok()
        || frame::decode_body::<owned::Supervision>(bytes).is_ok()
        || frame::decode_body::<owned::ConfigData>(bytes).is_ok()
        || frame::decode_body::<owned::Sealed>(bytes).is_ok()
}
