//! Who comes in: certificates, the roster, revocation, and two boards with one card. Over TLS, as a stranger would try.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod conformance;

use std::{net::SocketAddr, sync::Arc};

use bytes::BytesMut;
use conformance::{
    Rig,
    device::{self, Broker, Device, Heard},
    embedded::{start, start_at},
    fleet::{DAY, Fleet, Identity, dial},
};
use firmware_compat::{
    frame::{self, Kind, Stamp},
    id::{AgentId, BootId, Hash},
    v1::owned::Gone,
};
use lichen_link::{Board, LinkEvent, Newcomer};
use lichen_trust::DEVICES;
use rumqttc::{
    ConnectReturnCode as Code, DisconnectReasonCode, LastWill, MqttOptions, Packet, PubAckReason,
    QoS,
};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Says a CONNECT of `pi` and gives the CONNACK's code and reason.
async fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> (Code, String) {
    let mut stream = dial(address, config).await.unwrap();
    stream.write_all(b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02pi").await.unwrap();
    let mut answer = BytesMut::new();
    loop {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{answer:?} is no CONNACK");
        if let Ok(Packet::ConnAck(connack)) = Packet::read(&mut answer, None) {
            let reason = connack.properties.and_then(|said| said.reason_string);
            return (connack.code, reason.unwrap_or_default());
        }
    }
}

async fn connect_with(rig: &Rig, identity: Option<&Identity>) -> (Code, String) {
    let config = rig.fleet().client(identity, &[b"mqtt"]);
    connect(rig.broker.address(), config).await
}

#[tokio::test]
async fn only_a_devices_own_certificate_lets_it_in() {
    let rig = start(10).await;
    let fleet = rig.fleet().clone();
    let issue = |name, group| fleet.issue(name, group, DAY);
    let operator = issue("pi", "system:masters");
    let other = issue("pi-2", DEVICES);
    let odd = issue("../pi", DEVICES);
    for (identity, code, why) in [
        (None, Code::NotAuthorized, "no client certificate"),
        (Some(&operator), Code::NotAuthorized, "\"pi\" is an operator's"),
        (Some(&odd), Code::NotAuthorized, "\"../pi\", is not a device name"),
        (Some(&other), Code::ClientIdentifierNotValid, "not the name in the certificate, pi-2"),
    ] {
        let (said, reason) = connect_with(&rig, identity).await;
        assert!(said == code && reason.contains(why), "{said:?} {reason}");
    }
    let (own, _) = fleet.device("pi");
    assert_eq!(connect_with(&rig, Some(&own)).await.0, Code::Success);
    // Whoever names no protocol speaks MQTT.
    let unnamed = fleet.client(Some(&own), &[]);
    assert_eq!(connect(rig.broker.address(), unnamed).await.0, Code::Success);
    assert_eq!(rig.link.counts().refused, 4);
}

#[tokio::test]
async fn a_certificate_of_another_hub_is_refused_in_the_handshake() {
    let rig = start(10).await;
    let foreign = Fleet::new().issue("pi", DEVICES, DAY);
    let config = rig.fleet().client(Some(&foreign), &[b"mqtt"]);
    let mut stream = dial(rig.broker.address(), config).await.unwrap();
    let alert = stream.read_u8().await.unwrap_err().to_string();
    assert!(alert.contains("UnknownCA") || alert.contains("DecryptError"), "{alert}");
    assert_eq!(rig.link.counts().handshakes_failed, 1);
}

/// A device that was away for a year: its certificate lets it in no more, and is good for a new one alone.
#[tokio::test]
async fn a_certificate_that_has_ended_lets_nobody_in() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trust");
    let old = Fleet::at(&path).issue("pi", DEVICES, DAY);
    // The hub knows that it is later now, whatever its clock says.
    let later = Fleet::at(&path).trust.time().now() + 2 * DAY;
    std::fs::write(path.join("known-time"), later.to_string()).unwrap();
    let any_port = "127.0.0.1:0".parse().unwrap();
    let rig = start_at(Arc::new(Fleet::at(&path)), any_port, 10, 64).await.unwrap();
    rig.link.admit("pi", &[old.hash]);
    let (code, why) = connect_with(&rig, Some(&old)).await;
    assert!(code == Code::NotAuthorized && why.contains("has ended"), "{code:?} {why}");
    let renewed = rig.fleet().issue("pi", DEVICES, DAY);
    rig.link.admit("pi", &[old.hash, renewed.hash]);
    assert_eq!(connect_with(&rig, Some(&renewed)).await.0, Code::Success);
}

