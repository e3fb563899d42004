//! Handshakes with the hub by OpenSSL, curl and Mosquitto's clients: old protocols, no certificate, and certificates that are
//! somebody else's, of another time, or made by whoever shows them.

use std::fs;

use lichen_tests::{agent::Agent, hub::Hub};

use super::card::{Card, curl};
use crate::site::{DEVICE, Site};

#[test]
#[ignore = "needs openssl: run by make test"]
fn old_protocols_weak_ciphers_and_strange_protocols_get_no_connection() {
    let hub = Hub::start();
    let nobody = Card::none(&hub);
    for address in [hub.address(), hub.device_address()] {
        for how in [
            "-tls1 -cipher DEFAULT@SECLEVEL=0",
            "-tls1_1 -cipher DEFAULT@SECLEVEL=0",
            "-tls1_2 -cipher aNULL:eNULL@SECLEVEL=0",
            "-tls1_2 -cipher AES128-SHA@SECLEVEL=0",
            "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA@SECLEVEL=0",
            "-alpn h2",
            "-alpn nonsense",
        ] {
            let said = nobody.openssl(&format!("s_client -ign_eof -connect {address} {how}"));
            assert!(said.contains("SSL alert number"), "{address} {how}: {said}");
        }
        let whole = "-CAfile ca.pem -verify_return_error -verify_hostname lichen-hub";
        for how in ["-tls1_2", "-tls1_3"] {
            let said = nobody.openssl(&format!("s_client -connect {address} {whole} {how}"));
            assert!(said.contains("Verify return code: 0 (ok)"), "{address} {how}: {said}");
        }
    }
}

const EXTENSIONS: &str = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n";

/// Makes `forged.pem` for `key.pem` in the device's name. `by`: `-CA … -CAkey …` or `-signkey …`, `faked`: when.
fn forge(card: &Card, key: &str, by: &str, usage: &str, faked: Option<&str>) {
    fs::write(card.path("x.cnf"), format!("{EXTENSIONS}extendedKeyUsage={usage}\n")).unwrap();
    let subject = format!("/CN={DEVICE}/O=lichen:device");
    card.openssl(&format!("req -new -key {key} -subj {subject} -out forged.csr"));
    let serial = format!("0x{:x}", fastrand::u64(1 << 62..));
    let sign = format!(
        "x509 -req -in forged.csr {by} -extfile x.cnf -days 30 -set_serial {serial} -out forged.pem"
    );
    let words: Vec<&str> = sign.split_whitespace().collect();
    let _ = fs::remove_file(card.path("forged.pem"));
    match faked {
        Some(day) => {
            super::card::run(card.dir.path(), "faketime", &[&[day, "openssl"], &words[..]].concat())
        }
        None => card.openssl(&sign),
    };
    assert!(card.path("forged.pem").exists(), "{sign}");
}

/// Makes an authority of one's own, `own-ca.pem`, which calls itself what the hub's is called.
fn make_authority(card: &Card) {
    let subject = card.openssl("x509 -in ca.pem -noout -subject -nameopt compat");
    let subject = subject.trim().rsplit(['=', ' ', '/']).next().unwrap().to_owned();
    assert!(subject.starts_with("lichen-ca-"), "{subject}");
    card.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out own-ca.key");
    card.openssl(&format!(
        "req -x509 -new -key own-ca.key -subj /CN={subject} -days 30 -out own-ca.pem"
    ));
    assert!(card.path("own-ca.pem").exists());
}

