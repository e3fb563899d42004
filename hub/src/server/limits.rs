//! How many connections the hub may hold, from the system's limit of open files. A device is one of them; the API, the
//! store, artefacts and compilers have theirs kept, so that a fleet that is too large leaves the hub one that answers.

use super::registry::MAX_UPLOADS;
use lichen_link::EndpointConfig;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Devices at once, whatever the system allows: past that a hub's memory and processor are the bound, not its files.
const MAX_DEVICES: usize = 100_000;
/// Connections of the API at once, where there is plenty.
const MAX_API: usize = 4096;
/// Downloads at once, where there is plenty: each holds a piece of its file in memory, too.
const MAX_DOWNLOADS: usize = 512;
/// Open files of the hub's own, besides those that are counted one by one: the store and its new copy, locks,
/// directories, compilers' pipes, outgoing fetches, files that are open for a moment, the runtimes' own.
const FILES: usize = 64;
/// Fewer places for devices than this are worth a warning.
const FEW_DEVICES: usize = 64;
/// A limit that leaves room for a small fleet: Linux's own default.
const USUAL_FILES: u64 = 1024;
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
    /// How many of those may be watches and logs.
    pub(crate) streams: usize,
    /// How many of those may be downloads. Each has an open file besides. What streams and downloads leave is for
    /// short requests: health, operators, devices that ask how to connect.
    pub(crate) downloads: usize,
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
        let Self { open_files, devices, api, downloads, .. } = limits;
        tracing::info!(open_files, devices, api, downloads, "connections that this hub allows");
        if devices < FEW_DEVICES {
            tracing::warn!(
                open_files,
                devices,
                "this hub may open so few files that few devices can connect; raise its hard limit (LimitNOFILE= of its \
                 service, or `ulimit -Hn` in the shell that starts it) to {USUAL_FILES} or more"
            );
        }
        limits
    }

    /// A quarter of the files, up to [`MAX_API`], is the API's, [`FILES`] and the uploads' are kept, and devices get the
    /// rest. Where a quarter is more than half of what can be shared out, it is half of that.
    fn of(open_files: u64) -> Self {
        let files = usize::try_from(open_files).unwrap_or(usize::MAX);
        let left = files.saturating_sub(FILES + MAX_UPLOADS);
        let shared = left.saturating_sub(EndpointConfig::descriptors(0));
        let api = (files / 4).min(shared / 2).clamp(1, MAX_API);
        let streams = (api / 2).max(1);
        let downloads = (api / 4).clamp(1, MAX_DOWNLOADS);
        let of_endpoint = left.saturating_sub(api + downloads);
        let devices = EndpointConfig::most_devices(of_endpoint).clamp(1, MAX_DEVICES);
        Self { open_files, devices, api, streams, downloads }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(open_files: u64, devices: usize, api: usize, downloads: usize) {
        let streams = (api / 2).max(1);
        let limits = Limits { open_files, devices, api, streams, downloads };
        assert_eq!(Limits::of(open_files), limits);
    }

    #[test]
    fn devices_get_what_the_api_and_the_files_leave() {
        check(0, 1, 1, 1);
        check(256, 18, 23, 5);
        check(1024, 453, 256, 64);
        check(65_536, 60_222, 4096, 512);
        check(1 << 20, MAX_DEVICES, MAX_API, MAX_DOWNLOADS);
        check(u64::MAX, MAX_DEVICES, MAX_API, MAX_DOWNLOADS);
    }

    /// Every file that may be open, one by one.
    fn open_at_most(limits: Limits) -> usize {
        let Limits { devices, api, downloads, .. } = limits;
        // A socket of each device, of each HTTP connection of devices, of those who come and go (64 by the endpoint's own
        // bound), and of who is refused.
        let endpoint = 1 + devices + (devices / 8).clamp(16, 512) + 64 + 1;
        // Sockets of the API, its listener, and the file behind each download and upload.
        let http = 1 + api + downloads + MAX_UPLOADS;
        // Standard input, output and error; epoll, its copy, its wake-up and signals of three runtimes.
        let process = 3 + 3 * 6;
        // The file, its new copy and their directory; the locks of state and artefacts.
        let store = 3 + 2;
        // Each of two compilers: input, output, both pipes at both ends while it starts, its pidfd.
        let compilers = 2 * 7;
        endpoint + http + process + store + compilers
    }

    #[test]
    fn everything_together_stays_below_the_limit() {
        let most = [197, 200, 256, 300, 512, 1024, 4096, 20_000, 100_000, 1 << 20];
        for open_files in most {
            let together = open_at_most(Limits::of(open_files));
            assert!(together as u64 <= open_files, "{together} of {open_files}");
        }
    }

    #[test]
    fn watches_and_downloads_leave_connections_for_short_requests() {
        for open_files in [256, 1024, 4096, 1 << 20] {
            let Limits { api, streams, downloads, .. } = Limits::of(open_files);
            assert!(streams + downloads < api, "{streams} and {downloads} of {api}");
        }
    }
}
