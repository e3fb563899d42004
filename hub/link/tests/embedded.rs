//! The embedded broker with real MQTT clients on loopback.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod conformance;

use std::net::SocketAddr;

use conformance::{
    Events, Rig,
    device::{self, DEADLINE, Device, Heard},
    frame,
};
use firmware_compat::frame::Kind;
use lichen_link::{Embedded, EmbeddedConfig, Link, LinkError, LinkEvent};
use rumqttc::{
    ConnectReturnCode, DisconnectReasonCode, LastWill, PubAckReason, QoS, SubscribeReasonCode,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};

const ANY_PORT: &str = "127.0.0.1:0";

async fn start_at(listen: SocketAddr) -> Result<Rig, LinkError> {
    let (sender, events) = mpsc::channel(1024);
    let (embedded, broker) = Embedded::start(EmbeddedConfig { listen }, sender).await?;
    let mut rig = Rig { link: Link::Embedded(embedded), events: Events(events), broker };
    assert_eq!(rig.events.next().await, LinkEvent::Up);
    Ok(rig)
}

async fn start() -> Rig {
    start_at(ANY_PORT.parse().unwrap()).await.unwrap()
}

macro_rules! conforms {
    ($($promise:ident),+ $(,)?) => {$(
        #[tokio::test]
        async fn $promise() {
            conformance::$promise(&mut start().await).await;
        }
    )+};
}

conforms!(
    frames_travel_both_ways,
    a_head_is_found_on_connect_after_replacement_and_not_after_removal,
    an_abrupt_end_publishes_the_will,
    the_newer_of_two_with_one_name_replaces_the_older,
    the_largest_frame_passes_both_ways,
    an_oversized_frame_is_dropped_and_others_pass,
    many_heads_all_arrive,
);

fn connected(device: &str) -> LinkEvent {
    LinkEvent::Connected { device: device.into() }
}

fn disconnected(device: &str) -> LinkEvent {
    LinkEvent::Disconnected { device: device.into() }
}

#[tokio::test]
async fn sessions_are_reported_from_connect_to_abrupt_end() {
    let mut rig = start().await;
    let device = Device::connect(rig.broker, "pi").await;
    assert_eq!(rig.events.next().await, connected("pi"));
    device.vanish().await;
    assert_eq!(rig.events.next().await, frame("pi", Kind::Gone, b"gone"));
    assert_eq!(rig.events.next().await, disconnected("pi"));
}

#[tokio::test]
async fn an_orderly_end_is_reported_without_the_will() {
    let mut rig = start().await;
    let device = Device::connect(rig.broker, "pi").await;
    assert_eq!(rig.events.next().await, connected("pi"));
    device.client.disconnect().await.unwrap();
    assert_eq!(rig.events.next().await, disconnected("pi"));
}

#[tokio::test]
async fn a_takeover_is_told_to_the_older_and_reports_neither_a_will_nor_a_disconnect() {
    let mut rig = start().await;
    let mut older = Device::connect(rig.broker, "pi").await;
    let mut newer = Device::connect(rig.broker, "pi").await;
    assert_eq!(older.end().await, Heard::Disconnected(DisconnectReasonCode::SessionTakenOver));
    newer.publish("lichen/1/pi/up/hello", b"newer").await;
    let mut seen = rig.events.wait_for(&frame("pi", Kind::Hello, b"newer")).await;
    if !seen.contains(&LinkEvent::TakenOver { device: "pi".into() }) {
        seen.push(rig.events.next().await);
    }
    seen.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(
        seen,
        [connected("pi"), connected("pi"), LinkEvent::TakenOver { device: "pi".into() }]
    );
    newer.vanish().await;
    rig.events.wait_for(&disconnected("pi")).await;
}

#[tokio::test]
async fn foreign_and_wide_subscriptions_are_refused() {
    let rig = start().await;
    let mut device = Device::connect(rig.broker, "pi").await;
    for filter in [
        "#",
        "+/#",
        "lichen/#",
        "lichen/1/+/down/#",
        "lichen/1/+/up/#",
        "lichen/1/pi/#",
        "lichen/1/pi/up/#",
        "lichen/1/pi-2/down/#",
        "lichen/1/p/down/#",
        "$SYS/#",
        "$SYS/brokers",
        "$exclusive/lichen/1/pi/down/#",
    ] {
        assert_eq!(device.subscribe(filter).await, SubscribeReasonCode::NotAuthorized, "{filter}");
    }
    let shared = device.subscribe("$share/group/lichen/1/pi-2/down/#").await;
    assert!(!matches!(shared, SubscribeReasonCode::Success(_)), "{shared:?}");
}

