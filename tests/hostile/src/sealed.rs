//! The bytes are what lies sealed on a device, or what was sealed and then changed. The first byte says which:
//!
//! | first byte mod 3 | what follows |
//! |---|---|
//! | 0 | a part as it came |
//! | 1 | a piece that is sealed; then pairs of a place and a byte that change it; or that cut it there, with bit 7 |
//! | 2 | a piece for the name of a device, one for a namespace, one for a name: what the seal is about |
//!
//! Nothing opens but what was sealed to this key, about this, and as it was.

use firmware_compat::{
    capacity::full as capacity,
    frame::decode_body,
    sealed::about,
    v1::owned::{Bytes, Sealed},
};
use lichen_sealing::{Sealer, open, public_key};

use crate::{meter::bounded, script::Script};

const KEY: [u8; 32] = [7; 32];
const ABOUT: &[u8] = b"about";
/// Heap bytes that a key, a nonce and an error take.
const BASE_BYTES: usize = 16 * 1024;
/// Heap bytes per byte: plain, sealed, encoded, decoded, opened.
const BYTES_PER_BYTE: usize = 32;

/// One part, or one that was changed.
pub fn sealed(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let limit = BASE_BYTES + BYTES_PER_BYTE * bytes.len();
    bounded("opening", limit, || match first % 3 {
        0 => _ = is_part(rest),
        1 => _ = changed(rest, first & 0x80 != 0),
        _ => _ = is_told_apart(rest),
    });
}

/// Nobody can make up what opens. Gives whether it could be a part.
pub(crate) fn is_part(bytes: &[u8]) -> bool {
    let Ok(sealed) = decode_body::<Sealed>(bytes) else { return false };
    assert!(sealed.content.len() <= capacity::SEALED_BYTES);
    let error = open(&KEY, ABOUT, &sealed).map(drop).expect_err("nobody has sealed this");
    !error.to_string().is_empty()
}

/// Gives whether it was changed.
pub(crate) fn changed(bytes: &[u8], cut: bool) -> bool {
    let mut script = Script::new(bytes);
    let plain = script.piece();
    let (sealer, to) = (Sealer::new(&[1; 32]), public_key(&KEY));
    let genuine = sealer.seal(&to, ABOUT, plain).expect("inputs are small");
    assert_eq!(sealer.seal(&to, ABOUT, plain).as_ref(), Ok(&genuine), "the same makes the same");
    assert_eq!(&*open(&KEY, ABOUT, &genuine).expect("it is genuine"), plain);
    assert!(open(&[8; 32], ABOUT, &genuine).is_err(), "another key opens it");
    assert!(open(&KEY, b"other", &genuine).is_err(), "it opens as something else");
    let mut all = [&genuine.encapsulated_key[..], &genuine.content].concat();
    while let (Some(place), Some(by)) = (script.byte(), script.byte()) {
        let place = usize::from(place) % all.len();
        match cut {
            true => all.truncate(place.max(genuine.encapsulated_key.len())),
            false => all[place] ^= by,
        }
    }
    let (key, content) = all.split_first_chunk().expect("a key is never cut");
    let content = Bytes::try_from(content.to_vec()).expect("no longer than before");
    let other = Sealed { encapsulated_key: *key, content };
    let is_changed = other != genuine;
    assert_eq!(open(&KEY, ABOUT, &other).is_err(), is_changed, "what was changed opens");
    is_changed
}

/// What two seals are about is told apart wherever their names are cut. Gives whether anything can be about it.
pub(crate) fn is_told_apart(bytes: &[u8]) -> bool {
    let mut script = Script::new(bytes);
    let names = [script.piece(), script.piece(), script.piece()].map(String::from_utf8_lossy);
    let [device, namespace, name] = &names;
    let Some(one) = about(device, namespace, name) else { return false };
    let joined = names.concat();
    let cuts = joined.char_indices().map(|(at, _)| at);
    for cut in cuts {
        let (device, rest) = joined.split_at(cut);
        let other = about(device, rest, "");
        let same = [device, rest, ""] == names.each_ref().map(AsRef::as_ref);
        assert_eq!(other.as_ref() == Some(&one), same, "{names:?}");
    }
    true
}
