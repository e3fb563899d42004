//! The bytes are a stranger on the hub's endpoint for devices. The first byte says how far it comes by itself (mod 3: says
//! nothing; says a good CONNECT of `pi`; subscribes too), and with which certificate (the rest, mod 5: that of `pi`; of
//! another device; one that has ended; one of no device; none); then a script follows:
//!
//! | byte mod 9 | what happens |
//! |---|---|
//! | 0 | bytes of any kind arrive: a piece |
//! | 1 | a good PUBLISH arrives: QoS, a word as its payload |
//! | 2 | a PUBACK arrives: its packet id |
//! | 3 | time passes: seconds |
//! | 4 | the engine takes the frame at hand, or does not |
//! | 5 | the stranger reads: so many bytes times 64 |
//! | 6 | the hub sends: what, how many bytes times 256 |
//! | 7 | a word of a topic filter is subscribed to |
//! | 8 | the session is taken over, its device dismissed, or the hub stops |

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use firmware_compat::{
    frame::{Kind, MAX_FRAME_BYTES},
    id::Hash,
    time::Instant,
    topic::Direction,
};
use lichen_link::endpoint::{
    identity::{Credential, DeviceCertificate, Unusable},
    session::{Down, Rejection, Session, Step},
};
use rumqttc::{Packet, QoS};

use crate::{meter::bounded, script::Script};

/// Heap bytes of any stranger: what waits to be written, what was read, and one packet of many small properties.
const BASE_BYTES: usize = 2 * 1024 * 1024;
/// Heap bytes per byte: a filter of three bytes is a string and its answer.
const BYTES_PER_BYTE: usize = 64;
/// What may wait to be written: the bound of the endpoint, and one packet that was begun below it.
const MOST_WAITING: usize = 64 * 1024 + 48 * 1024;
/// QoS 1 messages that may be on their way at once.
const WINDOW: usize = 16;

/// By which certificates are judged.
const NOW: u64 = 1_000_000;

fn certificate(name: &str, not_after: u64) -> Credential {
    let (key, serial) = (Hash([1; 32]), [1].into());
    Credential::Device(Arc::new(DeviceCertificate { name: name.into(), key, serial, not_after }))
}

fn credential(whose: u8) -> Credential {
    match whose % 5 {
        0 => certificate("pi", NOW),
        1 => certificate("pi-2", NOW),
        2 => certificate("pi", NOW - 1),
        3 => Credential::Unusable(Unusable::NotADevice("pi".into())),
        _ => Credential::Anonymous,
    }
}

