//! What strangers may throw at the port before it is known who they are, over real sockets. How long each may take is
//! tried with a moved clock beside the code (`endpoint/handshake.rs`).

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod conformance;

use std::{io, net::SocketAddr, sync::Arc};

use conformance::{
    Rig,
    device::{DEADLINE, Device},
    embedded::{start, start_at},
    fleet::{Fleet, dial, shake},
};
use lichen_link::{Endpoint, LinkCounts, LinkEvent};
use rumqttc::PubAckReason;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore, version::TLS12};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Says these bytes on a bare socket. Gives what is answered until the connection is closed.
async fn say(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _cut_off = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _reset = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
    answer
}

/// Connects from another loopback address, as if from another machine.
async fn connect_from(from: [u8; 4], to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(to).await
}

/// A good device goes on as before.
async fn still_serves(device: &mut Device) {
    assert_eq!(device.publish("lichen/1/good/up/hello", b"x").await, PubAckReason::Success);
}

/// Waits until the counts are as wanted.
async fn until(rig: &Rig, are_wanted: impl Fn(&LinkCounts) -> bool) {
    let counted = async {
        while !are_wanted(&rig.link.counts()) {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, counted).await.unwrap_or_else(|_| panic!("{:?}", rig.link.counts()));
}

#[tokio::test]
async fn what_is_not_tls_is_answered_with_an_alert_and_closed() {
    let rig = start(100).await;
    let mut good = Device::connect(&rig.broker, "good").await;
    let connect = b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02pi";
    let sslv2 = b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80\x03\x00\x80";
    for bytes in [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], connect, sslv2, &[0; 64], &[0xFF; 64]]
    {
        let answer = say(rig.broker.address(), bytes).await;
        assert_eq!(answer.first(), Some(&21), "an alert: {answer:02x?}");
        still_serves(&mut good).await;
    }
    until(&rig, |counts| counts.handshakes_failed == 5).await;
}

#[tokio::test]
async fn a_hello_that_is_too_large_is_cut_off() {
    let rig = start(100).await;
    let first = [&[22, 3, 1, 0x40, 0, 1, 0, 0xFF, 0xFF][..], &[0; 0x4000 - 4]].concat();
    let more = [&[22, 3, 1, 0x40, 0][..], &[0; 0x4000]].concat();
    // Whether it hears of it, or only sees its connection go while it talks.
    let _answer = say(rig.broker.address(), &[first, more.repeat(5)].concat()).await;
    until(&rig, |counts| counts.handshakes_failed == 1).await;
    until(&rig, |counts| counts.connections == 0).await;
}

#[tokio::test]
async fn a_protocol_that_is_not_spoken_is_refused_in_the_handshake() {
    let rig = start(100).await;
    let (own, _) = rig.fleet().device("pi");
    let config = rig.fleet().client(Some(&own), &[b"h2"]);
    let error = dial(rig.broker.address(), config).await.unwrap_err().to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
    // One of several is enough.
    let config = rig.fleet().client(Some(&own), &[b"h2", b"http/1.1"]);
    assert!(dial(rig.broker.address(), config).await.is_ok());
}

#[tokio::test]
async fn old_tls_is_spoken_and_older_is_not() {
    let rig = start(100).await;
    let authority = CertificateDer::from_pem_slice(rig.fleet().trust.bundle().as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let old = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut stream = dial(rig.broker.address(), Arc::new(old)).await.unwrap();
    stream.write_all(b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02pi").await.unwrap();
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).await.unwrap();
    assert_eq!(connack[0], 0x20, "it is told that it lacks a certificate");
}

#[tokio::test]
async fn silent_and_stalled_connections_of_one_address_hold_up_nobody_else() {
    let rig = start(100).await;
    let address = rig.broker.address();
    let mut good = Device::connect(&rig.broker, "good").await;
    let mut stalled = Vec::new();
    for number in 0..200 {
        let mut stream = connect_from([127, 0, 0, 2], address).await.unwrap();
        // Some say nothing; some stop in the middle of a record, of a hello, or of what follows.
        let part: &[u8] = match number % 3 {
            0 => b"",
            1 => &[22, 3],
            _ => &[22, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3],
        };
        let _turned_away = stream.write_all(part).await;
        stalled.push(stream);
    }
    still_serves(&mut good).await;
    let mut other = Device::connect(&rig.broker, "one").await;
    assert_eq!(other.publish("lichen/1/one/up/hello", b"x").await, PubAckReason::Success);
    // Half of what is left at the most: 100 devices, 16 for HTTP, 64 more, and one of them was in.
    let counts = rig.link.counts();
    assert!(counts.crowded >= 200 - (100 + 16 + 64) / 2, "{counts:?}");
    assert_eq!(counts.turned_away, 0);
    drop(stalled);
    until(&rig, |counts| counts.connections == 2).await;
}

/// Stalled between the handshake and the CONNECT, amid a record: bytes that can't be decrypted yet.
#[tokio::test]
async fn half_a_record_is_waited_for_and_holds_up_nobody() {
    let mut rig = start(100).await;
    let (_, config) = rig.fleet().device("pi");
    let mut stream = dial(rig.broker.address(), config).await.unwrap();
    let (io, connection) = stream.get_mut();
    let mut record = Vec::new();
    io::Write::write_all(
        &mut connection.writer(),
        b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02pi",
    )
    .unwrap();
    connection.write_tls(&mut record).unwrap();
    let (first, second) = record.split_at(record.len() / 2);
    io.write_all(first).await.unwrap();
    let mut good = Device::connect(&rig.broker, "good").await;
    still_serves(&mut good).await;
    io.write_all(second).await.unwrap();
    rig.events.wait_for(&LinkEvent::Connected { device: "pi".into() }).await;
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).await.unwrap();
    assert_eq!((connack[0], connack[3]), (0x20, 0));
}

#[tokio::test]
async fn one_socket_serves_both_families_of_addresses() {
    let everywhere = "[::]:0".parse().unwrap();
    let rig = start_at(Fleet::new(), everywhere, 100, 1024).await.unwrap();
    let port = rig.broker.address().port();
    let (_, config) = rig.fleet().device("pi");
    let mut served = 0;
    for address in [
        SocketAddr::from(([127, 0, 0, 1], port)),
        SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)),
    ] {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                shake(stream, config.clone()).await.unwrap();
                served += 1;
            }
            // A machine without IPv6 has the other family alone.
            Err(error) => assert!(address.is_ipv6(), "{address}: {error}"),
        }
    }
    assert!(served >= 1);
    if rig.broker.address().is_ipv6() {
        assert_eq!(served, 2);
    }
}

/// A hub that is killed leaves no thread waiting, wherever it is dropped.
#[tokio::test]
async fn an_endpoint_may_be_dropped_among_tasks() {
    let fleet = Fleet::new();
    let (sender, _events) = tokio::sync::mpsc::channel(8);
    let any_port = "127.0.0.1:0".parse().unwrap();
    let (endpoint, address) = Endpoint::start(fleet.config(any_port, 10), sender).await.unwrap();
    let mut stream = dial(address, fleet.device("pi").1).await.unwrap();
    drop(endpoint);
    let cut_off = timeout(DEADLINE, stream.read_u8()).await.unwrap();
    assert!(cut_off.is_err());
}
