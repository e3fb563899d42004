//! Fuzz target: see `lichen_hostile::records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lichen_hostile::records(bytes));
