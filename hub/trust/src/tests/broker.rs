//! What a broker gets: a certificate that is no hub's, and lists that a TLS library heeds.

use rustls::{
    CertificateError,
    pki_types::{CertificateRevocationListDer, UnixTime},
    server::WebPkiClientVerifier,
};

use super::*;

/// Whether a server that believes this hub and checks these lists lets a client in.
fn judge(trust: &Trust, lists: &str, certificate: &str) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(trust.bundle().as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let lists = CertificateRevocationListDer::pem_slice_iter(lists.as_bytes());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .with_crls(lists.map(Result::unwrap))
        .only_check_end_entity_revocation()
        .build()
        .unwrap();
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>().unwrap();
    verifier.verify_client_cert(&chain[0], &chain[1..], UnixTime::now()).map(drop)
}

const REVOKED: Error = Error::InvalidCertificate(CertificateError::Revoked);

#[test]
fn what_is_on_the_list_is_refused_and_nothing_else() {
    let (_dir, trust) = trust();
    let [one, other] = [csr(), csr()].map(|(_, csr)| trust.device(&csr, "pi-1", 90 * DAY).unwrap());
    let nothing = trust.revocations(&[]).unwrap();
    assert_eq!(judge(&trust, &nothing, &one.certificate), Ok(()));
    let list = trust.revocations(std::slice::from_ref(&one.serial)).unwrap();
    assert_eq!(judge(&trust, &list, &one.certificate), Err(REVOKED));
    assert_eq!(judge(&trust, &list, &other.certificate), Ok(()));
}

#[test]
fn the_last_list_of_an_old_authority_goes_with_the_new_ones_until_it_is_believed_no_more() {
    let (dir, trust) = trust();
    let [one, other] = [csr(), csr()].map(|(_, csr)| trust.device(&csr, "pi-1", 90 * DAY).unwrap());
    trust.rotate_authority(DAY, std::slice::from_ref(&one.serial)).unwrap();
    let (_, csr) = csr();
    let new = trust.device(&csr, "pi-2", 90 * DAY).unwrap();
    let trust = Trust::open(&dir.path().join("trust"), Vec::new()).unwrap();
    let lists = trust.revocations(&[]).unwrap();
    assert_eq!(judge(&trust, &lists, &one.certificate), Err(REVOKED));
    for good in [&other.certificate, &new.certificate] {
        assert_eq!(judge(&trust, &lists, good), Ok(()));
    }
    trust.time().at(trust.time().now() + 2 * DAY);
    trust.renew().unwrap();
    assert_eq!(trust.revocations(&[]).unwrap().matches("BEGIN X509 CRL").count(), 1);
}

#[test]
fn a_device_that_asks_again_and_again_has_few_certificates_by_their_numbers() {
    let (_dir, trust) = trust();
    let (_, csr) = csr();
    let certificate = |now, name| trust.authority().device(&csr, name, now, 90 * DAY).unwrap();
    let first = certificate(1_000 * DAY, "pi-1");
    let numbers: std::collections::BTreeSet<Vec<u8>> =
        (0..90 * 24).map(|hour| certificate(1_000 * DAY + hour * 3600, "pi-1").serial).collect();
    assert!((64..=65).contains(&numbers.len()), "{}", numbers.len());
    let again = certificate(1_000 * DAY, "pi-1");
    assert_eq!((&again.serial, again.not_after), (&first.serial, first.not_after));
    assert_ne!(certificate(1_000 * DAY, "pi-2").serial, first.serial);
    let (_, other) = super::csr();
    assert_ne!(trust.device(&other, "pi-1", 90 * DAY).unwrap().serial, first.serial);
}

#[test]
fn a_brokers_certificate_is_good_for_a_broker_and_never_for_the_hub() {
    let (_dir, trust) = trust();
    let names = ["broker.example", "192.0.2.1", "localhost"].map(str::to_owned);
    let broker = trust.broker(&names).unwrap();
    let shown = Arc::new(server_of(&broker.credentials));
    let client = Arc::new(client_config(&trust.bundle(), None));
    for name in [crate::broker::BROKER_NAME, "broker.example", "192.0.2.1", "localhost"] {
        meet(&shown, name, &client).map(drop).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for name in [HUB_NAME, "hub.example"] {
        assert!(meet(&shown, name, &client).is_err(), "{name}");
        let refused = trust.broker(&[name.to_uppercase()]).unwrap_err().to_string();
        assert!(refused.contains("leave it out"), "{refused}");
    }
    // It serves, and is nobody's client.
    let Credentials { certificate, key } = &broker.credentials;
    let as_client = handshake(&trust, HUB_NAME, &trust.bundle(), Some((certificate, key)));
    assert!(as_client.is_err(), "{as_client:?}");
    for bad in ["a b", "", "*.example", "broker.example:8883"] {
        assert!(matches!(trust.broker(&[bad.to_owned()]), Err(TrustError::Name(_))), "{bad}");
    }
}

fn server_of(credentials: &Credentials) -> rustls::ServerConfig {
    let chain = CertificateDer::pem_slice_iter(credentials.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(credentials.key.as_bytes()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(chain.collect::<Result<_, _>>().unwrap(), key)
    .unwrap();
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    config
}
