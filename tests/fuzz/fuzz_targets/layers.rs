//! Fuzz target: see `lichen_hostile::layers`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lichen_hostile::layers(bytes));
