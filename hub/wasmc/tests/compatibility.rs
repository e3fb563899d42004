//! The compatibility hash changes whenever what it stands for changes.
//!
//! wasmtime has a hash of everything that decides whether an artefact loads, but only in a build
//! with a compiler, which a device does not have. Ours is computed without. This test keeps the
//! two in step: `compatibility.txt` records both for every class.

use std::hash::{Hash, Hasher};

use lichen_wasm_host::profile::{self, Class};
use wasmtime::Engine;

const RECORD: &str = include_str!("compatibility.txt");

/// FNV-1a: the same on every machine and in every release of Rust.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn wasmtimes_hash(class: Class) -> String {
    let config = profile::config_to_compile(class).expect("the class is known");
    let engine = Engine::new(&config).expect("the settings are valid");
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[test]
fn a_change_of_settings_changes_the_compatibility_hash() {
    let now: Vec<_> = Class::ALL
        .into_iter()
        .map(|class| format!("{class} {} {}", profile::compatibility(class), wasmtimes_hash(class)))
        .collect();
    let recorded: Vec<_> = RECORD.lines().collect();
    for (now, recorded) in now.iter().zip(&recorded) {
        let ours = |line: &str| line.rsplit_once(' ').map(|(ours, _)| ours.to_owned());
        assert!(
            now == recorded || ours(now) != ours(recorded),
            "the settings have changed, raise PROFILE_REVISION: was {recorded}, is {now}"
        );
    }
    assert_eq!(now, recorded, "record the new hashes:\n{}", now.join("\n"));
}

#[test]
fn the_version_command_prints_what_a_device_reports() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_lichen-wasmc"))
        .arg("version")
        .output()
        .expect("the compiler can be started");
    let printed = String::from_utf8(output.stdout).expect("it prints text");
    for (class, line) in Class::ALL.into_iter().zip(printed.lines()) {
        let (hash, description) = (profile::compatibility(class), profile::description(class));
        assert_eq!(line, format!("{class} {hash} {description}"));
    }
    assert_eq!(printed.lines().count(), Class::ALL.len());
}