#[tokio::test]
async fn foreign_messages_are_refused_and_their_sender_stays() {
    let mut rig = start().await;
    let mut victim = Device::connect(rig.broker, "pi-2").await;
    let mut device = Device::connect(rig.broker, "pi").await;
    for topic in [
        "lichen/1/pi-2/up/hello",
        "lichen/1/pi-2/down/command",
        "lichen/1/pi/down/command",
        "lichen/1/all/down/time",
        "lichen/1/pi/up/unheard-of",
        "$SYS/x",
        "elsewhere",
    ] {
        assert_eq!(device.publish(topic, b"foreign").await, PubAckReason::NotAuthorized, "{topic}");
    }
    assert_eq!(device.publish("lichen/1/pi/up/hello", b"own").await, PubAckReason::Success);
    let passed = rig.events.wait_for(&frame("pi", Kind::Hello, b"own")).await;
    assert!(!passed.iter().any(|event| matches!(event, LinkEvent::Frame { .. })), "{passed:?}");
    rig.link.send("pi-2", Kind::Command, b"first".to_vec());
    assert!(matches!(victim.next().await, Heard::Message { payload, .. } if payload == b"first"));
    assert_eq!(rig.link.counts().refused, 7);
}

#[tokio::test]
async fn retained_messages_of_devices_are_not_kept() {
    let rig = start().await;
    let mut device = Device::connect(rig.broker, "pi").await;
    let retained = rumqttc::PublishOptions::at_least_once().retained();
    device.client.publish("lichen/1/pi/up/hello", b"kept?".to_vec(), retained).await.unwrap();
    assert_eq!(device.next().await, Heard::Published(PubAckReason::Success));
    assert_eq!(rig.link.counts().received, 1);
}

#[tokio::test]
async fn names_usernames_and_wills_of_others_are_refused() {
    let rig = start().await;
    let will = |topic: &str| LastWill::new(topic, b"w".to_vec(), QoS::AtLeastOnce, false, None);
    let mut foreign_will = device::options(rig.broker, "pi");
    foreign_will.set_last_will(will("lichen/1/pi-2/up/gone"));
    let mut downward_will = device::options(rig.broker, "pi");
    downward_will.set_last_will(will("lichen/1/all/down/time"));
    let mut foreign_user = device::options(rig.broker, "pi");
    foreign_user.set_username("pi-2");
    let bad_name = device::options(rig.broker, "Not A Name");
    let reserved = device::options(rig.broker, "all");
    for options in [foreign_will, downward_will, foreign_user, bad_name, reserved] {
        assert_eq!(
            Device::start(options).end().await,
            Heard::Refused(ConnectReturnCode::NotAuthorized)
        );
    }
    let mut own_user = device::options(rig.broker, "pi");
    own_user.set_username("pi");
    assert_eq!(Device::start(own_user).next().await, Heard::Connected);
}

#[tokio::test]
async fn silent_connections_do_not_hold_up_others() {
    let rig = start().await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(rig.broker).await.unwrap());
    }
    let mut device = Device::connect(rig.broker, "pi").await;
    assert_eq!(device.publish("lichen/1/pi/up/hello", b"x").await, PubAckReason::Success);
    drop(silent);
}

#[tokio::test]
async fn what_is_not_mqtt_is_closed() {
    let rig = start().await;
    let mut browser = TcpStream::connect(rig.broker).await.unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _closed_or_reset = timeout(DEADLINE, browser.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty());
}

