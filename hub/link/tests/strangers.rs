//! What a device with a good certificate and bad intentions may throw at the endpoint, over real sockets: each is told what
//! the standard lets it be told or is cut off, and nobody else notices. What a session does with any bytes at all is
//! fuzzed (`tests/fuzz`, target `endpoint`).

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod conformance;

use std::time::Duration;

use conformance::{
    Rig,
    device::{DEADLINE, Device},
    embedded::start,
};
use lichen_link::LinkEvent;
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use rumqttc::PubAckReason;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const CONNECT: &[u8] = b"\x10\x16\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x09strangers";

/// Says these bytes as a device, and no more. Gives what is answered until the connection is closed.
async fn say(rig: &Rig, name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = rig.raw(name).await;
    let _cut_off = stream.write_all(bytes).await;
    let _cut_off = stream.shutdown().await;
    let mut answer = Vec::new();
    let _reset = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
    answer
}

/// A good device goes on as before.
async fn still_serves(device: &mut Device) {
    assert_eq!(device.publish("lichen/1/good/up/hello", b"x").await, PubAckReason::Success);
}

#[tokio::test]
async fn malformed_packets_end_their_own_session_with_the_reason() {
    let rig = start(100).await;
    let mut good = Device::connect(&rig.broker, "good").await;
    for (bytes, reason) in [
        (&b"\x30\xFF\xFF\xFF\xFF"[..], 0x81),
        (b"\x00\x00", 0x81),
        (b"\x36\x05\x00\x01a\x00\x01", 0x81),
        (b"\x30\x80\x80\x40", 0x95),
        (b"\x34\x06\x00\x01a\x00\x01\x00", 0x9B),
        (b"\x32\x09\x00\x01a\x00\x01\x03\x23\x00\x01", 0x94),
        (b"\x82\x03\x00\x01\x00", 0x82),
        (b"\x50\x02\x00\x01", 0x82),
        (b"\xF0\x02\x18\x00", 0x82),
        (CONNECT, 0x82),
    ] {
        let answer = say(&rig, "strangers", &[CONNECT, bytes].concat()).await;
        let connack = 2 + usize::from(answer[1]);
        let disconnect = &answer[connack..];
        assert_eq!((answer[0], answer[3]), (0x20, 0), "{bytes:02x?}");
        assert_eq!((disconnect[0], disconnect[2]), (0xE0, reason), "{bytes:02x?}");
        still_serves(&mut good).await;
    }
}

/// Mutations of a whole conversation, and noise. The endpoint has to answer the good device all the time, and to have
/// nobody left in the end but it.
#[tokio::test]
async fn noise_and_mutated_conversations_disturb_nobody() {
    let mut rig = start(100).await;
    let mut good = Device::connect(&rig.broker, "good").await;
    // Of several devices in turn: none connects so often that it has to wait. Names of seven letters.
    let conversation = |name: &str| {
        [
            b"\x10\x14\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x07",
            name.as_bytes(),
            b"\x82\x1d\x00\x01\x00\x00\x17lichen/1/",
            name.as_bytes(),
            b"/down/#\x01\x32\x23\x00\x19lichen/1/",
            name.as_bytes(),
            b"/up/hello\x00\x01\x00hello\xC0\x00\xE0\x00",
        ]
        .concat()
    };
    let whole = conversation("many-10").len();
    let mutation = (0..whole, any::<u8>(), 0..whole, any::<bool>());
    let cases = (vec(mutation, 1..6), vec(any::<u8>(), 0..64));
    let mut runner = TestRunner::default();
    for case in 0..300 {
        let (mutations, noise) = cases.new_tree(&mut runner).unwrap().current();
        let name = format!("many-{}", 10 + case % 40);
        let mut bytes = conversation(&name);
        for (at, byte, cut, noisy) in mutations {
            let at = at.min(bytes.len() - 1);
            if noisy {
                bytes.splice(at..at, noise.iter().copied());
            } else {
                bytes[at] = byte;
                bytes.truncate(bytes.len().min(cut.max(at + 1)));
            }
        }
        say(&rig, &name, &bytes).await;
        still_serves(&mut good).await;
    }
    let counts = rig.link.counts();
    assert!(counts.received > 300 && counts.too_often == 0, "most come in: {counts:?}");
    drop(good);
    rig.events.wait_for(&LinkEvent::Disconnected { device: "good".into() }).await;
    assert_eq!(rig.link.counts().devices, 0);
}

/// More silent connections than there is room for: those who come are turned away, and who was there stays.
#[tokio::test]
async fn a_flood_of_silent_connections_does_not_touch_those_who_are_in() {
    let rig = start(4).await;
    let mut good = Device::connect(&rig.broker, "good").await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(rig.broker.address()).await.unwrap());
    }
    still_serves(&mut good).await;
    // The last of them finds no room even to be silent.
    let mut last = silent.pop().unwrap();
    let mut nothing = Vec::new();
    let _reset = timeout(DEADLINE, last.read_to_end(&mut nothing)).await.unwrap();
    assert_eq!(nothing, b"");
    assert!(rig.link.counts().crowded > 0);
    drop(silent);
    while rig.link.counts().connections > 1 {
        tokio::task::yield_now().await;
    }
    let mut newcomer = Device::connect(&rig.broker, "newcomer").await;
    assert_eq!(newcomer.publish("lichen/1/newcomer/up/hello", b"x").await, PubAckReason::Success);
}

/// A connection whose far end went away without a word (no FIN, no RST) is replaced by the same device at once, and what
/// the old one would still say is of no use to anybody.
#[tokio::test]
async fn a_half_open_connection_does_not_keep_its_device_out() {
    let mut rig = start(4).await;
    let mut lost = rig.raw("good").await;
    lost.write_all(b"\x10\x11\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x04good").await.unwrap();
    rig.events.wait_for(&LinkEvent::Connected { device: "good".into() }).await;
    let mut good = Device::connect(&rig.broker, "good").await;
    still_serves(&mut good).await;
    assert_eq!((rig.link.counts().devices, rig.link.counts().takeovers), (1, 1));
    // The far end of the old one never answers; it is closed all the same, and not reported.
    let mut last_words = Vec::new();
    timeout(Duration::from_secs(20), lost.read_to_end(&mut last_words)).await.unwrap().unwrap();
    assert_eq!(last_words[2 + usize::from(last_words[1])], 0xE0);
    still_serves(&mut good).await;
}
