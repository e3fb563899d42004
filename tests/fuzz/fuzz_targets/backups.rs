//! Fuzz target: see `lichen_hostile::backups`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lichen_hostile::backups(bytes));
