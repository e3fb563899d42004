//! The engine settings of a device class: the one place that both the hub's compiler and the
//! device's runtime read.
//!
//! A precompiled artefact only loads into an engine with the same settings. So every setting that
//! reaches the artefact is spelled out here, none is left to a default that a Cargo feature or
//! the machine could change. A change to anything below raises [`PROFILE_REVISION`]; a test of
//! `lichen-wasmc` compares with wasmtime's own hash of the settings and fails if that is forgotten.
//!
//! **CPU features.** Code is compiled for the baseline of its class, so that every device of the
//! class runs it: x86-64 with SSE2, Armv8.0-A, RV64GC. Nothing is inferred from the machine that
//! compiles. A faster level of a class would be a class of its own.
//!
//! **Memory.** Reservations are address space only: nothing is committed before the guest touches
//! it. The 64-bit native classes reserve 4 GiB with guard pages per linear memory, which removes
//! bounds checks. The interpreted classes check bounds anyway and reserve little, so that a 32-bit
//! board keeps its address space.

use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};
use wasmtime::{Config, Inlining, ModuleVersionStrategy, WasmBacktraceDetails};
use wasmtime::{Result as WasmtimeResult, WasmFeatures};

/// Raised by one whenever a setting in this file changes.
pub const PROFILE_REVISION: u32 = 1;

/// How deep a guest's calls may nest, in bytes of native stack. Not address space of the guest.
const MAX_STACK_BYTES: usize = 512 << 10;

/// The stack that a guest and the host functions it calls run on; committed page by page.
const CALL_STACK_BYTES: usize = 1 << 20;

/// A kind of device that can run the same precompiled artefact.
///
/// The names are stable: they are part of the wire, of file names and of the compatibility hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// 64-bit x86 with SSE2: every 64-bit PC.
    X86_64,
    /// 64-bit little-endian Arm, Armv8.0-A: Raspberry Pi 3 and later with a 64-bit system.
    Aarch64,
    /// 64-bit RISC-V, RV64GC. Without the vector extension there is no SIMD.
    Riscv64,
    /// Any other 32-bit little-endian machine, such as Armv7: interpreted.
    Pulley32,
    /// Any other 64-bit little-endian machine: interpreted.
    Pulley64,
}

/// A class name that no release knows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown device class {0:?}: use x86_64, aarch64, riscv64, pulley32 or pulley64")]
pub struct UnknownClass(pub String);

