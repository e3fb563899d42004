//! Fuzz target: see `lichen_hostile::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lichen_hostile::frames(bytes));
