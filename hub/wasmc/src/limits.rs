//! The limits that this process sets on itself before it looks at the program.
//!
//! Memory is limited by address space, which the allocator turns into exit code 3 (see
//! `allocator`). Time is limited by a watchdog thread, with the kernel's CPU limit behind it.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::error::{EXIT_LIMIT, Error};

/// The largest program that is read, before any other limit counts. Language runtimes compiled to
/// WebAssembly reach 30 MiB.
pub const MAX_INPUT_BYTES: u64 = 64 << 20;

/// How long after the watchdog the kernel steps in, in seconds of CPU time.
const BACKSTOP_S: u64 = 5;

/// What the compiler may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Address space, in MiB.
    pub memory_mb: u32,
    /// Wall-clock time, in seconds.
    pub time_s: u32,
}

impl Default for Limits {
    /// Enough for a program of tens of megabytes on a small server.
    fn default() -> Limits {
        Limits { memory_mb: 2048, time_s: 120 }
    }
}

impl Limits {
    /// Puts the limits in force for the rest of this process.
    ///
    /// # Errors
    /// [`Error::Fault`] when the kernel or the system refuses.
    pub fn enforce(self) -> Result<(), Error> {
        let bytes = u64::from(self.memory_mb) << 20;
        limit(Resource::As, bytes)?;
        limit(Resource::Cpu, u64::from(self.time_s) + BACKSTOP_S)?;
        // A crash on an operator's program is not worth a core file.
        limit(Resource::Core, 0)?;
        std::thread::Builder::new()
            .name("watchdog".to_owned())
            .stack_size(64 << 10)
            .spawn(move || self.watch())
            .map_err(|error| Error::Fault(format!("could not start the watchdog: {error}")))?;
        Ok(())
    }

    fn watch(self) {
        std::thread::sleep(Duration::from_secs(u64::from(self.time_s)));
        eprintln!(
            "compiling took longer than the limit of {} s: simplify the program or raise the limit",
            self.time_s
        );
        std::process::exit(i32::from(EXIT_LIMIT));
    }
}

fn limit(resource: Resource, value: u64) -> Result<(), Error> {
    let limits = Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(resource, limits)
        .map_err(|error| Error::Fault(format!("could not set limit {resource:?}: {error}")))
}
