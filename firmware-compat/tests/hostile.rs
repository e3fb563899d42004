//! Bytes that no sender of ours wrote: truncated, oversized, random, changed. They are refused, never a panic, and
//! what decodes encodes to the same bytes again.
#![cfg(feature = "alloc")]

use firmware_compat::{
    capacity::{SIGNED_BYTES, full},
    frame::{
        self, DecodeError, Frame, HEADER_BYTES, Kind, MAX_FRAME_BYTES, Message, SIGNATURE_BYTES,
        Stamp,
    },
    id::{AgentId, BootId, Lineage, PodId, PublicKey},
    topic::{self, Topic},
    v1::{fixed, owned},
};
use proptest::prelude::*;

/// Reads bytes as every message of both forms; what is read must write the same bytes.
fn read_as_everything(bytes: &[u8]) {
    fn read<M: Message>(bytes: &[u8]) {
        if let Ok((stamp, message)) = frame::decode::<M>(bytes) {
            let mut buffer = vec![0; MAX_FRAME_BYTES];
            let again =
                frame::encode_into(&message, stamp, &mut buffer).expect("it came from a frame");
            let (_, _) = frame::decode::<M>(again).expect("its own bytes read back");
        }
    }
    macro_rules! each {
        ($($message:ident),*) => { $( read::<owned::$message>(bytes); read::<fixed::$message>(bytes); )* };
    }
    each!(Hello, Status, Event, Reply, Want, Gone, Head, Part, Command, Time, Report);
    let _ = frame::decode_body::<owned::Assignment>(bytes);
    let _ = frame::decode_body::<fixed::Assignment>(bytes);
    let _ = frame::decode_body::<owned::Pod>(bytes);
    let _ = frame::decode_body::<fixed::Pod>(bytes);
    let _ = frame::decode_body::<owned::ConfigData>(bytes);
    let _ = frame::decode_body::<fixed::ConfigData>(bytes);
}

fn golden() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let mut frames = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the golden files are there") {
        let text = std::fs::read_to_string(entry.expect("listed").path()).expect("read");
        let digits = text.trim().as_bytes();
        frames.push(
            digits
                .chunks_exact(2)
                .map(|pair| {
                    u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex")
                })
                .collect(),
        );
    }
    frames
}

#[test]
fn every_truncation_of_every_golden_frame_is_refused() {
    for bytes in golden() {
        for end in 0..bytes.len() {
            let cut = &bytes[..end];
            read_as_everything(cut);
            if end < HEADER_BYTES {
                assert_eq!(Frame::parse(cut), Err(DecodeError::Truncated));
            }
        }
    }
}

#[test]
fn a_byte_too_many_is_refused() {
    let gone = owned::Gone { agent: AgentId([1; 16]), boot: BootId([2; 16]) };
    let mut bytes = frame::encode(&gone, Stamp::default()).expect("small");
    bytes.push(0);
    assert_eq!(frame::decode::<owned::Gone>(&bytes), Err(DecodeError::Trailing));
    // In a frame that is signed it is a part of the signature, and the signature's first byte one of the body.
    let mut bytes = frame::encode(&time(), Stamp::default()).expect("small");
    bytes.push(0);
    assert_eq!(frame::decode::<owned::Time>(&bytes), Err(DecodeError::Trailing));
}

fn time() -> owned::Time {
    owned::Time { lineage: Lineage([1; 16]), unix_ms: 1 }
}

#[test]
fn a_signed_frame_is_short_and_has_a_place_for_its_signature() {
    let bytes = frame::encode(&time(), Stamp::default()).expect("small");
    let (signed, signature) = bytes.split_at(bytes.len() - SIGNATURE_BYTES);
    assert_eq!(signature, [0; SIGNATURE_BYTES]);
    assert_eq!(Frame::parse(&bytes[..SIGNATURE_BYTES]), Err(DecodeError::Unsigned));
    assert_eq!(Frame::parse(&bytes[..HEADER_BYTES]), Err(DecodeError::Unsigned));
    let stretched = [signed, &[0; SIGNED_BYTES], signature].concat();
    assert_eq!(Frame::parse(&stretched), Err(DecodeError::Oversized));
    // The longest that any kind has to say fits.
    let name = "x".repeat(full::NAMESPACE);
    let action = owned::Action::Logs {
        pod: PodId([0xff; 16]),
        container: owned::Text::cut(&name),
        follow: true,
        tail: Some(u32::MAX),
        previous: true,
        timestamps: true,
    };
    let command = owned::Command { lineage: Lineage([0xff; 16]), id: u64::MAX, action };
    assert!(frame::encode(&command, Stamp::default()).expect("it fits").len() < SIGNED_BYTES);
    let keys = [1, 2].map(|byte| PublicKey([byte; 32])).to_vec().try_into().expect("two");
    let command = owned::Command { action: owned::Action::Keys { keys }, ..command };
    assert!(frame::encode(&command, Stamp::default()).expect("it fits").len() < SIGNED_BYTES);
}

