//! The files of `/etc` that tell a program its names and name servers: one set per Pod, shown in each of its
//! containers.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bundle::{BundleError, make_directory, write_file};
use crate::config::{EtcFiles, Network};
use crate::resolver::{Dns, resolv_conf};

/// Names of a Pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Its host's name, one label.
    pub hostname: String,
    /// What follows that and a dot in its whole name; empty for none.
    pub domain: String,
    /// More lines: an address and its names.
    pub aliases: Vec<(String, Vec<String>)>,
    /// What differs from the device's `resolv.conf`.
    pub dns: Dns,
}

/// Writes the files below `dir` and says which to mount. On the device's own network names are the device's, and a file
/// is the device's own unless something is added to it; `resolv.conf` is always a copy. A file that says the right thing
/// already is not written; one that does not is written in place, so that a running container sees it: a device that
/// changes networks changes name servers.
///
/// # Errors
/// See [`BundleError`].
pub fn write(dir: &Path, network: &Network, names: &Names) -> Result<EtcFiles, BundleError> {
    make_directory(dir, 0o755)?;
    let place = |name: &str, content: &[u8]| {
        let path = dir.join(name);
        if fs::read(&path).is_ok_and(|current| current == content) {
            return Ok(path);
        }
        write_file(&path, content).map(|()| path)
    };
    let resolv_conf = Some(place("resolv.conf", &resolv_conf(host_resolv_conf(), &names.dns))?);
    if *network == Network::Host {
        let existing = |path: &str| Some(PathBuf::from(path)).filter(|path| path.is_file());
        let hosts = match names.aliases.is_empty() {
            true => existing("/etc/hosts"),
            false => {
                let own = fs::read("/etc/hosts").unwrap_or_default();
                let own = String::from_utf8_lossy(&own).into_owned();
                Some(place("hosts", (own + &added(&names.aliases)).as_bytes())?)
            }
        };
        return Ok(EtcFiles { hosts, hostname: existing("/etc/hostname"), resolv_conf });
    }
    let Names { hostname, domain, aliases, .. } = names;
    let whole = match domain.as_str() {
        "" => String::new(),
        domain => format!("{hostname}.{domain}\t"),
    };
    let hosts = format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{whole}{hostname}\n{}",
        added(aliases)
    );
    Ok(EtcFiles {
        hosts: Some(place("hosts", hosts.as_bytes())?),
        hostname: Some(place("hostname", format!("{hostname}\n").as_bytes())?),
        resolv_conf,
    })
}

/// The lines of aliases.
fn added(aliases: &[(String, Vec<String>)]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let lines = aliases.iter().map(|(ip, names)| format!("{ip}\t{}\n", names.join("\t")));
    format!("\n# Entries added by HostAliases.\n{}", lines.collect::<String>())
}

/// A device without the file has no name servers.
fn host_resolv_conf() -> Vec<u8> {
    fs::read("/etc/resolv.conf").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(hostname: &str) -> Names {
        Names { hostname: hostname.to_owned(), ..Names::default() }
    }

    #[test]
    fn a_pod_knows_itself_and_its_names() {
        let scratch = tempfile::tempdir().expect("scratch");
        let dir = scratch.path().join("etc");
        let read =
            |etc: &EtcFiles| fs::read_to_string(etc.hosts.as_ref().expect("hosts")).expect("hosts");
        let etc = write(&dir, &Network::Private, &names("web-0")).expect("etc");
        assert!(read(&etc).ends_with("127.0.1.1\tweb-0\n"), "{}", read(&etc));
        assert_eq!(write(&dir, &Network::Private, &names("web-0")).expect("etc"), etc);
        let more = Names {
            domain: "web.shop.svc.cluster.local".to_owned(),
            aliases: vec![("10.0.0.7".to_owned(), vec!["nas".to_owned(), "nas.lan".to_owned()])],
            ..names("till")
        };
        let etc = write(&dir, &Network::Private, &more).expect("etc");
        assert!(
            read(&etc).ends_with(
                "127.0.1.1\ttill.web.shop.svc.cluster.local\ttill\n\n\
                 # Entries added by HostAliases.\n10.0.0.7\tnas\tnas.lan\n"
            ),
            "{}",
            read(&etc)
        );
    }

    #[test]
    fn on_the_devices_network_its_names_are_the_devices() {
        let scratch = tempfile::tempdir().expect("scratch");
        let etc = write(scratch.path(), &Network::Host, &names("pi")).expect("etc");
        assert!(etc.hosts.is_none_or(|path| path == Path::new("/etc/hosts")));
        assert!(!scratch.path().join("hostname").exists());
        let aliases = vec![("10.0.0.7".to_owned(), vec!["nas".to_owned()])];
        let more = Names { aliases, ..names("pi") };
        let etc = write(scratch.path(), &Network::Host, &more).expect("etc");
        let hosts = fs::read_to_string(etc.hosts.expect("hosts")).expect("hosts");
        assert!(hosts.starts_with(&fs::read_to_string("/etc/hosts").unwrap_or_default()));
        assert!(hosts.ends_with("10.0.0.7\tnas\n"), "{hosts}");
    }
}