#[tokio::test]
async fn a_stranger_is_told_what_to_do_and_the_engine_hears_of_it_once() {
    let mut rig = start(10).await;
    let unknown = rig.fleet().issue("unknown", DEVICES, DAY);
    rig.link.forget("pi");
    let (own, _) = rig.fleet().device("pi");
    for _ in 0..3 {
        let (code, why) = connect_with(&rig, Some(&own)).await;
        assert!(
            code == Code::NotAuthorized && why.contains("lichen device approve pi"),
            "{code:?} {why}"
        );
    }
    // Another key than that of the device that is welcome.
    rig.link.admit("pi", &[unknown.hash]);
    let (code, why) = connect_with(&rig, Some(&own)).await;
    assert!(code == Code::NotAuthorized && why.contains("another key"), "{code:?} {why}");
    match rig.events.next().await {
        LinkEvent::Stranger { device, key, serial, address } => {
            assert_eq!((device.as_str(), key, serial.len()), ("pi", own.hash, 16));
            assert!(address.ip().is_loopback());
        }
        other => panic!("{other:?}"),
    }
    rig.link.admit("pi", &[own.hash]);
    assert_eq!(connect_with(&rig, Some(&own)).await.0, Code::Success);
    assert_eq!(rig.events.next().await, LinkEvent::Connected { device: "pi".into() });
    assert_eq!(rig.link.counts().unwelcome, 4);
}

#[tokio::test]
async fn a_revoked_device_is_out_at_once_and_stays_out() {
    let mut rig = start(10).await;
    let mut good = Device::connect(&rig.broker, "good").await;
    let mut bad = Device::connect(&rig.broker, "bad").await;
    rig.link.dismiss("bad", "bad was revoked by an operator");
    let not_authorized = Heard::Disconnected(DisconnectReasonCode::NotAuthorized);
    assert_eq!(bad.end().await, not_authorized);
    rig.events.wait_for(&LinkEvent::Disconnected { device: "bad".into() }).await;
    assert!(!rig.link.send("bad", Kind::Command, b"x".to_vec()));
    let again = Device::start(device::options(&rig.broker, "bad")).end().await;
    assert_eq!(again, Heard::Refused(Code::NotAuthorized));
    assert_eq!(good.publish("lichen/1/good/up/hello", b"x").await, PubAckReason::Success);
    // A second key may come beside the first; when the first goes, its session does.
    let (own, _) = rig.fleet().device("good");
    rig.link.admit("good", &[Hash([1; 32]), own.hash]);
    assert_eq!(good.publish("lichen/1/good/up/hello", b"x").await, PubAckReason::Success);
    rig.link.admit("good", &[Hash([1; 32])]);
    assert_eq!(good.end().await, not_authorized);
}

/// Even one that is amid a frame which the engine does not take.
#[tokio::test]
async fn a_revoked_device_is_out_though_the_engine_is_busy() {
    let any_port = "127.0.0.1:0".parse().unwrap();
    let mut rig = start_at(Fleet::new(), any_port, 10, 1).await.unwrap();
    let bad = Device::start(device::options(&rig.broker, "bad"));
    assert_eq!(rig.events.next().await, LinkEvent::Connected { device: "bad".into() });
    let mut bad = bad;
    assert_eq!(bad.next().await, Heard::Connected);
    let hello = "lichen/1/bad/up/hello";
    for _ in 0..3 {
        let once = rumqttc::PublishOptions::at_least_once();
        bad.client.publish(hello, b"x".to_vec(), once).await.unwrap();
    }
    rig.link.dismiss("bad", "revoked");
    assert_eq!(bad.end().await, Heard::Disconnected(DisconnectReasonCode::NotAuthorized));
}

