//! Programs of others as devices: Mosquitto's clients and OpenSSL's, each with a certificate in a file.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod conformance;

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use conformance::{
    Rig,
    embedded::start,
    fleet::{DAY, Fleet},
};
use firmware_compat::{frame::Kind, id::Hash};
use lichen_link::LinkEvent;
use lichen_trust::{ClientCertificate, DEVICES, Trust};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tempfile::TempDir;

/// A directory with what a client needs, and the port.
struct Desk {
    dir: TempDir,
    port: u16,
}

impl Desk {
    fn new(rig: &Rig) -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap(), port: rig.broker.address().port() };
        desk.write("ca.pem", &rig.fleet().trust.bundle());
        desk.write("foreign-ca.pem", &Fleet::new().trust.bundle());
        desk
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.dir.path().join(name), content).unwrap();
    }

    /// Puts a certificate and its key beside each other, and gives the key's hash.
    fn issue(&self, trust: &Trust, name: &str, group: &str) -> Hash {
        let made = trust.client(name, group, DAY).unwrap();
        self.write(&format!("{name}.pem"), &made.certificate);
        self.write(&format!("{name}.key"), &made.key);
        let der = CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap();
        Hash(ClientCertificate::read(&der).unwrap().key)
    }

    /// Runs a program with these words, and these bytes to read. Gives all that it prints. `PORT` is the port, `TLS` what
    /// Mosquitto's clients need to know this hub.
    fn run(&self, line: &str, input: &[u8]) -> String {
        let tls = "-h localhost -p PORT -V 5 --cafile ca.pem";
        let line = line.replace("TLS", tls).replace("PORT", &self.port.to_string());
        let mut words = line.split_whitespace();
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .current_dir(self.dir.path() as &Path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program is installed");
        let _ended_already = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn check(said: &str, expected: &str) {
    assert!(said.contains(expected), "{expected:?} in {said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto_pub and mosquitto_sub: run by make test"]
async fn mosquittos_clients_are_devices_with_a_devices_certificate() {
    let mut rig = start(10).await;
    let desk = Desk::new(&rig);
    rig.link.admit("pi", &[desk.issue(&rig.fleet().trust, "pi", DEVICES)]);
    let own = "--cert pi.pem --key pi.key -i pi -q 1";
    for alpn in ["", "--tls-alpn mqtt"] {
        let said = desk
            .run(&format!("mosquitto_pub -d TLS {alpn} {own} -t lichen/1/pi/up/hello -m hi"), b"");
        check(&said, "received CONNACK (0)");
        check(&said, "RC:0)");
        rig.events.wait_for(&conformance::frame("pi", Kind::Hello, b"hi")).await;
    }
    let said =
        desk.run(&format!("mosquitto_pub -d TLS {own} -t lichen/1/pi-2/up/hello -m hi"), b"");
    check(&said, "RC:135)");
    rig.link.set_head("pi", b"the head".to_vec());
    let both = "-t lichen/1/pi/down/# -t lichen/1/all/down/# -t lichen/1/pi-2/down/# -t #";
    let said = desk.run(&format!("mosquitto_sub -d TLS {own} {both} -C 1"), b"");
    check(&said, "Subscribed (mid: 1): 1, 1, 135, 162");
    check(&said, "the head");
    // It is known by its certificate, whatever it says.
    let said = desk.run("mosquitto_pub TLS --cert pi.pem --key pi.key -i pi-2 -t x -m x", b"");
    check(&said, "Client Identifier not valid");
    rig.link.dismiss("pi", "it was revoked");
    let said = desk.run(&format!("mosquitto_pub TLS {own} -t lichen/1/pi/up/hello -m hi"), b"");
    check(&said, "Not authorized");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto_pub: run by make test"]
async fn mosquittos_clients_are_nobody_without_a_devices_certificate() {
    let mut rig = start(10).await;
    let desk = Desk::new(&rig);
    desk.issue(&rig.fleet().trust, "operator", "system:masters");
    desk.issue(&rig.fleet().trust, "unknown", DEVICES);
    desk.issue(&Fleet::new().trust, "foreign", DEVICES);
    let publish = "-q 1 -t lichen/1/pi/up/hello -m hi";
    for (who, said) in [
        ("-i pi", "Not authorized"),
        ("-i operator --cert operator.pem --key operator.key", "Not authorized"),
        ("-i unknown --cert unknown.pem --key unknown.key", "Not authorized"),
        // The handshake fails, and this client shows an error, or that of TLS.
        ("-i foreign --cert foreign.pem --key foreign.key", "rror"),
    ] {
        check(&desk.run(&format!("mosquitto_pub TLS {who} {publish}"), b""), said);
    }
    // Nor is this hub anybody to a client of another, or one without TLS.
    let other =
        format!("mosquitto_pub -h localhost -p PORT --cafile foreign-ca.pem -i pi {publish}");
    check(&desk.run(&other, b""), "rror");
    let plain = format!("mosquitto_pub -h localhost -p PORT -i pi {publish}");
    check(&desk.run(&plain, b""), "rror");
    let event = rig.events.next().await;
    assert!(
        matches!(&event, LinkEvent::Stranger { device, .. } if device == "unknown"),
        "{event:?}"
    );
    assert_eq!(rig.link.counts().received, 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs openssl: run by make test"]
async fn openssl_verifies_the_hub_by_its_fixed_name_and_agrees_on_a_protocol() {
    let rig = start(10).await;
    let desk = Desk::new(&rig);
    let hub = "openssl s_client -connect localhost:PORT -CAfile ca.pem -verify_return_error";
    let said = desk.run(
        &format!("{hub} -ign_eof -verify_hostname lichen-hub -alpn http/1.1"),
        b"GET / HTTP/1.1\r\n\r\n",
    );
    check(&said, "Verify return code: 0 (ok)");
    check(&said, "ALPN protocol: http/1.1");
    check(&said, "verdict None, welcome false");
    let said = desk.run(&format!("{hub} -verify_hostname other-hub"), b"");
    check(&said, "hostname mismatch");
    let said = desk.run(&format!("{hub} -alpn h2"), b"");
    check(&said, "no application protocol");
    let said = desk.run(&format!("{hub} -tls1_1"), b"");
    check(&said, "Cipher is (NONE)");
}
