//! Fuzz target: see `lichen_hostile::sealed`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lichen_hostile::sealed(bytes));
