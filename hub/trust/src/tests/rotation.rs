//! Handshakes while keys are changed, before and after; and what a loss of power in between leaves.

use std::{fs, path::Path};

use ::ring::signature::{ED25519, UnparsedPublicKey};
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use super::*;

/// A device with a certificate of the authority that issues now.
struct Device {
    certificate: String,
    key: String,
    roots: String,
}

impl Device {
    fn of(trust: &Trust) -> Self {
        let (key, csr) = csr();
        let certificate = trust.device(&csr, "pi-1", 90 * DAY).unwrap().certificate;
        Self { certificate, key: key.serialize_pem(), roots: trust.bundle() }
    }

    fn meets(&self, trust: &Trust) -> Result<Option<ClientCertificate>, Error> {
        handshake(trust, HUB_NAME, &self.roots, Some((&self.certificate, &self.key)))
    }
}

/// Known time passes.
fn pass(trust: &Trust, seconds: u64) {
    trust.time().at(trust.time().now() + seconds);
}

fn names(dir: &Path) -> Vec<String> {
    copy::key_files(dir).unwrap().into_iter().map(|file| file.name).collect()
}

fn copied(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.path().join(file.file_name())).unwrap();
    }
    to
}

#[test]
fn during_the_overlap_hub_and_devices_believe_each_other_whichever_authority_they_know() {
    let (_dir, trust) = trust();
    let old = Device::of(&trust);
    let fingerprint = trust.rotate_authority(30 * DAY, &[]).unwrap();
    assert_eq!(trust.fingerprint(), fingerprint);
    let new = Device::of(&trust);
    let mut of_new = CertificateDer::pem_slice_iter(new.roots.as_bytes());
    assert_eq!(Sha256::digest(of_new.next().unwrap().unwrap())[..], fingerprint, "newest first");
    assert_eq!(of_new.count(), 1, "and the old one");

    let only_new = new.roots.replace(&old.roots, "");
    for roots in [&old.roots, &new.roots, &only_new] {
        for Device { certificate, key, .. } in [&old, &new] {
            let seen = handshake(&trust, HUB_NAME, roots, Some((certificate, key)));
            assert_eq!(seen.unwrap().unwrap().common_name, "pi-1");
        }
    }
}

#[test]
fn after_the_overlap_the_old_authority_is_worth_nothing() {
    let (dir, trust) = trust();
    let old = Device::of(&trust);
    let ended = trust.fingerprint();
    trust.rotate_authority(30 * DAY, &[]).unwrap();
    let new = Device::of(&trust);
    assert_eq!(trust.renew().unwrap(), Changes::default());
    let [of_old, of_new] = [&old, &new].map(|device| {
        let certificate = CertificateDer::from_pem_slice(device.certificate.as_bytes()).unwrap();
        Verified::new(trust.era().now(), &certificate)
    });
    assert!(trust.era().holds(&of_old) && trust.era().holds(&of_new));
    pass(&trust, 30 * DAY);
    let changes = trust.renew().unwrap();
    assert!(!trust.era().holds(&of_old), "what it has opened ends, too");
    assert!(trust.era().holds(&of_new), "and nothing else");
    assert_eq!((changes.ended_authority, changes.renewed), (Some(ended), true));
    assert_eq!(trust.renew().unwrap(), Changes::default());

    assert!(new.meets(&trust).is_ok());
    let refused = handshake(&trust, HUB_NAME, &new.roots, Some((&old.certificate, &old.key)));
    assert!(refused.is_err(), "its certificate is refused");
    assert!(handshake(&trust, HUB_NAME, &old.roots, None).is_err(), "it does not know this hub");
    assert_eq!(trust.bundle(), new.roots.replace(&old.roots, ""));
    let kept = ["ca-2.key", "ca-2.pem", "signing.key", "standing"];
    assert_eq!(names(&dir.path().join("trust")), kept);
    // And then the next one.
    trust.rotate_authority(DAY, &[]).unwrap();
    assert!(new.meets(&trust).is_ok());
    assert!(Device::of(&trust).meets(&trust).is_ok());
}

#[test]
fn who_joins_by_a_token_of_before_or_after_finds_its_authority_in_the_chain() {
    let (_dir, trust) = trust();
    let before = trust.fingerprint();
    let after = trust.rotate_authority(DAY, &[]).unwrap();
    let config = Arc::new(client_config(&trust.bundle(), None));
    let chain = meet(&trust.server_config(&[b"mqtt"]), HUB_NAME, &config).unwrap().server;
    for fingerprint in [before, after] {
        let named = chain.iter().find(|one| Sha256::digest(one)[..] == fingerprint).unwrap();
        let pem = pem_of("CERTIFICATE", named);
        assert!(handshake(&trust, HUB_NAME, &pem, None).is_ok());
    }
    // Who takes whatever is there takes the one that stays.
    assert_eq!(Sha256::digest(chain.last().unwrap())[..], after);
}

#[test]
fn a_broker_that_only_knows_the_old_authority_believes_who_shows_the_way_to_it() {
    let (_dir, trust) = trust();
    let old_roots = trust.bundle();
    assert_eq!(trust.way_to_previous(), "");
    trust.rotate_authority(DAY, &[]).unwrap();
    let device = Device::of(&trust);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(old_roots.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots),
        provider.clone(),
    );
    let broker = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_cert_resolver(trust.shown.clone());
    let broker = Arc::new(broker);
    let meets = |chain: &str| {
        let mut config = client_config(&trust.bundle(), Some((chain, &device.key)));
        config.alpn_protocols.clear();
        meet(&broker, HUB_NAME, &Arc::new(config))
    };
    assert!(meets(&device.certificate).is_err());
    let chain = format!("{}{}", device.certificate, trust.way_to_previous());
    assert!(meets(&chain).is_ok());
}

