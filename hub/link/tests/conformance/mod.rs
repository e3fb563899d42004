//! What both kinds of link promise, written once and run against the embedded broker and against Mosquitto.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

pub mod bare;
pub mod device;
pub mod embedded;
pub mod fleet;

use firmware_compat::frame::{Kind, MAX_FRAME_BYTES};
use lichen_link::{Link, LinkEvent};
use rumqttc::{DisconnectReasonCode, PubAckReason};
use tokio::{sync::mpsc, time::timeout};

use device::{Broker, DEADLINE, Device, Heard};

/// A running link, what it reports, and where devices connect.
pub struct Rig {
    pub link: Link,
    pub events: Events,
    pub broker: Broker,
}

/// What a link reports.
pub struct Events(pub mpsc::Receiver<LinkEvent>);

impl Events {
    pub async fn next(&mut self) -> LinkEvent {
        timeout(DEADLINE, self.0.recv())
            .await
            .expect("the link should report something")
            .expect("the link runs")
    }

    /// Waits for an event, passing over others, which are returned.
    pub async fn wait_for(&mut self, wanted: &LinkEvent) -> Vec<LinkEvent> {
        let mut passed = Vec::new();
        loop {
            let event = self.next().await;
            if event == *wanted {
                return passed;
            }
            passed.push(event);
            assert!(passed.len() < 10_000, "{wanted:?} did not come");
        }
    }
}

/// The event of a frame.
pub fn frame(device: &str, kind: Kind, bytes: &[u8]) -> LinkEvent {
    LinkEvent::Frame { device: device.into(), kind, bytes: bytes.to_vec() }
}

pub async fn frames_travel_both_ways(rig: &mut Rig) {
    let mut pi = Device::connect(&rig.broker, "pi").await;
    let mut other = Device::connect(&rig.broker, "pi-2").await;
    assert_eq!(pi.publish("lichen/1/pi/up/hello", b"hello").await, PubAckReason::Success);
    rig.events.wait_for(&frame("pi", Kind::Hello, b"hello")).await;

    rig.link.send("pi", Kind::Command, b"command".to_vec());
    assert_eq!(pi.message(b"command").await, ("lichen/1/pi/down/command".into(), false));

    rig.link.send_all(Kind::Time, b"time".to_vec());
    assert_eq!(pi.message(b"time").await.0, "lichen/1/all/down/time");
    // The other device hears what is for all, and first: nothing that was for one alone came to it.
    assert!(matches!(other.next().await, Heard::Message { payload, .. } if payload == b"time"));
}

pub async fn a_head_is_found_on_connect_after_replacement_and_not_after_removal(rig: &mut Rig) {
    rig.link.set_head("pi", b"head 1".to_vec());
    rig.link.set_head("pi", b"head 2".to_vec());
    rig.link.set_head("pi-2", b"other".to_vec());
    barrier(rig).await;
    let mut pi = Device::connect(&rig.broker, "pi").await;
    match pi.next().await {
        Heard::Message { topic, payload, retain } => {
            assert_eq!(
                (topic.as_str(), payload.as_slice(), retain),
                ("lichen/1/pi/down/head", &b"head 2"[..], true)
            );
        }
        other => panic!("heard {other:?} instead of the newest head"),
    }
    rig.link.set_head("pi", b"head 3".to_vec());
    pi.message(b"head 3").await;
    pi.vanish().await;

    rig.link.clear_head("pi");
    barrier(rig).await;
    let mut pi = Device::connect(&rig.broker, "pi").await;
    rig.link.send("pi", Kind::Command, b"first".to_vec());
    assert!(matches!(pi.next().await, Heard::Message { payload, .. } if payload == b"first"));
}

pub async fn an_abrupt_end_publishes_the_will(rig: &mut Rig) {
    let mut pi = Device::connect(&rig.broker, "pi").await;
    pi.publish("lichen/1/pi/up/hello", b"hello").await;
    pi.vanish().await;
    rig.events.wait_for(&frame("pi", Kind::Gone, b"gone")).await;
}

pub async fn the_newer_of_two_with_one_name_replaces_the_older(rig: &mut Rig) {
    let mut older = Device::connect(&rig.broker, "pi").await;
    let mut newer = Device::connect(&rig.broker, "pi").await;
    // Not every broker says why: Mosquitto 2.0.11 just closes.
    let end = older.end().await;
    let taken_over = Heard::Disconnected(DisconnectReasonCode::SessionTakenOver);
    assert!(end == taken_over || matches!(end, Heard::Lost(_)), "{end:?}");
    assert_eq!(newer.publish("lichen/1/pi/up/hello", b"newer").await, PubAckReason::Success);
    rig.events.wait_for(&frame("pi", Kind::Hello, b"newer")).await;
    rig.link.send("pi", Kind::Command, b"to the newer".to_vec());
    newer.message(b"to the newer").await;
}

pub async fn the_largest_frame_passes_both_ways(rig: &mut Rig) {
    let largest = vec![7; MAX_FRAME_BYTES];
    let mut pi = Device::connect(&rig.broker, "pi").await;
    assert_eq!(pi.publish("lichen/1/pi/up/reply", &largest).await, PubAckReason::Success);
    rig.events.wait_for(&frame("pi", Kind::Reply, &largest)).await;
    rig.link.send("pi", Kind::Part, largest.clone());
    pi.message(&largest).await;
}

pub async fn an_oversized_frame_is_dropped_and_others_pass(rig: &mut Rig) {
    let mut good = Device::connect(&rig.broker, "good").await;
    let mut bad = Device::connect(&rig.broker, "bad").await;
    bad.publish("lichen/1/bad/up/hello", &vec![0; MAX_FRAME_BYTES + 1]).await;
    good.publish("lichen/1/good/up/hello", b"x").await;
    let passed = rig.events.wait_for(&frame("good", Kind::Hello, b"x")).await;
    assert!(!passed.iter().any(|event| matches!(event, LinkEvent::Frame { .. })));
}

pub async fn many_heads_all_arrive(rig: &mut Rig) {
    const DEVICES: usize = 50;
    let name = |number: usize| format!("many-{number}");
    for number in 0..DEVICES {
        rig.link.set_head(&name(number), format!("head {number}").into_bytes());
    }
    barrier(rig).await;
    for number in 0..DEVICES {
        let mut device = Device::connect(&rig.broker, &name(number)).await;
        device.message(format!("head {number}").as_bytes()).await;
    }
}

/// Returns once everything given to the link before has reached the broker.
pub async fn barrier(rig: &mut Rig) {
    let settled = async {
        while rig.link.counts().waiting > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, settled).await.expect("the broker acknowledges");
}