impl Class {
    /// Every class, in the order of their names in the documentation.
    pub const ALL: [Class; 5] =
        [Class::X86_64, Class::Aarch64, Class::Riscv64, Class::Pulley32, Class::Pulley64];

    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::X86_64 => "x86_64",
            Class::Aarch64 => "aarch64",
            Class::Riscv64 => "riscv64",
            Class::Pulley32 => "pulley32",
            Class::Pulley64 => "pulley64",
        }
    }

    /// Reads a stable name.
    ///
    /// # Errors
    /// [`UnknownClass`] with the name and the ones that exist.
    pub fn parse(name: &str) -> Result<Class, UnknownClass> {
        let known = Class::ALL.into_iter().find(|class| class.as_str() == name);
        known.ok_or_else(|| UnknownClass(name.to_owned()))
    }

    /// The class of the machine that this program was built for.
    pub const fn of_this_machine() -> Class {
        // Interpreted code is little-endian here; a big-endian class would need its own target.
        const { assert!(cfg!(target_endian = "little"), "big-endian machines have no class yet") };
        if cfg!(target_arch = "x86_64") && cfg!(target_pointer_width = "64") {
            Class::X86_64
        } else if cfg!(target_arch = "aarch64") && cfg!(target_pointer_width = "64") {
            Class::Aarch64
        } else if cfg!(target_arch = "riscv64") {
            Class::Riscv64
        } else if cfg!(target_pointer_width = "32") {
            Class::Pulley32
        } else {
            Class::Pulley64
        }
    }

    /// The target triple that wasmtime compiles for. The C library does not matter to the
    /// artefact: one triple serves glibc and musl devices.
    pub const fn target(self) -> &'static str {
        match self {
            Class::X86_64 => "x86_64-unknown-linux-gnu",
            Class::Aarch64 => "aarch64-unknown-linux-gnu",
            Class::Riscv64 => "riscv64gc-unknown-linux-gnu",
            Class::Pulley32 => "pulley32",
            Class::Pulley64 => "pulley64",
        }
    }

    /// Whether artefacts of this class are bytecode for wasmtime's interpreter.
    pub const fn is_interpreted(self) -> bool {
        matches!(self, Class::Pulley32 | Class::Pulley64)
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an artefact of `class` must have been made with, in words. It is stored in every artefact,
/// and wasmtime refuses to load one that says anything else.
pub fn description(class: Class) -> String {
    format!("{class}, wasmtime {}, profile {PROFILE_REVISION}", wasmtime_version())
}

/// A short stable name of [`description`]: 32 hexadecimal digits. A device reports it, the
/// hub picks the compiler with the same one and files artefacts under it.
pub fn compatibility(class: Class) -> String {
    let digest = Sha256::digest(description(class).as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The settings for running artefacts of `class` on this machine.
///
/// # Errors
/// When this build of wasmtime does not know the class's target.
pub fn config_to_run(class: Class) -> WasmtimeResult<Config> {
    let mut config = shared(class)?;
    // For native code wasmtime insists on the exact triple of the build, musl or glibc, and takes
    // that when none is named.
    if class.is_interpreted() {
        config.target(class.target())?;
    }
    config.max_wasm_stack(MAX_STACK_BYTES);
    config.async_stack_size(CALL_STACK_BYTES);
    Ok(config)
}

/// The settings for compiling artefacts of `class` on any machine.
///
/// # Errors
/// When this build of wasmtime does not know the class's target.
pub fn config_to_compile(class: Class) -> WasmtimeResult<Config> {
    let mut config = shared(class)?;
    config.target(class.target())?;
    // Traps walk frame pointers; unwind tables would only be more bytes to send.
    config.native_unwind_info(false);
    Ok(config)
}

fn shared(class: Class) -> WasmtimeResult<Config> {
    let mut config = Config::new();
    config.module_version(ModuleVersionStrategy::Custom(description(class)))?;
    language(&mut config, class);
    memory(&mut config, class);

    config.concurrency_support(false);
    config.consume_fuel(false);
    config.epoch_interruption(false);
    config.table_lazy_init(true);
    config.compiler_inlining(Inlining::No);
    config.relaxed_simd_deterministic(false);

    // What would only serve a debugger is left out of the artefact. Function names stay: a trap
    // names the functions that it came through.
    config.debug_info(false);
    config.debug_symbols(false);
    config.generate_address_map(false);
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    Ok(config)
}

/// WebAssembly 3.0 without garbage collection, exceptions and threads, which the small runtime
/// leaves out.
fn language(config: &mut Config, class: Class) {
    let mut features = WasmFeatures::WASM3 | WasmFeatures::COMPONENT_MODEL;
    features -= WasmFeatures::GC | WasmFeatures::GC_TYPES | WasmFeatures::FUNCTION_REFERENCES;
    features -= WasmFeatures::EXCEPTIONS | WasmFeatures::THREADS;
    if class == Class::Riscv64 {
        features -= WasmFeatures::SIMD | WasmFeatures::RELAXED_SIMD;
    }
    config.wasm_features(WasmFeatures::all(), false);
    config.wasm_features(features, true);
}

fn memory(config: &mut Config, class: Class) {
    let (reservation, growth, guard) = match class {
        Class::X86_64 | Class::Aarch64 | Class::Riscv64 => (4 << 30, 2 << 30, 32 << 20),
        Class::Pulley64 => (64 << 20, 16 << 20, 0),
        // One instance per process: even 64 MiB leaves most of a 32-bit address space.
        Class::Pulley32 => (64 << 20, 16 << 20, 0),
    };
    config.memory_reservation(reservation);
    config.memory_reservation_for_growth(growth);
    config.memory_guard_size(guard);
    config.guard_before_linear_memory(!class.is_interpreted());
    config.memory_may_move(true);
    // Initial data is mapped from the artefact and copied page by page, when it is written.
    config.memory_init_cow(true);
    config.signals_based_traps(!class.is_interpreted());
}

/// The version of the wasmtime that is linked in. wasmtime only exports it through this hash.
fn wasmtime_version() -> String {
    let mut hasher = Listener(Vec::new());
    ModuleVersionStrategy::WasmtimeVersion.hash(&mut hasher);
    // A string is hashed as its bytes and then one 0xff.
    hasher.0.retain(u8::is_ascii);
    String::from_utf8_lossy(&hasher.0).into_owned()
}

/// A hasher that keeps what it hears.
struct Listener(Vec<u8>);

impl Hasher for Listener {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_parsed_from_its_own_name() {
        for class in Class::ALL {
            assert_eq!(Class::parse(class.as_str()), Ok(class));
        }
        let error = Class::parse("sparc").expect_err("there is no such class");
        assert!(error.to_string().contains("sparc"));
    }

    #[test]
    fn the_version_of_wasmtime_is_three_numbers() {
        let version = wasmtime_version();
        let numbers: Vec<_> = version.split('.').map(str::parse::<u32>).collect();
        assert_eq!(numbers.len(), 3, "{version}");
        assert!(numbers.iter().all(Result::is_ok), "{version}");
    }

    #[test]
    fn every_class_has_a_compatibility_hash_of_its_own() {
        let hashes: std::collections::BTreeSet<_> =
            Class::ALL.into_iter().map(compatibility).collect();
        assert_eq!(hashes.len(), Class::ALL.len());
        assert!(hashes.iter().all(|hash| hash.len() == 32));
    }
}