/// A packet over the limit on a bare socket: a client library would refuse to send it.
#[tokio::test]
async fn a_packet_over_the_limit_is_told_so_and_others_stay() {
    let mut rig = start().await;
    let mut good = Device::connect(rig.broker, "good").await;
    let mut bad = TcpStream::connect(rig.broker).await.unwrap();
    bad.write_all(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03bad").await.unwrap();
    let mut connack = [0; 4];
    bad.read_exact(&mut connack).await.unwrap();
    assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:?}");
    // A QoS 0 PUBLISH of a megabyte, its header and the first part of it.
    let _may_be_cut_off =
        bad.write_all(&[&[0x30, 0x80, 0x80, 0x40][..], &[0; 100_000]].concat()).await;
    let mut rest = Vec::new();
    let _may_be_reset = timeout(DEADLINE, bad.read_to_end(&mut rest)).await.unwrap();
    // The broker knows no better reason than "unspecified".
    assert!(rest.ends_with(&[0xE0, 2, 0x80, 0]), "{rest:02x?}");
    rig.events.wait_for(&disconnected("bad")).await;
    assert_eq!(good.publish("lichen/1/good/up/hello", b"x").await, PubAckReason::Success);
}

#[tokio::test]
async fn a_slow_engine_slows_a_device_and_loses_nothing() {
    const FRAMES: u8 = 100;
    let (sender, events) = mpsc::channel(1);
    let config = EmbeddedConfig { listen: ANY_PORT.parse().unwrap() };
    let (link, broker) = Embedded::start(config, sender).await.unwrap();
    let mut events = Events(events);
    assert_eq!(events.next().await, LinkEvent::Up);
    let device = tokio::spawn(async move {
        let mut device = Device::connect(broker, "pi").await;
        for number in 0..FRAMES {
            device.publish("lichen/1/pi/up/event", &[number]).await;
        }
    });
    assert_eq!(events.next().await, connected("pi"));
    for number in 0..FRAMES {
        assert_eq!(events.next().await, frame("pi", Kind::Event, &[number]));
    }
    device.await.unwrap();
    assert_eq!(link.counts().received_dropped, 0);
}

/// MQTT 3.1.1, as small clients speak it.
#[tokio::test]
async fn a_version_3_client_is_served() {
    let mut rig = start().await;
    rig.link.set_head("old", b"head".to_vec());
    let mut old = TcpStream::connect(rig.broker).await.unwrap();
    old.write_all(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03old").await.unwrap();
    let mut connack = [0; 4];
    old.read_exact(&mut connack).await.unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
    let filter = b"lichen/1/old/down/#";
    old.write_all(
        &[&[0x82, 2 + 2 + filter.len() as u8 + 1, 0, 1, 0, filter.len() as u8][..], filter, &[1]]
            .concat(),
    )
    .await
    .unwrap();
    let mut suback = [0; 5];
    old.read_exact(&mut suback).await.unwrap();
    assert_eq!(suback, [0x90, 3, 0, 1, 1]);
    let mut head = [0; 2 + 2 + 22 + 2 + 4];
    old.read_exact(&mut head).await.unwrap();
    assert!(head.ends_with(b"head"), "{head:?}");
    let topic = b"lichen/1/old/up/hello";
    old.write_all(
        &[&[0x30, 2 + topic.len() as u8 + 2, 0, topic.len() as u8][..], topic, b"hi"].concat(),
    )
    .await
    .unwrap();
    rig.events.wait_for(&frame("old", Kind::Hello, b"hi")).await;
    drop(old);
    rig.events.wait_for(&disconnected("old")).await;
}

#[tokio::test]
async fn the_broker_comes_back_on_the_same_port() {
    let rig = start().await;
    let broker = rig.broker;
    let mut device = Device::connect(broker, "pi").await;
    rig.link.shutdown().await;
    assert!(matches!(device.end().await, Heard::Lost(_)));
    let mut rig = start_at(broker).await.unwrap();
    rig.link.set_head("pi", b"head".to_vec());
    let mut device = Device::connect(rig.broker, "pi").await;
    device.message(b"head").await;
    rig.events.wait_for(&connected("pi")).await;
}

#[tokio::test]
async fn a_port_in_use_is_an_error_with_the_fix() {
    let rig = start().await;
    let error = start_at(rig.broker).await.err().unwrap();
    assert!(matches!(error, LinkError::AddressInUse { address } if address == rig.broker));
    assert!(error.to_string().contains(&rig.broker.to_string()));
    assert!(error.to_string().contains("--broker"));
}

#[tokio::test]
async fn frames_for_absent_devices_are_dropped_and_counted() {
    let rig = start().await;
    rig.link.send("nobody", Kind::Command, b"x".to_vec());
    assert_eq!(rig.link.counts().sent_dropped, 1);
}
