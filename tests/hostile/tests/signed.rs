//! The checks of a device with real signatures, against bytes of strangers: the wire's recorded frames, which the hub has signed
//! for `board-1`, changed in every way, and bytes of no meaning at all. Nothing but what the hub signed is believed.

use std::{fs, path::Path};

use firmware_compat::{
    frame::{Frame, Kind},
    guard::{Guard, Refusal},
    id::{Lineage, PublicKey},
    keys::{PinnedHub, SigningKeys},
    signed::{self, Signature},
    topic::ALL,
    v1::fixed::{Command, Head, Report, Time},
};
use proptest::prelude::*;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

const DEVICE: &str = "board-1";
/// Of the connection that the recorded commands are for.
const SESSION: u32 = 0x0102_0304;

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("any 32 bytes are a seed")
}

fn public(seed: u8) -> PublicKey {
    PublicKey(pair(seed).public_key().as_ref().try_into().expect("32 bytes"))
}

fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    UnparsedPublicKey::new(&ED25519, key.0).verify(message, signature).is_ok()
}

/// What stands before the device, as it stands before each frame.
fn guard() -> Guard {
    let keys = SigningKeys::new(&[public(0x5b), public(0x5a)]).expect("two");
    let hub = PinnedHub { lineage: Lineage([0x11; 16]), keys };
    let mut guard = Guard::new(verify, Some(hub), 0);
    guard.connected(SESSION);
    guard
}

/// Whether a device would act on it.
fn is_believed(bytes: &[u8], to: &str) -> Result<(), Refusal> {
    let mut guard = guard();
    let frame = Frame::parse(bytes)?;
    match frame.kind {
        Kind::Head => guard.open::<Head>(&frame, to).map(drop),
        Kind::Command => guard.open::<Command>(&frame, to).map(drop),
        Kind::Time => guard.open::<Time>(&frame, to).map(drop),
        Kind::Report => guard.open::<Report>(&frame, to).map(drop),
        // Nobody signs these; of a part only what a signed head names is of use.
        _ => Err(Refusal::Forged),
    }
}

/// Every recorded frame that is signed.
fn recorded() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../firmware-compat/tests/golden");
    let mut frames = Vec::new();
    for entry in fs::read_dir(folder).expect("the wire's recorded bytes") {
        let text = fs::read_to_string(entry.expect("an entry").path()).expect("it is text");
        let digit = |digits: &[u8]| {
            let digits = std::str::from_utf8(digits).expect("ASCII");
            u8::from_str_radix(digits, 16).expect("hex")
        };
        let bytes: Vec<u8> = text.trim().as_bytes().chunks(2).map(digit).collect();
        if Frame::parse(&bytes).is_ok_and(|frame| frame.seal.is_some()) {
            frames.push(bytes);
        }
    }
    assert!(frames.len() >= 6, "{} recorded frames are signed", frames.len());
    frames
}

#[test]
fn what_the_hub_signed_is_believed_by_its_addressee_alone() {
    for frame in recorded() {
        assert_eq!(is_believed(&frame, DEVICE), Ok(()));
        for other in ["board-2", "board-", "board-11", ALL, ""] {
            assert_eq!(is_believed(&frame, other), Err(Refusal::Forged), "{other}");
        }
    }
}

#[test]
fn a_frame_with_any_bit_changed_cut_or_longer_is_not() {
    for frame in recorded() {
        for bit in 0..frame.len() * 8 {
            let mut changed = frame.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(is_believed(&changed, DEVICE).is_err(), "bit {bit}");
        }
        for end in 0..frame.len() {
            assert!(is_believed(&frame[..end], DEVICE).is_err(), "{end} bytes");
        }
        for byte in [0, 1, 0xff] {
            assert!(is_believed(&[&frame[..], &[byte]].concat(), DEVICE).is_err());
        }
    }
}

#[test]
fn the_signature_of_one_frame_is_none_for_another() {
    let frames = recorded();
    for (one, other) in frames.iter().flat_map(|one| frames.iter().map(move |other| (one, other))) {
        let (body, _) = one.split_last_chunk::<64>().expect("it is signed");
        let (_, signature) = other.split_last_chunk::<64>().expect("it is signed");
        let mixed = [body, &signature[..]].concat();
        assert_eq!(is_believed(&mixed, DEVICE).is_ok(), one == other);
    }
}

/// Signatures that some implementations take: a key or a point of small order, a scalar beyond the group's order.
#[test]
fn signatures_without_a_key_are_none() {
    let mut order_beyond = [0xff; 64];
    order_beyond[63] = 0x1f;
    let mut identity = [0; 64];
    identity[0] = 1;
    for frame in recorded() {
        for signature in [[0; 64], [0xff; 64], identity, order_beyond] {
            let mut forged = frame.clone();
            let length = forged.len();
            forged[length - 64..].copy_from_slice(&signature);
            assert_eq!(is_believed(&forged, DEVICE), Err(Refusal::Forged));
        }
    }
}

#[test]
fn a_signature_of_a_key_that_is_not_pinned_is_none() {
    for frame in recorded() {
        for (seed, is_pinned) in [(0x5a, true), (0x5b, true), (0x5c, false)] {
            let mut signed = frame.clone();
            let sign = |message: &[u8]| pair(seed).sign(message).as_ref().try_into().expect("64");
            signed::sign(&mut signed, DEVICE, sign).expect("it has a place");
            assert_eq!(is_believed(&signed, DEVICE).is_ok(), is_pinned, "{seed:x}");
        }
    }
}

proptest! {
    #[test]
    fn bytes_of_no_meaning_are_not_believed_and_no_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..700),
        kind in 0_usize..Kind::EVERY.len(),
    ) {
        prop_assert!(is_believed(&bytes, DEVICE).is_err());
        let header = [1, Kind::EVERY[kind] as u8, 0, 0, 0, 0, 1, 0, 0, 0];
        prop_assert!(is_believed(&[&header[..], &bytes].concat(), DEVICE).is_err());
    }

    #[test]
    fn several_changes_at_once_are_noticed(
        pick in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 1..=u8::MAX), 1..8),
    ) {
        let frames = recorded();
        let sound = pick.get(&frames);
        let mut changed = sound.clone();
        for (at, by) in changes {
            let at = at.index(changed.len());
            changed[at] ^= by;
        }
        prop_assert_eq!(is_believed(&changed, DEVICE).is_ok(), changed == *sound);
    }
}
