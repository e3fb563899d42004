//! Fuzz target: see `lichen_hostile::agent`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lichen_hostile::agent(bytes));
