//! The external link with a real Mosquitto.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

#[path = "conformance/mosquitto.rs"]
mod broker;
mod conformance;

use broker::Mosquitto;
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use conformance::{
    Events, Rig,
    device::{self, DEADLINE, Device, Heard},
    frame,
};
use firmware_compat::{enrolment::Broker, frame::Kind};
use lichen_link::{
    External, ExternalConfig, Link, LinkEvent, TlsSource,
    client::{Client, ClientConfig, Down, Handler, RetryPolicy, Route},
};
use rumqttc::{PubAckReason, PublishOptions, QoS, SubscribeReasonCode};
use tokio::{sync::mpsc, time::timeout};

fn link_to(broker: &Mosquitto) -> Rig {
    let (sender, events) = mpsc::channel(1024);
    let config = ExternalConfig {
        broker: Broker::parse(&format!("mqtt://{}", broker.address)).unwrap(),
        tls: TlsSource(Arc::new(|_| unreachable!("this broker has no TLS"))),
        client_id: "lichen-hub-test".into(),
    };
    let external = External::start(config, sender);
    let many = (0..3000).flat_map(|number| [format!("many-{number}"), format!("device-{number}")]);
    for name in ["pi", "pi-2", "good", "bad"].map(str::to_owned).into_iter().chain(many) {
        external.admit(&name);
    }
    Rig {
        link: Link::External(external),
        events: Events(events),
        broker: device::Broker::Plain(broker.address),
    }
}

async fn start() -> (Mosquitto, Rig) {
    let broker = Mosquitto::start();
    let mut rig = link_to(&broker);
    assert_eq!(rig.events.next().await, LinkEvent::Up);
    (broker, rig)
}

