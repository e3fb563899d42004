//! Fuzz target: see `lichen_hostile::manifests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lichen_hostile::manifests(bytes));
