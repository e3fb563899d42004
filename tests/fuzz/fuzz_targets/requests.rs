//! Fuzz target: see `lichen_hostile::requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lichen_hostile::requests(bytes));
