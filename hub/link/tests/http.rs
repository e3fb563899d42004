//! HTTP on the port of devices: who may come, how many, and for how long. What is answered is a handler's of these tests.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod conformance;

use std::{io, sync::Arc};

use conformance::{
    Rig,
    device::{DEADLINE, Device},
    embedded::start,
    fleet::{DAY, Identity, dial},
};
use lichen_trust::DEVICES;
use rumqttc::PubAckReason;
use rustls::ClientConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

type Stream = TlsStream<TcpStream>;

fn client(rig: &Rig, identity: Option<&Identity>) -> Arc<ClientConfig> {
    rig.fleet().client(identity, &[b"http/1.1"])
}

fn device(rig: &Rig, name: &str) -> Arc<ClientConfig> {
    client(rig, Some(&rig.fleet().device(name).0))
}

async fn ask(rig: &Rig, config: &Arc<ClientConfig>, path: &str) -> Stream {
    let mut stream = dial(rig.broker.address(), config.clone()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: lichen-hub\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn answer(stream: &mut Stream) -> io::Result<String> {
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap()?;
    Ok(answer)
}

async fn get(rig: &Rig, config: &Arc<ClientConfig>) -> String {
    answer(&mut ask(rig, config, "/").await).await.unwrap()
}

#[tokio::test]
async fn a_handler_knows_who_asks_and_whether_it_is_welcome() {
    let rig = start(10).await;
    let said = get(&rig, &client(&rig, None)).await;
    assert!(said.contains("verdict None, welcome false, ended false"), "{said}");
    let operator = rig.fleet().issue("admin", "system:masters", DAY);
    let said = get(&rig, &client(&rig, Some(&operator))).await;
    assert!(said.contains("verdict None, welcome false"), "{said}");
    let unknown = rig.fleet().issue("unknown", DEVICES, DAY);
    let said = get(&rig, &client(&rig, Some(&unknown))).await;
    assert!(said.contains("verdict Some(Stranger), welcome false"), "{said}");
    let pi = device(&rig, "pi");
    let said = get(&rig, &pi).await;
    assert!(
        said.contains("verdict Some(Welcome), welcome true, ended false, session None"),
        "{said}"
    );
    let _session = Device::connect(&rig.broker, "pi").await;
    let said = get(&rig, &pi).await;
    assert!(said.contains("session Some(Holder { agent: None, boot: None })"), "{said}");
    rig.link.dismiss("pi", "it was revoked");
    let said = get(&rig, &pi).await;
    assert!(said.contains("verdict Some(Dismissed(\"it was revoked\")), welcome false"), "{said}");
}

#[tokio::test]
async fn a_revoked_device_loses_its_downloads_at_once() {
    let rig = start(10).await;
    let mut pi = ask(&rig, &device(&rig, "pi"), "/hold").await;
    let mut other = ask(&rig, &device(&rig, "pi-2"), "/hold").await;
    for stream in [&mut pi, &mut other] {
        stream.read_exact(&mut [0; 17]).await.unwrap();
    }
    rig.link.dismiss("pi", "it was revoked");
    let cut_off = answer(&mut pi).await;
    assert!(
        cut_off.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::UnexpectedEof),
        "{cut_off:?}"
    );
    // What others have begun is answered when the hub stops.
    rig.link.shutdown().await;
    assert!(answer(&mut other).await.unwrap().ends_with("session None\n"));
}

#[tokio::test]
async fn one_device_has_a_few_connections_and_is_told_when_it_wants_more() {
    let rig = start(10).await;
    let config = device(&rig, "pi");
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(ask(&rig, &config, "/wait").await);
    }
    while rig.link.counts().http < 4 {
        tokio::task::yield_now().await;
    }
    let busy = get(&rig, &config).await;
    assert!(busy.starts_with("HTTP/1.1 503 ") && busy.contains("\"code\":503"), "{busy}");
    assert!(busy.contains("retry-after: 5\r\n"), "{busy}");
    assert!(get(&rig, &device(&rig, "pi-2")).await.starts_with("HTTP/1.1 200 "));
    drop(held);
    while rig.link.counts().http > 0 {
        tokio::task::yield_now().await;
    }
    assert!(get(&rig, &config).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(rig.link.counts().http_refused, 1);
}

#[tokio::test]
async fn guests_of_one_address_leave_room_for_devices() {
    let rig = start(10).await;
    let guest = client(&rig, None);
    let mut held = Vec::new();
    loop {
        let before = rig.link.counts();
        held.push(ask(&rig, &guest, "/wait").await);
        // Until it has come in, or was refused.
        while (rig.link.counts().http, rig.link.counts().http_refused)
            == (before.http, before.http_refused)
        {
            tokio::task::yield_now().await;
        }
        if rig.link.counts().http_refused > 0 {
            break;
        }
    }
    assert_eq!(held.len(), 4 + 1, "a quarter of 16, and the one that was refused");
    assert!(get(&rig, &guest).await.starts_with("HTTP/1.1 503 "));
    assert!(get(&rig, &device(&rig, "pi")).await.starts_with("HTTP/1.1 200 "));
    let mut session = Device::connect(&rig.broker, "good").await;
    assert_eq!(session.publish("lichen/1/good/up/hello", b"x").await, PubAckReason::Success);
}

#[tokio::test]
async fn http_on_a_connection_without_a_protocol_is_closed_without_a_word() {
    let rig = start(10).await;
    let config = rig.fleet().client(Some(&rig.fleet().device("pi").0), &[]);
    let mut stream = ask(&rig, &config, "/").await;
    // The end is said as TLS wants it, or the connection is cut: there is nothing to say in MQTT.
    let said = answer(&mut stream).await.unwrap_or_default();
    assert_eq!(said, "");
    assert_eq!(rig.link.counts().http, 0);
}