#[test]
fn a_ticket_of_before_gets_nobody_in() {
    let (_dir, trust) = trust();
    let old = Device::of(&trust);
    let server = trust.server_config(&[b"mqtt"]);
    trust.rotate_authority(DAY, &[]).unwrap();
    let client = client_config(&trust.bundle(), Some((&old.certificate, &old.key)));
    let client = Arc::new(client);
    let kind = |met: Result<Met, Error>| met.map(|met| met.kind).ok();
    assert_eq!(kind(meet(&server, HUB_NAME, &client)), Some(HandshakeKind::Full));
    assert_eq!(kind(meet(&server, HUB_NAME, &client)), Some(HandshakeKind::Resumed));
    pass(&trust, DAY);
    trust.renew().unwrap();
    assert_eq!(kind(meet(&server, HUB_NAME, &client)), None);
}

#[test]
fn there_are_two_of_a_kind_at_most_and_an_overlap_of_nothing_is_none() {
    let (_dir, trust) = trust();
    let old = Device::of(&trust);
    trust.rotate_authority(DAY, &[]).unwrap();
    trust.rotate_signing_key(DAY).unwrap();
    let (state, files) = (trust.state(), names(trust.dir()));
    for refused in [trust.rotate_authority(DAY, &[]).map(drop), trust.rotate_signing_key(DAY)] {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("is being changed already"), "{refused}");
    }
    assert_eq!((trust.state(), names(trust.dir())), (state, files));
    pass(&trust, DAY);
    trust.renew().unwrap();
    trust.rotate_authority(0, &[]).unwrap();
    assert_eq!(trust.state().previous_authority, None);
    assert!(old.meets(&trust).is_err());
}

#[test]
fn the_old_signing_key_signs_until_the_new_one_is_known() {
    let (dir, trust) = trust();
    let first = trust.signing().public();
    trust.rotate_signing_key(DAY).unwrap();
    let both = trust.signing();
    assert_eq!(both.public().len(), 2);
    assert_eq!(both.public()[1..], first, "newest first");
    let signed_by = |keys: &SigningKeys, key: &[u8]| {
        let key = UnparsedPublicKey::new(&ED25519, key);
        key.verify(b"words", &keys.sign(b"words")).is_ok()
    };
    assert!(signed_by(&both, &first[0]));
    let again = Trust::open(&dir.path().join("trust"), Vec::new()).unwrap();
    assert_eq!(again.signing().public(), both.public());
    assert_eq!(again.state().signing_until, trust.state().signing_until);

    assert!(trust.end_signing_key().unwrap(), "all have it");
    assert!(!trust.end_signing_key().unwrap());
    assert_eq!(trust.signing().public(), both.public()[..1]);
    assert!(signed_by(&trust.signing(), &both.public()[0]));
    assert_eq!(names(trust.dir()), ["ca.key", "ca.pem", "signing-2.key", "standing"]);

    trust.rotate_signing_key(DAY).unwrap();
    pass(&trust, DAY);
    assert!(trust.renew().unwrap().ended_signing_key, "or the overlap is over");
    assert_eq!(trust.signing().public().len(), 1);
}

#[test]
fn a_loss_of_power_amid_a_rotation_leaves_the_old_keys_or_both() {
    let (_dir, trust) = trust();
    let old = Device::of(&trust);
    let before = copied(trust.dir());
    let fingerprint = trust.fingerprint();
    trust.rotate_authority(DAY, &[]).unwrap();
    trust.rotate_signing_key(DAY).unwrap();
    let after = copied(trust.dir());

    // New files, but not yet the moment at which they count.
    for name in names(after.path()) {
        let unfinished = copied(before.path());
        for earlier in names(after.path()).iter().take_while(|other| **other <= name) {
            if earlier != "standing" {
                fs::copy(after.path().join(earlier), unfinished.path().join(earlier)).unwrap();
            }
        }
        let opened = Trust::open(unfinished.path(), Vec::new()).unwrap();
        assert_eq!(opened.fingerprint(), fingerprint);
        assert_eq!(names(unfinished.path()), names(before.path()), "what never counted is gone");
        assert!(old.meets(&opened).is_ok());
        opened.rotate_authority(DAY, &[]).unwrap();
    }
    // They count, and what does not any more is still there.
    let unswept = copied(after.path());
    fs::copy(before.path().join("ca.key"), unswept.path().join("ca.key")).unwrap();
    let opened = Trust::open(unswept.path(), Vec::new()).unwrap();
    assert_eq!(opened.state(), trust.state());
    assert!(!unswept.path().join("ca.key").exists(), "nothing is issued with it any more");
    assert!(old.meets(&opened).is_ok() && Device::of(&opened).meets(&opened).is_ok());
}

#[test]
fn a_hub_that_lost_the_file_that_says_which_keys_count_makes_none_anew() {
    let (_dir, trust) = trust();
    trust.rotate_authority(DAY, &[]).unwrap();
    for name in ["standing", "ca-2.pem", "ca-2.cross.pem", "ca.pem", "signing.key"] {
        let damaged = copied(trust.dir());
        fs::remove_file(damaged.path().join(name)).unwrap();
        let error = Trust::open(damaged.path(), Vec::new()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("missing"), "{name}: {error}");
        assert_eq!(names(damaged.path()).len(), names(trust.dir()).len() - 1, "{name}");
    }
}