#[test]
fn other_versions_kinds_and_lengths_are_named() {
    let bytes = frame::encode(&time(), Stamp::default()).expect("small");
    let with = |index: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[index] = value;
        frame::decode::<owned::Time>(&bytes)
    };
    assert_eq!(with(0, 2), Err(DecodeError::Version(2)));
    assert_eq!(with(1, 99), Err(DecodeError::Kind(99)));
    assert_eq!(with(1, Kind::Hello as u8), Err(DecodeError::Unexpected(Kind::Hello)));
    assert_eq!(Frame::parse(&vec![1; MAX_FRAME_BYTES + 1]), Err(DecodeError::Oversized));
}

#[test]
fn a_declared_length_never_sizes_an_allocation() {
    // A chunk whose length says 4 GiB and holds nothing.
    let mut bytes = vec![frame::VERSION, Kind::Part as u8, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend([0; 32]);
    bytes.extend([0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert_eq!(frame::decode::<owned::Part>(&bytes), Err(DecodeError::Body));
}

#[test]
fn what_is_over_a_capacity_is_refused_by_sender_and_receiver() {
    let long = "x".repeat(full::REASON + 1);
    assert!(owned::Text::<{ full::REASON }>::try_from(long.as_str()).is_err());
    assert_eq!(owned::Text::<{ full::REASON }>::cut(&long).len(), full::REASON);
    // The full form's longest reason does not fit what a microcontroller reserves for a sentence.
    let message = "x".repeat(full::MESSAGE);
    let failed = owned::Outcome::Failed {
        reason: owned::Text::cut("Error"),
        message: owned::Text::cut(&message),
    };
    let reply = owned::Reply { command: 1, part: 0, outcome: failed };
    let bytes = frame::encode(&reply, Stamp::default()).expect("it fits a frame");
    assert!(frame::decode::<owned::Reply>(&bytes).is_ok());
    assert_eq!(frame::decode::<fixed::Reply>(&bytes), Err(DecodeError::Body));
}

#[test]
fn a_full_chunk_fits_a_frame() {
    let bytes = owned::Bytes::try_from(vec![7; full::CHUNK]).expect("in bounds");
    let hash = firmware_compat::id::Hash([1; 32]);
    let part = owned::Part { hash, length: u32::MAX, offset: u32::MAX, bytes };
    assert!(frame::encode(&part, Stamp { session: u32::MAX, sequence: u32::MAX }).is_ok());
}

#[test]
fn the_longest_body_fits_a_chunk_and_the_longest_want_a_frame() {
    let hash = firmware_compat::id::Hash([0xff; 32]);
    let pods = vec![hash; full::PODS].try_into().expect("in bounds");
    let claim = firmware_compat::id::ClaimId([0xff; 16]);
    let removed_claims = vec![claim; full::REMOVED_CLAIMS].try_into().expect("in bounds");
    let body = postcard::to_allocvec(&owned::Assignment { pods, removed_claims });
    let body = body.expect("it encodes");
    assert_eq!(body.len(), full::BODY_BYTES);
    assert!(body.len() <= full::CHUNK);
    let also = vec![hash; full::WANTED].try_into().expect("in bounds");
    let want = owned::Want { hash, offset: u32::MAX, also };
    assert!(frame::encode(&want, Stamp { session: u32::MAX, sequence: u32::MAX }).is_ok());
}

#[test]
fn a_text_is_cut_between_characters() {
    assert_eq!(owned::Text::<4>::cut("aäöü").as_str(), "aä");
}

#[test]
fn topics_read_as_they_are_written_and_nothing_else_is_one() {
    for kind in Kind::EVERY {
        let topic = match kind.direction() {
            topic::Direction::Up => Topic::up("board-1", kind),
            topic::Direction::Down => Topic::down("board-1", kind),
        };
        let text = topic.to_string();
        assert!(text.len() <= topic::MAX_TOPIC);
        assert_eq!(Topic::parse(&text), Some(topic));
    }
    for text in [
        "",
        "lichen/1/a/up/head",
        "lichen/1/a/down/hello",
        "lichen/1/all/up/hello",
        "lichen/1/a/up/hello/",
        "lichen/1/a/up",
        "lichen/2/a/up/hello",
        "lichen/1/A/up/hello",
        "lichen/1//up/hello",
        "lichen/1/+/up/hello",
        "lichen/1/a/sideways/hello",
        "$share/g/lichen/1/a/up/hello",
    ] {
        assert_eq!(Topic::parse(text), None, "{text}");
    }
    assert!(!topic::is_device_name("all"));
    assert!(!topic::is_device_name("-a"));
    assert!(!topic::is_device_name(&"a".repeat(64)));
    assert!(topic::is_device_name(&"a".repeat(63)));
}

proptest! {
    #[test]
    fn random_bytes_are_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        read_as_everything(&bytes);
        let mut framed = vec![frame::VERSION, Kind::Hello as u8, 0, 0, 0, 0, 0, 0, 0, 0];
        for kind in Kind::EVERY {
            framed[1] = kind as u8;
            framed.truncate(HEADER_BYTES);
            framed.extend(&bytes);
            read_as_everything(&framed);
        }
    }

    #[test]
    fn changed_golden_frames_are_never_a_panic(pick in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let frames = golden();
        let mut bytes = pick.get(&frames).clone();
        let at = at.index(bytes.len());
        bytes[at] = value;
        read_as_everything(&bytes);
    }

    #[test]
    fn random_topics_are_never_a_panic(text in "\\PC{0,100}") {
        let _ = Topic::parse(&text);
        let _ = Topic::parse(&["lichen/1/", &text].concat());
    }
}
