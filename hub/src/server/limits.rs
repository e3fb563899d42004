//! How many connections the hub may hold, from the system's limit of open files. A device is one of them; the API, the
//! store, artefacts and compilers have theirs kept, so that a fleet that is too large leaves the hub one that answers.

use lichen_link::EndpointConfig;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Devices at once, whatever the system allows: past that a hub's memory and processor are the bound, not its files.
const MAX_DEVICES: usize = 100_000;
/// Connections of the API at once, where there is plenty.
const MAX_API: usize = 4096;
/// Store, directories, artefacts that are read or written, compilers' pipes, outgoing fetches, the runtime's own.
const FILES: usize = 128;
/// What a system without a limit is taken to have.
const PLENTY: u64 = 1 << 20;

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Open files, as the system says.
    pub(crate) open_files: u64,
    /// Devices at once.
    pub(crate) devices: usize,
    /// Connections of the API at once.
    pub(crate) api: usize,
}

impl Limits {
    /// Raises the limit of open files as far as this process may (soft to hard), and derives the others.
    pub(crate) fn raise() -> Self {
        let allowed = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: allowed.maximum, maximum: allowed.maximum };
        let current = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => allowed.maximum,
            Err(error) => {
                tracing::warn!(%error, "could not raise the limit of open files");
                allowed.current
            }
        };
        let limits = Self::of(current.unwrap_or(PLENTY));
        let Self { open_files, devices, api } = limits;
        tracing::info!(open_files, devices, api, "connections that this hub allows");
        limits
    }

    /// A quarter of the files, up to [`MAX_API`], is the API's; [`FILES`] are kept; devices get the rest.
    fn of(open_files: u64) -> Self {
        let files = usize::try_from(open_files).unwrap_or(usize::MAX);
        let api = (files / 4).clamp(1, MAX_API);
        let overhead = api + FILES + EndpointConfig::descriptors(0);
        let devices = files.saturating_sub(overhead).clamp(1, MAX_DEVICES);
        Self { open_files, devices, api }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(open_files: u64, devices: usize, api: usize) {
        assert_eq!(Limits::of(open_files), Limits { open_files, devices, api });
    }

    #[test]
    fn devices_get_what_the_api_and_the_files_leave() {
        check(256, 1, 64);
        check(1024, 574, 256);
        check(65_536, 61_246, 4096);
        check(1 << 20, MAX_DEVICES, MAX_API);
        check(u64::MAX, MAX_DEVICES, MAX_API);
    }

    #[test]
    fn everything_together_stays_below_the_limit() {
        for open_files in [512, 1024, 4096, 20_000, 100_000] {
            let Limits { devices, api, .. } = Limits::of(open_files);
            let together = EndpointConfig::descriptors(devices) + api + FILES;
            assert!(together as u64 <= open_files, "{together} of {open_files}");
        }
    }
}