/// One stranger.
pub fn endpoint(bytes: &[u8]) {
    let limit = BASE_BYTES + BYTES_PER_BYTE * bytes.len();
    bounded("serving a stranger", limit, || {
        let mut script = Script::new(bytes);
        let first = script.number();
        let manners = first % 3;
        let mut stranger = Stranger::new(credential(first / 3));
        if manners > 0 {
            stranger.say(b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02pi");
        }
        if manners > 1 {
            stranger.subscribe(b"lichen/1/pi/down/#");
        }
        while let Some(step) = script.byte() {
            stranger.step(step % 9, &mut script);
        }
        stranger.leave();
    });
}

struct Stranger {
    credential: Credential,
    session: Session,
    now: Instant,
    /// A frame that the engine has at hand.
    at_hand: bool,
    open: bool,
    /// What the session has said, unread.
    said: BytesMut,
    packets: usize,
    in_flight: Vec<u16>,
    /// Acknowledged and not in flight, as far as the stranger knows.
    too_early: BTreeSet<u16>,
    /// It took nothing for too long, and what waited was dropped.
    cut_off: bool,
}

impl Stranger {
    fn new(credential: Credential) -> Self {
        Self {
            session: Session::new(credential.clone(), NOW, Instant(0)),
            credential,
            now: Instant(0),
            at_hand: false,
            open: false,
            said: BytesMut::new(),
            packets: 0,
            in_flight: Vec::new(),
            too_early: BTreeSet::new(),
            cut_off: false,
        }
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        match step {
            0 => self.say(script.piece()),
            1 => {
                let qos = script.number() % 4;
                let topic = b"lichen/1/pi/up/hello";
                let mut body = [&[0, topic.len() as u8][..], topic].concat();
                if qos > 0 {
                    body.extend([0, 9]);
                }
                body.push(0);
                body.extend(script.word());
                self.say(&packet(0x30 | qos << 1, &body));
            }
            2 => {
                let acknowledged = script.number();
                self.acknowledge(u16::from(acknowledged));
                self.say(&[0x40, 2, 0, acknowledged]);
            }
            3 => {
                self.now = self.now + Duration::from_secs(u64::from(script.number()));
                let waited = !self.session.out().is_empty();
                self.session.handle_timeout(self.now);
                self.cut_off |= waited && self.session.out().is_empty();
                let due = self.session.poll_timeout() <= self.now;
                assert!(
                    !due || self.session.has_ended(),
                    "a timeout that was handled is due again"
                );
                self.look();
            }
            4 => {
                let taken = script.number().is_multiple_of(2);
                self.at_hand = false;
                self.session.taken(taken, self.now);
                self.look();
            }
            5 => self.read(usize::from(script.number()) * 64),
            6 => {
                let (kind, size) = (script.number(), usize::from(script.number()) * 256);
                let frame = Bytes::from(vec![7; size.min(MAX_FRAME_BYTES)]);
                let down = match kind % 3 {
                    0 => Down::to_one(Kind::Part, frame),
                    1 => Down::to_every(Kind::Time, frame),
                    _ => Down::to_one(Kind::Head, frame).as_answer(),
                };
                if self.session.has_room() {
                    self.session.deliver(&down, self.now);
                }
            }
            7 => self.subscribe(script.word()),
            _ => {
                match script.number() % 3 {
                    0 => self.session.take_over(self.now),
                    1 => self.session.shut_down(self.now),
                    _ => self.session.dismiss("it was revoked", self.now),
                }
                self.look();
            }
        }
        assert!(self.session.out().len() <= MOST_WAITING, "too much waits to be written");
    }

    fn say(&mut self, bytes: &[u8]) {
        if self.session.wants_bytes() {
            self.session.received(bytes);
        }
        self.look();
    }

    /// An id may be acknowledged before its message was read, or sent.
    fn acknowledge(&mut self, acknowledged: u16) {
        let before = self.in_flight.len();
        self.in_flight.retain(|id| *id != acknowledged);
        if self.in_flight.len() == before {
            self.too_early.insert(acknowledged);
        }
    }

    fn subscribe(&mut self, filter: &[u8]) {
        let length = u16::try_from(filter.len()).expect("a word").to_be_bytes();
        self.say(&packet(0x82, &[&[0, 1, 0][..], &length, filter, &[1]].concat()));
    }

    /// Does what a shell does.
    fn look(&mut self) {
        while let Some(step) = self.session.next(self.now) {
            match step {
                Step::Open => {
                    assert!(!self.open, "a session opens once");
                    let Credential::Device(certificate) = &self.credential else {
                        panic!("who is let in has a certificate");
                    };
                    assert!(!certificate.has_ended(NOW), "and one that lasts");
                    let as_named = (Some(&*certificate.name), Some(certificate.key));
                    assert_eq!((self.session.device(), self.session.key()), as_named);
                    // One that is welcome, and one that the registry keeps out.
                    if certificate.name.len() == 2 {
                        self.open = true;
                        self.session.open(self.now);
                    } else {
                        let why = Rejection::Unwelcome("it is not enrolled here".to_owned());
                        self.session.reject(&why, self.now);
                    }
                }
                Step::Frame { kind, bytes } => {
                    assert!(self.open && !self.at_hand, "one frame at a time, of who is let in");
                    assert_eq!(kind.direction(), Direction::Up);
                    assert!(bytes.len() <= MAX_FRAME_BYTES);
                    self.at_hand = true;
                    return;
                }
                Step::Head => {
                    let head = Down::to_one(Kind::Head, Bytes::from_static(&[7; 180]));
                    self.session.deliver(&head.as_answer(), self.now);
                }
                Step::End => {
                    assert!(self.session.has_ended() && !self.session.wants_bytes());
                    assert!(!self.session.has_room());
                    return;
                }
            }
        }
    }

    /// Reads what was said: whole packets that a client understands, in an order that it expects.
    fn read(&mut self, most: usize) {
        let out = self.session.out();
        let part = &out[..most.min(out.len())];
        self.said.extend_from_slice(part);
        let read = part.len();
        self.session.wrote(read, self.now);
        // The one answer that is not of version 5.
        if self.packets == 0 && self.said[..] == [0x20, 2, 0, 1] {
            self.said.clear();
            self.packets = 1;
            return;
        }
        loop {
            let packet = match Packet::read(&mut self.said, None) {
                Ok(packet) => packet,
                Err(rumqttc::Error::InsufficientBytes(_)) => return,
                Err(error) => panic!("no client understands this: {error}"),
            };
            let first = self.packets == 0;
            self.packets += 1;
            assert_eq!(matches!(packet, Packet::ConnAck(_)), first, "a CONNACK comes first, once");
            match packet {
                Packet::Publish(publish) if publish.qos == QoS::AtLeastOnce => {
                    assert!(!self.in_flight.contains(&publish.pkid), "an id is in flight once");
                    if !self.too_early.remove(&publish.pkid) {
                        self.in_flight.push(publish.pkid);
                    }
                    assert!(self.in_flight.len() <= WINDOW, "more is in flight than may be");
                }
                Packet::ConnAck(_)
                | Packet::Publish(_)
                | Packet::PubAck(_)
                | Packet::SubAck(_)
                | Packet::UnsubAck(_)
                | Packet::PingResp
                | Packet::Disconnect(_) => {}
                other => panic!("a server does not say {other:?}"),
            }
        }
    }

    fn leave(&mut self) {
        self.read(usize::MAX);
        self.session.lose();
        assert_eq!(self.session.next(self.now), Some(Step::End));
        let will = self.session.due_will();
        assert!(will.is_none() || self.open, "a will of somebody who was never let in");
        assert!(self.said.is_empty() || self.cut_off, "half a packet was said");
    }
}

/// A packet with its length.
fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut length = body.len();
    while length >= 0x80 {
        packet.push((length & 0x7F) as u8 | 0x80);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend(body);
    packet
}