fn board(broker: &Broker, boot: u8) -> MqttOptions {
    let gone = Gone { agent: AgentId([7; 16]), boot: BootId([boot; 16]) };
    let will = frame::encode(&gone, Stamp::default()).unwrap();
    let mut options = device::options(broker, "pi");
    let topic = "lichen/1/pi/up/gone";
    options.set_last_will(LastWill::new(topic, will, QoS::AtLeastOnce, false, None));
    options
}

/// A copied card: the second board looks like a reboot once, and after that neither pushes the other out.
#[tokio::test]
async fn of_two_boards_with_one_card_one_stays_and_both_are_reported_once() {
    let mut rig = start(10).await;
    let mut first = Device::start(board(&rig.broker, 1));
    assert_eq!(first.next().await, Heard::Connected);
    let mut second = Device::start(board(&rig.broker, 2));
    assert_eq!(second.next().await, Heard::Connected);
    assert_eq!(first.end().await, Heard::Disconnected(DisconnectReasonCode::SessionTakenOver));
    for _ in 0..3 {
        let kept_out = Heard::Refused(Code::ClientIdentifierNotValid);
        assert_eq!(Device::start(board(&rig.broker, 1)).end().await, kept_out);
    }
    let hello = "lichen/1/pi/up/hello";
    assert_eq!(second.publish(hello, b"here").await, PubAckReason::Success);
    let seen = rig.events.wait_for(&conformance::frame("pi", Kind::Hello, b"here")).await;
    let [connected, taken_over, LinkEvent::TwoBoards { device, boards }] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(*connected, LinkEvent::Connected { device: "pi".into() });
    let newcomer = Newcomer::SameAgent;
    assert_eq!(*taken_over, LinkEvent::TakenOver { device: "pi".into(), newcomer });
    let boots = boards.map(|Board { agent, boot, .. }| (agent, boot));
    let agent = AgentId([7; 16]);
    assert_eq!(boots, [(agent, BootId([2; 16])), (agent, BootId([1; 16]))]);
    assert_eq!((device.as_str(), rig.link.counts().second_boards), ("pi", 3));

    // The one that stays may come back as it likes; when it is gone, the other one has the name.
    drop(second);
    rig.events.wait_for(&LinkEvent::Disconnected { device: "pi".into() }).await;
    let mut first = Device::start(board(&rig.broker, 1));
    assert_eq!(first.next().await, Heard::Connected);
    let kept_out = Heard::Refused(Code::ClientIdentifierNotValid);
    assert_eq!(Device::start(board(&rig.broker, 2)).end().await, kept_out);
    assert_eq!(first.publish(hello, b"back").await, PubAckReason::Success);
    let seen = rig.events.wait_for(&conformance::frame("pi", Kind::Hello, b"back")).await;
    assert_eq!(seen, [LinkEvent::Connected { device: "pi".into() }], "it was told once");
}

#[tokio::test]
async fn a_device_that_connects_without_end_is_told_to_wait_and_others_are_not() {
    let rig = start(10).await;
    let config = rig.fleet().device("pi").1;
    let mut codes = Vec::new();
    for _ in 0..40 {
        codes.push(connect(rig.broker.address(), config.clone()).await.0);
    }
    assert!(
        codes.iter().all(|code| [Code::Success, Code::ConnectionRateExceeded].contains(code)),
        "{codes:?}"
    );
    let refused = codes.iter().filter(|code| **code == Code::ConnectionRateExceeded).count();
    assert!(refused > 0 && codes[..30].iter().all(|code| *code == Code::Success), "{codes:?}");
    assert_eq!(rig.link.counts().too_often as usize, refused);
    Device::connect(&rig.broker, "good").await;
}
