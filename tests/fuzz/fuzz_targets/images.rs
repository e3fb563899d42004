//! Fuzz target: see `lichen_hostile::images`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lichen_hostile::images(bytes));
