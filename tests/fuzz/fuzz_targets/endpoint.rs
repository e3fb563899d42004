//! Fuzz target: see `lichen_hostile::endpoint`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lichen_hostile::endpoint(bytes));
