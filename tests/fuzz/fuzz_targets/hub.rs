//! Fuzz target: see `lichen_hostile::hub`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lichen_hostile::hub(bytes));