macro_rules! conforms {
    ($($promise:ident),+ $(,)?) => {$(
        #[tokio::test]
        #[ignore = "needs mosquitto: run by make test"]
        async fn $promise() {
            let (_broker, mut rig) = start().await;
            conformance::$promise(&mut rig).await;
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

#[tokio::test]
#[ignore = "needs mosquitto: run by make test"]
async fn a_broker_that_lost_everything_has_every_head_again() {
    const DEVICES: usize = 300;
    let name = |number: usize| format!("device-{number}");
    let (mut broker, mut rig) = start().await;
    for number in 0..DEVICES {
        rig.link.set_head(&name(number), b"old".to_vec());
    }
    conformance::barrier(&mut rig).await;

    broker.kill();
    assert!(matches!(rig.events.next().await, LinkEvent::Down { .. }));
    rig.link.set_head(&name(0), b"set meanwhile".to_vec());
    rig.link.clear_head(&name(1));
    rig.link.send(&name(2), Kind::Command, b"of the moment".to_vec());
    let dropped = rig.link.counts().sent_dropped;
    assert!(dropped >= 1, "{dropped}");
    broker.start_again();
    rig.events.wait_for(&LinkEvent::Up).await;

    conformance::barrier(&mut rig).await;
    let mut first = Device::connect(&rig.broker, &name(0)).await;
    assert_eq!(first.message(b"set meanwhile").await, ("lichen/1/device-0/down/head".into(), true));
    for number in [2, 3, DEVICES / 2, DEVICES - 1] {
        let mut device = Device::connect(&rig.broker, &name(number)).await;
        assert!(device.message(b"old").await.1);
    }
    let mut cleared = Device::connect(&rig.broker, &name(1)).await;
    rig.link.send(&name(1), Kind::Command, b"now".to_vec());
    assert_eq!(cleared.message(b"now").await.0, "lichen/1/device-1/down/command");
    assert_eq!(first.publish("lichen/1/device-0/up/hello", b"hello").await, PubAckReason::Success);
    rig.events.wait_for(&frame("device-0", Kind::Hello, b"hello")).await;
}

/// Mosquitto itself has no bound on a message; the hub's connection states one.
#[tokio::test]
#[ignore = "needs mosquitto: run by make test"]
async fn a_huge_message_on_the_broker_does_not_reach_the_hub() {
    let (_broker, mut rig) = start().await;
    let mut pi = Device::connect(&rig.broker, "pi").await;
    pi.publish("lichen/1/pi/up/hello", &vec![0; 1_000_000]).await;
    pi.publish("lichen/1/pi/up/hello", b"small").await;
    assert_eq!(rig.events.next().await, frame("pi", Kind::Hello, b"small"));
}

/// The same on a device's side, retained where the hub keeps its head: there for every connection, it ends none of them, and
/// the next head takes its place.
#[tokio::test]
#[ignore = "needs mosquitto: run by make test"]
async fn a_huge_retained_message_makes_no_reconnect_loop() {
    let (broker, rig) = start().await;
    let mut stranger = Device::connect(&rig.broker, "stranger").await;
    let huge = PublishOptions::at_least_once().retain(true);
    let topic = "lichen/1/pi/down/head";
    stranger.client.publish(topic, vec![0; 1_000_000], huge).await.unwrap();
    assert_eq!(stranger.next().await, Heard::Published(PubAckReason::NoMatchingSubscribers));

    let (tell, mut told) = mpsc::unbounded_channel();
    let config = ClientConfig {
        route: Route::plain(broker.address.into()),
        client_id: "pi".into(),
        keep_alive: Duration::from_secs(60),
        subscriptions: vec!["lichen/1/pi/down/#".into()],
        retry: RetryPolicy {
            first: Duration::from_millis(10),
            longest: Duration::from_millis(10),
            unwelcome: Duration::from_millis(10),
        },
        outbox_bytes: 1024,
    };
    let _pi = Client::start(config, Pi { tell });
    assert_eq!(next(&mut told).await, "up");
    rig.link.set_head("pi", b"head".to_vec());
    // Nothing came before it, and the connection is the first one.
    assert_eq!(next(&mut told).await, "head");
}

async fn next(told: &mut mpsc::UnboundedReceiver<String>) -> String {
    timeout(DEADLINE, told.recv()).await.expect("it should be told something").unwrap()
}

/// A device that passes on what it is told.
struct Pi {
    tell: mpsc::UnboundedSender<String>,
}

impl Handler for Pi {
    async fn up(&mut self) {
        self.tell.send("up".into()).unwrap();
    }
    async fn down(&mut self, why: &Down) {
        self.tell.send(why.to_string()).unwrap();
    }
    async fn message(&mut self, _topic: &str, bytes: &[u8]) {
        let said = String::from_utf8_lossy(&bytes[..bytes.len().min(20)]).into_owned();
        self.tell.send(said).unwrap();
    }
}

#[tokio::test]
#[ignore = "needs mosquitto: run by make test"]
async fn the_removal_of_a_head_reaches_a_device_as_an_empty_message() {
    let (broker, mut rig) = start().await;
    rig.link.set_head("pi", b"head".to_vec());
    conformance::barrier(&mut rig).await;
    let mut pi = Device::connect(&rig.broker, "pi").await;
    assert!(pi.message(b"head").await.1);
    rig.link.clear_head("pi");
    pi.message(b"").await;
    drop(broker);
}

/// Mosquitto 2.0.11 closes the older connection without a reason, so both replace each other a few times before one
/// of them can tell what is going on.
#[tokio::test]
#[ignore = "needs mosquitto: run by make test"]
async fn of_two_hubs_with_one_identity_one_reports_the_conflict_and_waits() {
    let (broker, mut first) = start().await;
    let mut second = link_to(&broker);
    let conflict = |event: &LinkEvent| match event {
        LinkEvent::Down { reason } => reason.contains("\"lichen-hub-test\""),
        _ => false,
    };
    loop {
        tokio::select! {
            event = first.events.next() => if conflict(&event) { break },
            event = second.events.next() => if conflict(&event) { break },
        }
    }
}

/// Every device gets a new assignment at once: more than a thousand messages, and far more than the window. All arrive,
/// each head before its body; what is more than the outbox holds is refused to the caller.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mosquitto: run by make test"]
async fn a_fleets_turn_arrives_whole_heads_before_bodies() {
    const DEVICES: usize = 3000;
    let (_broker, rig) = start().await;
    let mut all = Device::start(device::options(&rig.broker, "all-ears"));
    assert_eq!(all.next().await, Heard::Connected);
    let granted = SubscribeReasonCode::Success(QoS::AtLeastOnce);
    assert_eq!(all.subscribe("lichen/1/+/down/#").await, granted);

    let started = Instant::now();
    for number in 0..DEVICES {
        let name = format!("device-{number}");
        rig.link.set_head(&name, vec![1; 180]);
        assert!(rig.link.send(&name, Kind::Part, vec![2; 3 * 1024]), "{number}");
    }
    let mut bodies = 0;
    let mut heads = HashSet::new();
    while bodies < DEVICES {
        let Heard::Message { topic, .. } = all.next().await else { panic!("a message") };
        let (device, kind) = topic.rsplit_once("/down/").unwrap();
        if kind == "head" {
            assert!(heads.insert(device.to_owned()), "{device} twice");
        } else {
            assert!(heads.contains(device), "the body of {device} came before its head");
            bodies += 1;
        }
    }
    println!("{DEVICES} heads and bodies through the broker in {:?}", started.elapsed());
    assert_eq!((heads.len(), rig.link.counts().sent_dropped), (DEVICES, 0));

    let accepted =
        (0..20_000).filter(|_| rig.link.send("pi", Kind::Part, vec![3; 3 * 1024])).count();
    let dropped = rig.link.counts().sent_dropped;
    assert_eq!(accepted as u64 + dropped, 20_000);
    assert!(dropped > 10_000, "{dropped}");
}

#[tokio::test]
#[ignore = "needs mosquitto: run by make test"]
async fn a_broker_that_is_restarted_again_and_again_is_no_second_hub() {
    let (mut broker, mut rig) = start().await;
    for _ in 0..5 {
        broker.kill();
        match rig.events.next().await {
            LinkEvent::Down { reason } => assert!(!reason.contains("another program"), "{reason}"),
            other => panic!("{other:?}"),
        }
        broker.start_again();
        loop {
            match rig.events.next().await {
                LinkEvent::Up => break,
                LinkEvent::Down { reason } => {
                    assert!(!reason.contains("another program"), "{reason}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs mosquitto: run by make test"]
async fn a_broker_that_is_not_there_is_reported_once_and_found_when_it_comes() {
    let mut broker = Mosquitto::start();
    broker.kill();
    let mut rig = link_to(&broker);
    assert!(matches!(rig.events.next().await, LinkEvent::Down { .. }));
    broker.start_again();
    assert_eq!(rig.events.next().await, LinkEvent::Up);
    rig.link.shutdown().await;
}

#[tokio::test]
#[ignore = "needs mosquitto: run by make test"]
async fn a_dismissed_device_is_put_out_at_once_and_not_heard_until_it_is_admitted_again() {
    let (_broker, mut rig) = start().await;
    rig.link.set_head("pi", b"head".to_vec());
    let mut pi = Device::connect(&rig.broker, "pi").await;
    pi.message(b"head").await;
    // On this broker everybody may write everywhere.
    let mut other = Device::connect(&rig.broker, "pi-2").await;

    rig.link.dismiss("pi", "pi was revoked by an operator");
    rig.events.wait_for(&LinkEvent::Disconnected { device: "pi".into() }).await;
    let end = pi.end().await;
    assert!(matches!(end, Heard::Lost(_) | Heard::Disconnected(_)), "{end:?}");
    assert!(!rig.link.send("pi", Kind::Command, b"nothing".to_vec()));
    rig.link.set_head("pi", b"nothing".to_vec());
    other.publish("lichen/1/pi/up/hello", b"unheard").await;
    other.publish("lichen/1/pi-2/up/hello", b"heard").await;
    let passed = rig.events.wait_for(&frame("pi-2", Kind::Hello, b"heard")).await;
    assert!(passed.is_empty(), "{passed:?}");
    assert!(rig.link.counts().unwelcome >= 1);

    rig.link.admit("pi", &[]);
    other.publish("lichen/1/pi/up/hello", b"heard").await;
    rig.events.wait_for(&frame("pi", Kind::Hello, b"heard")).await;
}
