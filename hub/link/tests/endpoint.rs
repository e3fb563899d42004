//! The endpoint with real MQTT clients on loopback.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod conformance;

use conformance::{
    Rig,
    device::{self, DEADLINE, Device, Heard},
    embedded::start_at,
    fleet::Fleet,
    frame,
};
use firmware_compat::{
    frame::{Kind, Stamp},
    id::{AgentId, BootId},
    v1::owned::Gone,
};
use lichen_link::{LinkError, LinkEvent, Newcomer};
use rumqttc::{
    ConnectReturnCode, DisconnectReasonCode, LastWill, PubAckReason, QoS, SubscribeReasonCode,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const ANY_PORT: &str = "127.0.0.1:0";

async fn start() -> Rig {
    conformance::embedded::start(1000).await
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
    let device = Device::connect(&rig.broker, "pi").await;
    assert_eq!(rig.events.next().await, connected("pi"));
    device.vanish().await;
    assert_eq!(rig.events.next().await, frame("pi", Kind::Gone, b"gone"));
    assert_eq!(rig.events.next().await, disconnected("pi"));
}

#[tokio::test]
async fn an_orderly_end_is_reported_without_the_will() {
    let mut rig = start().await;
    let device = Device::connect(&rig.broker, "pi").await;
    assert_eq!(rig.events.next().await, connected("pi"));
    device.client.disconnect().await.unwrap();
    assert_eq!(rig.events.next().await, disconnected("pi"));
}

#[tokio::test]
async fn a_takeover_is_told_to_the_older_and_reports_neither_a_will_nor_a_disconnect() {
    let mut rig = start().await;
    let mut older = Device::connect(&rig.broker, "pi").await;
    let mut newer = Device::connect(&rig.broker, "pi").await;
    assert_eq!(older.end().await, Heard::Disconnected(DisconnectReasonCode::SessionTakenOver));
    newer.publish("lichen/1/pi/up/hello", b"newer").await;
    let seen = rig.events.wait_for(&frame("pi", Kind::Hello, b"newer")).await;
    let taken_over = LinkEvent::TakenOver { device: "pi".into(), newcomer: Newcomer::Unknown };
    assert_eq!(seen, [connected("pi"), taken_over]);
    newer.vanish().await;
    rig.events.wait_for(&disconnected("pi")).await;
}

#[tokio::test]
async fn foreign_and_wide_subscriptions_are_refused() {
    let rig = start().await;
    let mut device = Device::connect(&rig.broker, "pi").await;
    let foreign = SubscribeReasonCode::NotAuthorized;
    let wide = SubscribeReasonCode::WildcardSubscriptionsNotSupported;
    for (filter, code) in [
        ("#", wide),
        ("+/#", wide),
        ("lichen/#", wide),
        ("lichen/1/+/down/#", wide),
        ("lichen/1/pi/#", wide),
        ("lichen/1/pi/up/#", foreign),
        ("lichen/1/pi-2/down/#", foreign),
        ("lichen/1/p/down/#", foreign),
        ("$SYS/#", foreign),
        ("$SYS/brokers", foreign),
        ("$exclusive/lichen/1/pi/down/#", foreign),
    ] {
        assert_eq!(device.subscribe(filter).await, code, "{filter}");
    }
    let mut other = Device::start(device::options(&rig.broker, "pi-2"));
    assert_eq!(other.next().await, Heard::Connected);
    // A client that heeds the CONNACK does not even ask.
    let shared = other.client.subscribe("$share/g/lichen/1/pi-2/down/#", QoS::AtLeastOnce).await;
    if shared.is_ok() {
        let heard = other.next().await;
        let refused = SubscribeReasonCode::SharedSubscriptionsNotSupported;
        assert!(
            heard == Heard::Subscribed(vec![refused]) || matches!(heard, Heard::Lost(_)),
            "{heard:?}"
        );
    }
}

#[tokio::test]
async fn foreign_messages_are_refused_and_their_sender_stays() {
    let mut rig = start().await;
    let mut victim = Device::connect(&rig.broker, "pi-2").await;
    let mut device = Device::connect(&rig.broker, "pi").await;
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
async fn a_device_retains_nothing() {
    let rig = start().await;
    let mut device = Device::connect(&rig.broker, "pi").await;
    let retained = rumqttc::PublishOptions::at_least_once().retained();
    device.client.publish("lichen/1/pi/up/hello", b"kept?".to_vec(), retained).await.unwrap();
    assert_eq!(device.next().await, Heard::Published(PubAckReason::NotAuthorized));
    assert_eq!((rig.link.counts().received, rig.link.counts().refused), (0, 1));
}

#[tokio::test]
async fn names_usernames_and_wills_of_others_are_refused() {
    let rig = start().await;
    let will = |topic: &str| LastWill::new(topic, b"w".to_vec(), QoS::AtLeastOnce, false, None);
    let mut foreign_will = device::options(&rig.broker, "pi");
    foreign_will.set_last_will(will("lichen/1/pi-2/up/gone"));
    let mut downward_will = device::options(&rig.broker, "pi");
    downward_will.set_last_will(will("lichen/1/all/down/time"));
    let mut foreign_user = device::options(&rig.broker, "pi");
    foreign_user.set_username("pi-2");
    let bad_name = device::options_as(&rig.broker, "Not A Name", "pi");
    let other_name = device::options_as(&rig.broker, "pi-2", "pi");
    let mut retained_will = device::options(&rig.broker, "pi");
    let gone = "lichen/1/pi/up/gone";
    retained_will.set_last_will(LastWill::new(gone, b"w".to_vec(), QoS::AtLeastOnce, true, None));
    let mut exact_will = device::options(&rig.broker, "pi");
    exact_will.set_last_will(LastWill::new(gone, b"w".to_vec(), QoS::ExactlyOnce, false, None));
    let (foreign, bad) =
        (ConnectReturnCode::NotAuthorized, ConnectReturnCode::ClientIdentifierNotValid);
    for (options, code) in [
        (foreign_will, foreign),
        (downward_will, foreign),
        (foreign_user, foreign),
        (retained_will, foreign),
        (exact_will, ConnectReturnCode::QoSNotSupported),
        (bad_name, bad),
        (other_name, bad),
    ] {
        assert_eq!(Device::start(options).end().await, Heard::Refused(code));
    }
    let mut own_user = device::options(&rig.broker, "pi");
    own_user.set_username("pi");
    assert_eq!(Device::start(own_user).next().await, Heard::Connected);
}

#[tokio::test]
async fn silent_connections_do_not_hold_up_others() {
    let rig = start().await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(rig.broker.address()).await.unwrap());
    }
    let mut device = Device::connect(&rig.broker, "pi").await;
    assert_eq!(device.publish("lichen/1/pi/up/hello", b"x").await, PubAckReason::Success);
    drop(silent);
}

