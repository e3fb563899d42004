//! Fuzz target: see `lichen_hostile::state`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lichen_hostile::state(bytes));
