//! The kubeconfig that a hub leaves for its owner, so that `lichen` on the hub's machine works without being told anything.
//! The hub writes it when it starts, and anew when it has moved or the certificate in it comes to its end.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use lichen_trust::ClientCertificate;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Map, Value, json};

use super::{Document, KubeconfigError, Section, file, mark};

/// Its name in the hub's state directory.
pub const FILE: &str = "admin.kubeconfig";
/// Where a hub of the machine keeps its state.
const MACHINE: &str = "/var/lib/lichen-hub";
/// What the hub, its owner and the two together are called in it.
const CLUSTER: &str = "lichen";
const USER: &str = "lichen-admin";

/// A hub, as far as its owner's kubeconfig says it.
#[derive(Clone, Copy, Debug)]
pub struct Hub<'a> {
    /// `https://127.0.0.1:6180`: a name or address of its certificate.
    pub server: &'a str,
    /// Its authorities, in PEM.
    pub authorities: &'a str,
    /// Its known time, in seconds since 1970.
    pub now: u64,
}

/// The kubeconfig of who may do everything, in kubectl's own format. All in PEM.
#[must_use]
pub fn admin_kubeconfig(server: &str, authorities: &str, certificate: &str, key: &str) -> String {
    let data = |pem: &str| Value::String(BASE64.encode(pem));
    let mut cluster = Map::new();
    cluster.insert("server".to_owned(), server.into());
    cluster.insert("certificate-authority-data".to_owned(), data(authorities));
    mark(&mut cluster);
    let user = json!({"client-certificate-data": data(certificate), "client-key-data": data(key)});
    let mut document = Document::new();
    document.set(Section::Clusters, CLUSTER, cluster.into());
    document.set(Section::Users, USER, user);
    document.set(Section::Contexts, CLUSTER, json!({"cluster": CLUSTER, "user": USER}));
    document.set_current(CLUSTER);
    document.to_text()
}

/// Keeps a hub's kubeconfig at a path: it is written if it is not there, is not about this hub at this address, or two
/// thirds of `lifetime_s` have passed. `issue` gives a certificate and a key, in PEM, that last for that long. True if it
/// was written.
///
/// # Errors
/// What `issue` says, or the disk refuses.
pub fn keep<E: From<KubeconfigError>>(
    path: &Path,
    hub: Hub<'_>,
    lifetime_s: u64,
    issue: impl FnOnce() -> Result<(String, String), E>,
) -> Result<bool, E> {
    // One that can't be read is no loss: nobody but the hub writes it.
    let old = file::read(path).ok().flatten();
    if old.is_some_and(|old| is_good(&old, hub, lifetime_s)) {
        return Ok(false);
    }
    let (certificate, key) = issue()?;
    file::replace(path, &admin_kubeconfig(hub.server, hub.authorities, &certificate, &key))?;
    Ok(true)
}

fn is_good(old: &Document, hub: Hub<'_>, lifetime_s: u64) -> bool {
    let of = |section, name| old.get(section, name).cloned().unwrap_or_default();
    let (cluster, user) = (of(Section::Clusters, CLUSTER), of(Section::Users, USER));
    let data = |value: &Value| value.as_str().and_then(|text| BASE64.decode(text).ok());
    let authorities = data(&cluster["certificate-authority-data"]);
    let certificate = data(&user["client-certificate-data"]);
    let end = certificate.and_then(|pem| {
        let der = CertificateDer::from_pem_slice(&pem).ok()?;
        ClientCertificate::read(&der).ok().map(|certificate| certificate.not_after)
    });
    let renew_at = end.map(|end| end.saturating_sub(lifetime_s / 3));
    cluster["server"] == hub.server
        && authorities.as_deref() == Some(hub.authorities.as_bytes())
        && user["client-key-data"].is_string()
        && renew_at.is_some_and(|renew_at| hub.now < renew_at)
}

/// Remembers that a hub of this user was started, whatever its state directory: `link` points to its kubeconfig from then
/// on. See [`places`].
///
/// # Errors
/// The disk refuses. Then only hubs in the usual directories are found.
pub fn announce(link: &Path, kubeconfig: &Path) -> io::Result<()> {
    let kubeconfig = std::path::absolute(kubeconfig)?;
    if fs::read_link(link).is_ok_and(|old| old == kubeconfig) {
        return Ok(());
    }
    let dir = link.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    // A link can't be replaced in place, but one can be renamed over it.
    let new =
        tempfile::Builder::new().prefix(".hub-").make_in(dir, |new| symlink(&kubeconfig, new))?;
    new.into_temp_path().persist(link)?;
    Ok(())
}

/// Where the link to the kubeconfig of the hub is that this user started last. `state`: where the user's programs keep
/// state.
#[must_use]
pub fn last_started(state: &Path) -> PathBuf {
    state.join("lichen").join(FILE)
}

/// Where hubs on this machine leave their kubeconfigs, the likeliest first: the hub that this user started last, the
/// machine's own, and this user's in the usual directories.
#[must_use]
pub fn places(state: Option<&Path>) -> Vec<PathBuf> {
    let mut places = vec![Path::new(MACHINE).join(FILE)];
    if let Some(state) = state {
        places.insert(0, last_started(state));
        let usual = ["hub", "quickstart/hub"];
        places.extend(usual.map(|name| state.join("lichen").join(name).join(FILE)));
    }
    places
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use lichen_trust::{Credentials, Trust};

    use super::*;

    const MONTH: u64 = 30 * 24 * 3600;

    #[test]
    fn it_is_written_once_and_anew_when_it_is_about_to_end_or_the_hub_has_changed() {
        let dir = tempfile::tempdir().expect("a directory");
        let trust = Trust::open(&dir.path().join("trust"), Vec::new()).expect("trust");
        let other = Trust::open(&dir.path().join("other"), Vec::new()).expect("trust");
        let path = dir.path().join(FILE);
        let now = trust.time().now();
        let keep = |server: &str, trust: &Trust, now: u64| {
            let bundle = trust.bundle();
            let hub = Hub { server, authorities: &bundle, now };
            keep::<KubeconfigError>(&path, hub, MONTH, || {
                let admin = trust.client("system:admin", "system:masters", MONTH);
                let Credentials { certificate, key } = admin.expect("issued");
                Ok((certificate, key))
            })
            .expect("kept")
        };
        for (server, trust, now, written) in [
            ("https://a:1", &trust, now, true),
            ("https://a:1", &trust, now + MONTH / 2, false),
            ("https://a:1", &trust, now + MONTH / 3 * 2 + 60, true),
            ("https://a:2", &trust, now, true),
            ("https://a:2", &trust, now, false),
            ("https://a:2", &other, now, true),
        ] {
            assert_eq!(keep(server, trust, now), written, "{server} {now}");
        }
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        fs::write(&path, "rubbish: [").expect("damaged");
        assert!(keep("https://a:2", &other, now));
    }

    #[test]
    fn the_hub_that_was_started_last_is_found_whatever_its_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let link = last_started(&dir.path().join("state"));
        assert_eq!(places(Some(&dir.path().join("state"))).first(), Some(&link));
        for name in ["one", "two", "two"] {
            let kubeconfig = dir.path().join(name);
            fs::write(&kubeconfig, name).expect("written");
            announce(&link, &kubeconfig).expect("announced");
            assert_eq!(fs::read_to_string(&link).expect("there"), name);
        }
        let left = fs::read_dir(link.parent().expect("a parent")).expect("listed").count();
        assert_eq!(left, 1);
    }
}