#[tokio::test]
async fn what_is_not_mqtt_is_closed() {
    let rig = start().await;
    let mut browser = rig.raw("pi").await;
    browser.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _closed_or_reset = timeout(DEADLINE, browser.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty());
}

/// A packet over the limit on a bare socket: a client library would refuse to send it.
#[tokio::test]
async fn a_packet_over_the_limit_is_told_so_and_others_stay() {
    let mut rig = start().await;
    let mut good = Device::connect(&rig.broker, "good").await;
    let mut bad = rig.raw("bad").await;
    bad.write_all(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03bad").await.unwrap();
    let mut connack = [0; 2];
    bad.read_exact(&mut connack).await.unwrap();
    let mut rest = vec![0; usize::from(connack[1])];
    bad.read_exact(&mut rest).await.unwrap();
    assert_eq!((connack[0], rest[1]), (0x20, 0), "{connack:?} {rest:?}");
    // A QoS 0 PUBLISH of a megabyte, its header and the first part of it.
    let _may_be_cut_off =
        bad.write_all(&[&[0x30, 0x80, 0x80, 0x40][..], &[0; 100_000]].concat()).await;
    let mut rest = Vec::new();
    let _may_be_reset = timeout(DEADLINE, bad.read_to_end(&mut rest)).await.unwrap();
    assert_eq!((rest[0], rest[2]), (0xE0, 0x95), "{rest:02x?}");
    rig.events.wait_for(&disconnected("bad")).await;
    assert_eq!(good.publish("lichen/1/good/up/hello", b"x").await, PubAckReason::Success);
}

#[tokio::test]
async fn a_slow_engine_slows_a_device_and_loses_nothing() {
    const FRAMES: u8 = 100;
    let started = start_at(Fleet::new(), ANY_PORT.parse().unwrap(), 10, 1).await;
    let Rig { link, mut events, broker } = started.unwrap();
    let device = tokio::spawn(async move {
        let mut device = Device::connect(&broker, "pi").await;
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

/// MQTT 3.1.1 is answered in its own words: "unacceptable protocol version".
#[tokio::test]
async fn a_version_3_client_is_told_that_its_version_is_not_spoken() {
    let rig = start().await;
    let mut old = rig.raw("old").await;
    old.write_all(b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03old").await.unwrap();
    let mut answer = Vec::new();
    timeout(DEADLINE, old.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, [0x20, 2, 0, 1]);
    assert_eq!(rig.link.counts().refused, 1);
}

#[tokio::test]
async fn a_full_house_says_so_and_lets_in_who_replaces_its_own_connection() {
    let Rig { link, mut events, broker } = conformance::embedded::start(2).await;
    let one = Device::connect(&broker, "one").await;
    let mut two = Device::connect(&broker, "two").await;
    let busy = Heard::Refused(ConnectReturnCode::ServerBusy);
    assert_eq!(Device::start(device::options(&broker, "three")).end().await, busy);
    let counts = link.counts();
    assert_eq!((counts.devices, counts.devices_limit, counts.turned_away), (2, 2, 1));
    let newer = Device::connect(&broker, "two").await;
    let taken_over = Heard::Disconnected(DisconnectReasonCode::SessionTakenOver);
    assert_eq!(two.end().await, taken_over);
    one.vanish().await;
    events.wait_for(&disconnected("one")).await;
    let three = Device::connect(&broker, "three").await;
    assert_eq!(link.counts().takeovers, 1);
    drop((newer, three));
}

/// A device that stops reading is given what its window and its mailbox hold, and no more is kept for it.
#[tokio::test]
async fn a_slow_reader_costs_a_bounded_amount_and_nobody_else() {
    const FRAMES: usize = 4000;
    let mut rig = start().await;
    let mut slow = rig.raw("slow").await;
    slow.write_all(b"\x10\x11\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x04slow").await.unwrap();
    let filter = b"lichen/1/slow/down/#";
    let subscribe = [0x82, 2 + 1 + 2 + filter.len() as u8 + 1, 0, 1, 0, 0, filter.len() as u8];
    slow.write_all(&[&subscribe[..], filter, &[1]].concat()).await.unwrap();
    let mut good = Device::connect(&rig.broker, "good").await;
    rig.events.wait_for(&connected("slow")).await;
    let accepted =
        (0..FRAMES).filter(|_| rig.link.send("slow", Kind::Part, vec![7; 16_384])).count();
    assert!(accepted < 200, "{accepted} frames of 16 KiB are kept for a device that does not read");
    assert!(rig.link.send("good", Kind::Command, b"now".to_vec()));
    good.message(b"now").await;
    drop(slow);
    rig.events.wait_for(&disconnected("slow")).await;
    let counts = rig.link.counts();
    assert_eq!(counts.sent + counts.sent_dropped, FRAMES as u64 + 1, "{counts:?}");
}

#[tokio::test]
async fn a_storm_of_takeovers_leaves_one_session_and_the_events_in_order() {
    // As many as one device may open at once, but for the first and the last.
    const ROUNDS: usize = 28;
    let mut rig = start().await;
    let mut last = Device::connect(&rig.broker, "pi").await;
    for _ in 0..ROUNDS {
        let mut newer = Device::start(device::options(&rig.broker, "pi"));
        assert_eq!(newer.next().await, Heard::Connected);
        drop(std::mem::replace(&mut last, newer));
    }
    assert_eq!(last.publish("lichen/1/pi/up/hello", b"last").await, PubAckReason::Success);
    let mut open = false;
    for event in rig.events.wait_for(&frame("pi", Kind::Hello, b"last")).await {
        match event {
            LinkEvent::Connected { .. } => assert!(!std::mem::replace(&mut open, true)),
            LinkEvent::TakenOver { .. } => assert!(open),
            LinkEvent::Disconnected { .. } => assert!(std::mem::replace(&mut open, false)),
            LinkEvent::Frame { kind: Kind::Gone, .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(open);
    assert_eq!(rig.link.counts().devices, 1);
}

#[tokio::test]
async fn two_agents_with_one_name_are_told_apart_from_one_that_came_back() {
    let mut rig = start().await;
    let mut held = Vec::new();
    for (agent, newcomer) in [
        (1, None),
        (1, Some(Newcomer::SameAgent)),
        (2, Some(Newcomer::OtherAgent)),
        (2, Some(Newcomer::SameAgent)),
    ] {
        let gone = Gone { agent: AgentId([agent; 16]), boot: BootId([1; 16]) };
        let will = firmware_compat::frame::encode(&gone, Stamp::default()).unwrap();
        let mut options = device::options(&rig.broker, "pi");
        options.set_last_will(LastWill::new(
            "lichen/1/pi/up/gone",
            will,
            QoS::AtLeastOnce,
            false,
            None,
        ));
        let mut device = Device::start(options);
        assert_eq!(device.next().await, Heard::Connected);
        held.push(device);
        let event = rig.events.next().await;
        match newcomer {
            None => assert_eq!(event, connected("pi")),
            Some(newcomer) => {
                assert_eq!(event, LinkEvent::TakenOver { device: "pi".into(), newcomer });
            }
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_stops_says_so_and_comes_back_on_the_same_port() {
    let rig = start().await;
    let broker = rig.broker.clone();
    let mut device = Device::connect(&broker, "pi").await;
    let fleet = rig.fleet().clone();
    rig.link.shutdown().await;
    let stops = DisconnectReasonCode::ServerShuttingDown;
    assert_eq!(device.end().await, Heard::Disconnected(stops));
    let mut rig = start_at(fleet, broker.address(), 1000, 1024).await.unwrap();
    rig.link.set_head("pi", b"head".to_vec());
    let mut device = Device::connect(&rig.broker, "pi").await;
    device.message(b"head").await;
    rig.events.wait_for(&connected("pi")).await;
}

#[tokio::test]
async fn a_port_in_use_is_an_error_with_the_fix() {
    let rig = start().await;
    let taken = rig.broker.address();
    let error = start_at(Fleet::new(), taken, 1000, 1024).await.err().unwrap();
    assert!(matches!(error, LinkError::AddressInUse { address } if address == taken));
    assert!(error.to_string().contains(&taken.to_string()));
    assert!(error.to_string().contains("--devices"));
}

#[tokio::test]
async fn frames_for_absent_devices_are_dropped_and_counted() {
    let rig = start().await;
    rig.link.send("nobody", Kind::Command, b"x".to_vec());
    assert_eq!(rig.link.counts().sent_dropped, 1);
}
