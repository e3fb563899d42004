//! The bytes are one frame, or one assignment's body, or a topic: what a broken broker, a foreign device or a broken
//! hub may send. Every kind is read in both forms, the one of boards and the one of microcontrollers.

use firmware_compat::{
    capacity::SIGNED_BYTES,
    frame::{
        self, DecodeError, Frame, HEADER_BYTES, Kind, MAX_FRAME_BYTES, Message, SIGNATURE_BYTES,
        Stamp,
    },
    id::{AgentId, BootId, Hash, Lineage, PodId},
    topic::{self, MAX_TOPIC, Topic},
    v1::{fixed, owned},
};

use crate::meter::bounded;

/// What an empty message may take: a few strings and lists.
const BASE_BYTES: usize = 4 * 1024;
/// Heap bytes per byte of a frame. The densest item is an environment variable: two bytes on the wire, two empty
/// strings of 24 bytes in memory, in a list that doubles when it grows.
const BYTES_PER_BYTE: usize = 160;

/// One frame, body or topic.
pub fn frames(bytes: &[u8]) {
    match Frame::parse(bytes) {
        Ok(frame) => {
            assert!(bytes.len() <= MAX_FRAME_BYTES);
            assert_eq!(frame.seal.is_some(), frame.kind.is_signed());
            let signature = frame.seal.map_or(0, |seal| seal.signature.len());
            assert_eq!(HEADER_BYTES + frame.body.len() + signature, bytes.len());
            each_message(bytes, frame.kind);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            // Whatever the first bytes say: read the rest as the body of each kind.
            for kind in Kind::EVERY {
                let (most, signature): (usize, &[u8]) = match kind.is_signed() {
                    true => (SIGNED_BYTES, &[0; SIGNATURE_BYTES]),
                    false => (MAX_FRAME_BYTES, &[]),
                };
                let body = bytes.get(..most - HEADER_BYTES).unwrap_or(bytes);
                let header = [frame::VERSION, kind as u8, 1, 0, 0, 0, 2, 0, 0, 0];
                each_message(&[&header[..], body, signature].concat(), kind);
            }
        }
    }
    assignment(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        topics(text);
        ids(text);
    }
}

fn each_message(bytes: &[u8], kind: Kind) {
    macro_rules! each {
        ($($message:ident),*) => { $(both::<owned::$message, fixed::$message>(bytes, kind);)* };
    }
    each!(Hello, Status, Event, Reply, Want, Gone, Head, Part, Command, Time, Report);
}

/// What a microcontroller can read a board can read, and both write the same bytes.
fn both<Owned, Fixed>(bytes: &[u8], kind: Kind)
where
    Owned: Message + PartialEq + std::fmt::Debug,
    Fixed: Message + PartialEq + std::fmt::Debug,
{
    if kind != Owned::KIND {
        let error = frame::decode::<Owned>(bytes).map(drop).expect_err("of another kind");
        assert_eq!(error, DecodeError::Unexpected(kind));
        return;
    }
    let limit = BASE_BYTES + BYTES_PER_BYTE * bytes.len();
    let owned = bounded("decoding a frame", limit, || frame::decode::<Owned>(bytes));
    let fixed = bounded("decoding without an allocator", 0, || frame::decode::<Fixed>(bytes));
    let (stamp, message) = match owned {
        Ok(read) => read,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            // The reasons may differ: the small form runs into a capacity first.
            assert!(fixed.is_err(), "only the small form took it");
            return;
        }
    };
    let again = frame::encode(&message, stamp).expect("what came in a frame fits one");
    assert!(again.len() <= bytes.len(), "it grew from {} to {}", bytes.len(), again.len());
    assert_eq!(frame::decode::<Owned>(&again).expect("its own bytes"), (stamp, message));
    if let Ok((small_stamp, small)) = fixed {
        let mut buffer = vec![0; MAX_FRAME_BYTES];
        let written = frame::encode_into(&small, small_stamp, &mut buffer).expect("it fits");
        assert_eq!(written, again, "the forms differ");
        assert_eq!(frame::decode::<Fixed>(&again).expect("its own bytes"), (stamp, small));
    }
}

fn assignment(bytes: &[u8]) {
    let limit = BASE_BYTES + BYTES_PER_BYTE * bytes.len();
    let read = bounded("decoding a body", limit, || frame::decode_body::<owned::Assignment>(bytes));
    let small = frame::decode_body::<fixed::Assignment>(bytes);
    parts(bytes, limit);
    let Ok(assignment) = read else {
        assert!(small.is_err(), "only the small form took it");
        return;
    };
    // An assignment travels in chunks; a frame carries any of them.
    for (index, chunk) in bytes.chunks(16 * 1024).enumerate() {
        let part = owned::Part {
            hash: Hash([7; 32]),
            length: u32::try_from(bytes.len()).expect("inputs are small"),
            offset: u32::try_from(index * 16 * 1024).expect("inputs are small"),
            bytes: chunk.to_vec().try_into().expect("a chunk"),
        };
        let framed = frame::encode(&part, Stamp::default()).expect("a chunk fits a frame");
        assert_eq!(frame::decode::<owned::Part>(&framed).expect("our own").1, part);
    }
    assert!(assignment.pods.len() <= bytes.len());
}

/// What a microcontroller can read of the parts of an assignment a board can read.
fn parts(bytes: &[u8], limit: usize) {
    let pod = bounded("decoding a Pod", limit, || frame::decode_body::<owned::Pod>(bytes));
    let small = frame::decode_body::<fixed::Pod>(bytes);
    assert!(pod.is_ok() || small.is_err(), "only the small form took it");
    let watched =
        bounded("decoding probes", limit, || frame::decode_body::<owned::Supervision>(bytes));
    let small = frame::decode_body::<fixed::Supervision>(bytes);
    assert!(watched.is_ok() || small.is_err(), "only the small form took it");
    let data = bounded("decoding files", limit, || frame::decode_body::<owned::ConfigData>(bytes));
    let small = frame::decode_body::<fixed::ConfigData>(bytes);
    assert!(data.is_ok() || small.is_err(), "only the small form took it");
    let sealed = bounded("decoding a seal", limit, || frame::decode_body::<owned::Sealed>(bytes));
    let small = frame::decode_body::<fixed::Sealed>(bytes);
    assert!(sealed.is_ok() || small.is_err(), "only the small form took it");
}

fn topics(text: &str) {
    if let Some(parsed) = Topic::parse(text) {
        assert_eq!(parsed.to_string(), text, "a topic is written in one way only");
        assert!(text.len() <= MAX_TOPIC);
        assert_eq!(parsed.kind.direction(), parsed.direction);
        assert!(topic::is_device_name(parsed.device) || parsed.device == topic::ALL);
    }
    if topic::is_device_name(text) {
        for kind in Kind::EVERY {
            let topic = match kind.direction() {
                topic::Direction::Up => Topic::up(text, kind),
                topic::Direction::Down => Topic::down(text, kind),
            };
            assert_eq!(Topic::parse(&topic.to_string()), Some(topic));
        }
        let mut filter = String::new();
        topic::write_device_filter(text, &mut filter).expect("a String takes it");
        assert_eq!(filter.matches(['+', '#']).count(), 1);
    }
}

fn ids(text: &str) {
    macro_rules! each {
        ($($id:ident),*) => { $(
            if let Some(id) = $id::parse(text) {
                assert_eq!(id.to_string(), text, "an id is written in one way only");
            }
        )* };
    }
    each!(Lineage, AgentId, BootId, PodId, Hash);
}
