//! What the system must allow for so many devices in one process, raised where that is possible.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors beside those that grow with the devices: files, the fleet's watches, the hub's for its store.
const RESERVE: u64 = 512;
/// What a hub keeps for its API at the most; of a smaller limit it keeps a quarter.
const MOST_FOR_API: u64 = 4096;
/// The range of ports that Linux gives to connecting sockets, where it can't be read.
const USUAL_PORTS: u64 = 28_232;

/// Raises the limit of descriptors, for this process and the hub that it starts.
///
/// # Errors
/// What is too low, and how to raise it.
pub fn raise(devices: usize) -> Result<(), String> {
    let each = devices as u64;
    // A quarter of all is a third of what is left for devices.
    let needed = each + (each / 3).min(MOST_FOR_API) + RESERVE;
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX).max(needed);
    let raised = Rlimit { current: Some(hard), maximum: Some(hard) };
    if setrlimit(Resource::Nofile, raised).is_err() {
        // Only root raises the hard limit.
        let maximum = limit.maximum.unwrap_or(u64::MAX);
        let _as_far_as_it_goes =
            setrlimit(Resource::Nofile, Rlimit { current: Some(maximum), maximum: Some(maximum) });
    }
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if allowed < needed {
        return Err(format!(
            "{devices} devices need {needed} open files in one process, and the limit is {allowed}: run as root, \
             raise it (`ulimit -Hn {needed}`, or LimitNOFILE= of a service), or choose fewer DEVICES"
        ));
    }
    let ports = local_ports();
    if ports < needed {
        return Err(format!(
            "{devices} devices need as many local ports, and the system has {ports}: \
             `sysctl net.ipv4.ip_local_port_range='10000 65535'`, or choose fewer DEVICES"
        ));
    }
    Ok(())
}

fn local_ports() -> u64 {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = text.split_whitespace().map_while(|end| end.parse::<u64>().ok());
    match (ends.next(), ends.next()) {
        (Some(first), Some(last)) => last.saturating_sub(first) + 1,
        _ => USUAL_PORTS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_devices_are_refused_with_what_to_do() {
        let error = raise(10_000_000_000).expect_err("no system allows that");
        assert!(error.contains("fewer DEVICES"), "{error}");
        raise(1).expect("one device fits everywhere");
    }
}