#[test]
#[ignore = "needs openssl, curl, mosquitto_pub and faketime: run by make test"]
fn no_certificate_but_the_one_that_the_hub_issued_makes_a_device() {
    let hub = Hub::start();
    let real = Card::joined(DEVICE, &hub);
    assert_eq!(real.ask_as_device("/lichen/v1/connect").status, 200);
    assert!(real.publish("lichen/1/pi/up/event", &[]).contains("CONNACK (0)"));
    // Another device makes certificates with its own.
    let other = Card::joined("mallory", &hub);
    for name in ["key", "card"] {
        let to = real.path(&format!("mallory-{name}.pem"));
        fs::copy(other.path(&format!("{name}.pem")), to).unwrap();
    }
    make_authority(&real);
    real.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out another.pem");
    let trust = hub.state().join("trust");
    let hubs =
        format!("-CA {} -CAkey {}", trust.join("ca.pem").display(), trust.join("ca.key").display());
    let (client, server) = ("clientAuth", "serverAuth");
    let own = "-CA own-ca.pem -CAkey own-ca.key";
    let device = "-CA mallory-card.pem -CAkey mallory-key.pem";
    // The status: what the port answers over HTTP; 0, if the handshake fails.
    for (key, by, usage, faked, what, status) in [
        ("another.pem", "-signkey another.pem", client, None, "signed by itself", 0),
        ("another.pem", own, client, None, "of another authority", 0),
        ("key.pem", own, client, None, "of another authority, the right key", 0),
        ("another.pem", device, client, None, "of another device", 0),
        ("key.pem", &hubs, server, None, "for servers", 0),
        ("key.pem", &hubs, client, Some("2100-01-01"), "not yet valid", 0),
        ("key.pem", &hubs, client, Some("2015-01-01"), "expired", 401),
        ("another.pem", &hubs, client, None, "of another key, the hub's authority", 403),
    ] {
        forge(&real, key, by, usage, faked);
        if by == device {
            // With the whole chain up to the hub's authority.
            let chain = ["forged.pem", "mallory-card.pem"]
                .map(|name| fs::read_to_string(real.path(name)).unwrap());
            fs::write(real.path("forged.pem"), chain.concat()).unwrap();
        }
        let shown = ["--cert", "forged.pem", "--key", key];
        for path in ["/lichen/v1/connect", "/lichen/v1/session", "/artefacts/sha256:00"] {
            let answer = real.ask(path, &shown);
            assert_eq!(answer.status, status, "{what}: {path}: {answer:?}");
            assert!(status != 0 || answer.body.contains("alert"), "{what}: {answer:?}");
        }
        let csr =
            serde_json::json!({"csr": real.csr("x"), "sealingKey": "", "agent": "", "boot": ""});
        let renewed = real.post("/lichen/v1/renew", &csr, &shown);
        assert_eq!(renewed.status, status, "{what}: {renewed:?}");
        let words = ["-i", DEVICE, "-t", "lichen/1/pi/up/event", "-m", "x", "-q", "1"];
        let said = real.mosquitto_as("mosquitto_pub", &[&words, &shown[..]].concat());
        assert!(!said.contains("CONNACK (0)") && said.contains("rror"), "{what}: {said}");
        let api = format!("https://localhost:{}/api/v1/nodes", hub.address().port());
        let answer = curl(real.dir.path(), &[&shown, &[&api[..]][..]].concat());
        assert!(matches!(answer.status, 0 | 401 | 403), "{what}: {answer:?}");
    }
    for path in ["/lichen/v1/connect", "/lichen/v1/session", "/artefacts/sha256:00"] {
        assert_eq!(real.ask(path, &[]).status, 401, "no certificate");
    }
    let words = ["-i", DEVICE, "-t", "lichen/1/pi/up/event", "-m", "x"];
    let said = real.mosquitto_as("mosquitto_pub", &words);
    assert!(said.contains("CONNACK (135)"), "no certificate: {said}");
}

#[test]
#[ignore = "needs openssl, curl and mosquitto_pub: run by make test"]
fn a_devices_certificate_opens_nothing_on_the_operators_port() {
    let hub = Hub::start();
    let card = Card::joined(DEVICE, &hub);
    let shown = ["--cert", "card.pem", "--key", "key.pem"];
    for path in [
        "/api/v1/nodes/pi",
        "/api/v1/pods",
        "/api/v1/secrets",
        "/api/v1/namespaces/default/secrets",
        "/apis/lichen.dev/v1/enrolments",
        "/lichen/v1/trust",
        "/lichen/v1/images",
        "/lichen/v1/backup",
        "/metrics",
        "/v2/",
    ] {
        let url = format!("https://localhost:{}{path}", hub.address().port());
        let answer = curl(card.dir.path(), &[&shown, &[&url[..]][..]].concat());
        assert!(matches!(answer.status, 401 | 403), "{path}: {answer:?}");
    }
}

#[test]
#[ignore = "needs openssl, curl and mosquitto_pub: run by make test"]
fn a_stolen_card_is_worth_nothing_once_its_device_is_revoked() {
    let mut site = Site::new();
    let web = site.run_hello("web");
    let pid = site.pid_of(&web);
    let stolen = Card::copied(&site.agent, &site.hub);
    assert_eq!(stolen.ask_as_device("/lichen/v1/connect").status, 200, "it is the device's so far");
    site.cli().run(&["device", "revoke", DEVICE]).well();
    for path in ["/lichen/v1/connect", "/lichen/v1/session", "/artefacts/sha256:00"] {
        assert_eq!(stolen.ask_as_device(path).status, 403, "{path}");
    }
    let request = stolen.request(DEVICE, None);
    let renewed =
        stolen.post("/lichen/v1/renew", &request, &["--cert", "card.pem", "--key", "key.pem"]);
    assert_eq!(renewed.status, 403, "{renewed:?}");
    let said = stolen.publish("lichen/1/pi/up/event", &[]);
    assert!(said.contains("CONNACK (135)"), "{said}");
    // With a token for others it does not come back under its name, with the old key or a new one.
    let request = stolen.request(DEVICE, Some(&super::card::secret_of(&site.hub.token())));
    assert!(stolen.enrol(&request).status >= 400);
    stolen.make_key();
    let request = stolen.request(DEVICE, Some(&super::card::secret_of(&site.hub.token())));
    assert!(stolen.enrol(&request).status >= 400);
    // Nor does the device itself; what it runs is not touched.
    site.agent.kill();
    site.agent.start_again();
    assert_eq!(site.agent.pid_of(&web.uid), Some(pid));
    let _another = Agent::start("pi-2", &site.hub);
    assert!(!site.api().is_ready(DEVICE));
}
