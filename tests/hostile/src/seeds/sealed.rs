//! Seals: what nobody has sealed, what was changed, and names that are nearly the same.

use super::{Seed, golden, piece, seed};
use crate::sealed::{changed, is_part, is_told_apart};

pub(super) fn seeds() -> Vec<Seed> {
    let plain = piece(b"hunter2");
    let with = |first: u8, rest: &[u8]| [&[first], &plain[..], rest].concat();
    let about = [&[2][..], &piece(b"pi"), &piece(b"default"), &piece(b"db")].concat();
    let none = [&[1][..], &piece(b""), &[0, 1]].concat();
    vec![
        seed("sealed", "about", about, |bytes| is_told_apart(&bytes[1..])),
        seed("sealed", "changed-key", with(1, &[0, 1]), |bytes| changed(&bytes[1..], false)),
        // X25519 does not look at this bit; HPKE does.
        seed("sealed", "changed-key-last-bit", with(1, &[31, 0x80]), |bytes| {
            changed(&bytes[1..], false)
        }),
        seed("sealed", "changed-content", with(1, &[33, 1]), |bytes| changed(&bytes[1..], false)),
        seed("sealed", "cut", with(0x82, &[40, 0]), |bytes| changed(&bytes[1..], true)),
        seed("sealed", "cut-to-nothing", with(0x82, &[32, 0]), |bytes| changed(&bytes[1..], true)),
        seed("sealed", "nothing-sealed", none, |bytes| changed(&bytes[1..], false)),
        seed("sealed", "of-nobody", [vec![0], golden("sealed")].concat(), |bytes| {
            is_part(&bytes[1..])
        }),
        seed("sealed", "unchanged", with(1, &[]), |bytes| !changed(&bytes[1..], false)),
    ]
}
