//! The files of `/etc` that tell a program its names and name servers: one set per Pod, shown in each of its
//! containers.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bundle::{BundleError, make_directory, write_file};
use crate::config::{EtcFiles, Network};

/// Writes the files below `dir` and says which to mount. On the device's own network they are the device's;
/// `resolv.conf` is always a copy. A file that says the right thing already is not written; one that does not is
/// written in place, so that a running container sees it: a device that changes networks changes name servers.
///
/// # Errors
/// See [`BundleError`].
pub fn write(dir: &Path, network: &Network, hostname: &str) -> Result<EtcFiles, BundleError> {
    make_directory(dir, 0o755)?;
    let place = |name: &str, content: &[u8]| {
        let path = dir.join(name);
        if fs::read(&path).is_ok_and(|current| current == content) {
            return Ok(path);
        }
        write_file(&path, content).map(|()| path)
    };
    let resolv_conf = Some(place("resolv.conf", &host_resolv_conf())?);
    if *network == Network::Host {
        let existing = |path: &str| Some(PathBuf::from(path)).filter(|path| path.is_file());
        let (hosts, hostname) = (existing("/etc/hosts"), existing("/etc/hostname"));
        return Ok(EtcFiles { hosts, hostname, resolv_conf });
    }
    let hosts = format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n"
    );
    Ok(EtcFiles {
        hosts: Some(place("hosts", hosts.as_bytes())?),
        hostname: Some(place("hostname", format!("{hostname}\n").as_bytes())?),
        resolv_conf,
    })
}

/// A device without the file has no name servers.
fn host_resolv_conf() -> Vec<u8> {
    fs::read("/etc/resolv.conf").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_knows_itself_and_its_name() {
        let scratch = tempfile::tempdir().expect("scratch");
        let dir = scratch.path().join("etc");
        let etc = write(&dir, &Network::Private, "web-0").expect("etc");
        let hosts = fs::read_to_string(etc.hosts.as_ref().expect("hosts")).expect("hosts");
        assert!(hosts.ends_with("127.0.1.1\tweb-0\n"), "{hosts}");
        assert_eq!(write(&dir, &Network::Private, "web-0").expect("etc"), etc);
    }

    #[test]
    fn on_the_devices_network_its_names_are_the_devices() {
        let scratch = tempfile::tempdir().expect("scratch");
        let etc = write(scratch.path(), &Network::Host, "pi").expect("etc");
        assert!(etc.hosts.is_none_or(|path| path == Path::new("/etc/hosts")));
        assert!(!scratch.path().join("hostname").exists());
    }
}
