//! What is sealed is opened by the one key, for the one purpose, and by nothing else; and equal input is equal output.

use firmware_compat::{capacity::full as capacity, sealed::about, v1::owned::Sealed};
use lichen_sealing::{OpenError, SealError, Sealer, open, public_key};
use proptest::prelude::*;

const DEVICE: [u8; 32] = [7; 32];

fn sealer() -> Sealer {
    Sealer::new(&[3; 32])
}

fn seal(plain: &[u8]) -> Sealed {
    sealer().seal(&public_key(&DEVICE), b"about", plain).expect("it can be sealed")
}

fn bytes(sealed: &Sealed) -> Vec<u8> {
    [&sealed.encapsulated_key[..], &sealed.content].concat()
}

#[test]
fn the_public_key_is_the_one_of_rfc_7748() {
    // Section 6.1: Alice's pair.
    let private = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    let public = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    assert_eq!(public_key(&private), public);
}

fn hex(text: &str) -> [u8; 32] {
    let byte = |at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex");
    std::array::from_fn(byte)
}

#[test]
fn the_same_is_sealed_to_the_same_bytes_and_anything_else_to_others() {
    let (one, to) = (seal(b"hunter2"), public_key(&DEVICE));
    assert_eq!(bytes(&one), bytes(&seal(b"hunter2")));
    let others = [
        sealer().seal(&to, b"about", b"hunter3"),
        sealer().seal(&to, b"abou", b"thunter2"),
        sealer().seal(&public_key(&[8; 32]), b"about", b"hunter2"),
        Sealer::new(&[4; 32]).seal(&to, b"about", b"hunter2"),
    ];
    for other in others {
        let other = other.expect("it can be sealed");
        assert_ne!(other.encapsulated_key, one.encapsulated_key, "one key pair for two messages");
    }
}

#[test]
fn bytes_are_as_recorded() {
    // A hub that seals otherwise gives every device with a Secret a new generation.
    let hex: String = bytes(&seal(b"hunter2")).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("sealed.hex").trim());
}

#[test]
fn nothing_is_sealed_to_a_key_that_agrees_on_nothing() {
    let sealed = sealer().seal(&[0; 32], b"about", b"hunter2");
    assert_eq!(sealed.map(|sealed| bytes(&sealed)), Err(SealError::Key));
    let long = vec![0; capacity::SEALED_BYTES];
    let sealed = sealer().seal(&public_key(&DEVICE), b"about", &long);
    assert_eq!(sealed.map(|sealed| bytes(&sealed)), Err(SealError::TooLong));
}

#[test]
fn what_is_for_one_device_or_secret_is_nothing_for_another() {
    let about = |device, name| about(device, "default", name).expect("short");
    let to = public_key(&DEVICE);
    let sealed = sealer().seal(&to, &about("pi", "db"), b"hunter2").expect("it can be sealed");
    assert_eq!(open(&DEVICE, &about("pi", "db"), &sealed).expect("it opens")[..], *b"hunter2");
    assert_eq!(open(&DEVICE, &about("pi", "other"), &sealed), Err(OpenError));
    assert_eq!(open(&DEVICE, &about("other", "db"), &sealed), Err(OpenError));
    assert_eq!(open(&[8; 32], &about("pi", "db"), &sealed), Err(OpenError));
}

proptest! {
    #[test]
    fn what_was_sealed_is_opened(plain: Vec<u8>, about: Vec<u8>, private: [u8; 32]) {
        let sealed = sealer().seal(&public_key(&private), &about, &plain).expect("short");
        let opened = open(&private, &about, &sealed);
        prop_assert_eq!(opened.as_deref(), Ok(&plain));
    }

    #[test]
    fn a_changed_or_cut_part_does_not_open(plain: Vec<u8>, at: usize, bit in 0_u8..8) {
        let sealed = seal(&plain);
        let mut changed = bytes(&sealed);
        let at = at % changed.len();
        changed[at] ^= 1 << bit;
        let (key, content) = changed.split_at(32);
        let changed = Sealed {
            encapsulated_key: key.try_into().expect("32 bytes"),
            content: content.to_vec().try_into().expect("short"),
        };
        // X25519 ignores the highest bit of a key: what is sent is bound to the content all the same.
        prop_assert_eq!(open(&DEVICE, b"about", &changed), Err(OpenError));
        let content = sealed.content[..at.min(sealed.content.len() - 1)].to_vec();
        let cut = Sealed { content: content.try_into().expect("short"), ..sealed };
        prop_assert_eq!(open(&DEVICE, b"about", &cut), Err(OpenError));
    }

    #[test]
    fn random_bytes_are_never_a_panic(key: [u8; 32], content: Vec<u8>, private: [u8; 32]) {
        let content = content.try_into().expect("short");
        let sealed = Sealed { encapsulated_key: key, content };
        prop_assert_eq!(open(&private, b"about", &sealed), Err(OpenError));
    }
}
