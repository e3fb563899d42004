//! The session on its own: what it hears, what it says, when it gives up. A moved clock, no socket.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

use std::sync::Arc;

use firmware_compat::{
    frame::{self, MAX_FRAME_BYTES, Stamp},
    id::{AgentId, BootId},
    v1::owned::Gone,
};
use rumqttc::{
    Connect, ConnectAuth, ConnectProperties, Disconnect, DisconnectReasonCode as Reason, LastWill,
    PubAck, PubAckReason, Publish, PublishProperties, QoS, Subscribe, SubscribeFilter,
    SubscribeProperties, SubscribeReasonCode, UnsubAck, UnsubAckReason, Unsubscribe,
};

use super::*;
use crate::endpoint::identity::{DeviceCertificate, Unusable};

const HELLO: &str = "lichen/1/pi/up/hello";

/// A session and the client at its other end.
struct Rig {
    session: Session,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        let now = Instant(0);
        Self { session: Session::new(device(100), 100, now), now }
    }

    /// A session that is open, with a will and both subscriptions.
    fn open() -> Self {
        Self::open_with(|_, _| {})
    }

    fn open_with(change: impl FnOnce(&mut Connect, &mut ConnectProperties)) -> Self {
        let mut rig = Self::new();
        assert_eq!(rig.say(connect(change)), [Step::Open]);
        rig.session.open(rig.now);
        let heard = rig.heard();
        assert!(
            matches!(&heard[..], [Packet::ConnAck(ack)] if ack.code == ConnectReturnCode::Success)
        );
        rig.subscribe("lichen/1/pi/down/#", QoS::AtLeastOnce);
        rig.subscribe("lichen/1/all/down/#", QoS::AtLeastOnce);
        rig
    }

    fn say(&mut self, packet: Packet) -> Vec<Step> {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.say_bytes(&bytes)
    }

    fn say_bytes(&mut self, bytes: &[u8]) -> Vec<Step> {
        self.session.received(bytes);
        let mut steps = Vec::new();
        while let Some(step) = self.session.next(self.now) {
            let last = matches!(step, Step::Open | Step::End | Step::Frame { .. });
            steps.push(step);
            if last {
                break;
            }
        }
        steps
    }

    fn subscribe(&mut self, filter: &str, qos: QoS) -> Vec<SubscribeReasonCode> {
        self.subscribe_as(SubscribeFilter::new(filter, qos)).0
    }

    fn subscribe_as(&mut self, filter: SubscribeFilter) -> (Vec<SubscribeReasonCode>, Vec<Step>) {
        let subscribe = Subscribe { pkid: 7, filters: vec![filter], properties: None };
        let steps = self.say(Packet::Subscribe(subscribe));
        match &self.heard()[..] {
            [Packet::SubAck(ack)] if ack.pkid == 7 => (ack.return_codes.clone(), steps),
            other => panic!("heard {other:?} instead of a SUBACK"),
        }
    }

    /// What the session has said since the last call.
    fn heard(&mut self) -> Vec<Packet> {
        let mut bytes = BytesMut::from(self.session.out());
        self.session.wrote(bytes.len(), self.now);
        let mut packets = Vec::new();
        while !bytes.is_empty() {
            packets.push(Packet::read(&mut bytes, None).unwrap());
        }
        packets
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.session.handle_timeout(self.now);
    }

    /// Expects the session to have ended with this DISCONNECT, and its will to be due.
    fn ended(&mut self, reason: Reason) {
        let heard = self.heard();
        match heard.last() {
            Some(Packet::Disconnect(disconnect)) => assert_eq!(disconnect.reason_code, reason),
            other => panic!("heard {other:?} instead of {reason:?}"),
        }
        assert_eq!(self.session.next(self.now), Some(Step::End));
        assert_eq!(self.session.due_will().as_deref(), Some(&b"gone"[..]));
    }

    fn deliver(&mut self, kind: Kind, frame: &'static [u8]) -> bool {
        let message = Down::to_one(kind, Bytes::from_static(frame));
        self.session.deliver(&message, self.now)
    }
}

fn device(not_after: u64) -> Credential {
    let (name, key) = ("pi".into(), Hash([1; 32]));
    Credential::Device(Arc::new(DeviceCertificate { name, key, serial: [1].into(), not_after }))
}

fn connect(change: impl FnOnce(&mut Connect, &mut ConnectProperties)) -> Packet {
    let mut connect =
        Connect { keep_alive: 60, client_id: "pi".into(), clean_start: true, properties: None };
    let mut properties = ConnectProperties::new();
    change(&mut connect, &mut properties);
    connect.properties = Some(properties);
    let will =
        LastWill::new("lichen/1/pi/up/gone", b"gone".to_vec(), QoS::AtLeastOnce, false, None);
    Packet::Connect(connect, Some(will), ConnectAuth::None)
}

fn publish(topic: &str, qos: QoS, payload: &[u8]) -> Publish {
    let mut publish = Publish::new(topic, qos, payload.to_vec(), None);
    publish.pkid = if qos == QoS::AtMostOnce { 0 } else { 9 };
    publish
}

fn hello(qos: QoS) -> Packet {
    Packet::Publish(publish(HELLO, qos, b"hello"))
}

fn puback(pkid: u16, reason: PubAckReason) -> Packet {
    Packet::PubAck(PubAck { pkid, reason, properties: None })
}

#[test]
fn a_connack_says_what_the_endpoint_can_do() {
    let mut rig = Rig::new();
    let asks_much = connect(|connect, properties| {
        connect.keep_alive = 0;
        connect.clean_start = false;
        properties.session_expiry_interval = Some(600);
    });
    assert_eq!(rig.say(asks_much), [Step::Open]);
    assert_eq!((rig.session.device(), rig.session.key()), (Some("pi"), Some(Hash([1; 32]))));
    assert_eq!(rig.session.holder(), Holder { agent: None, boot: None });
    rig.session.open(rig.now);
    let heard = rig.heard();
    let [Packet::ConnAck(connack)] = &heard[..] else { panic!("{heard:?}") };
    assert!(!connack.session_present);
    let properties = connack.properties.as_ref().unwrap();
    assert_eq!(properties.max_qos, Some(1));
    assert_eq!(properties.session_expiry_interval, Some(0));
    assert_eq!(properties.server_keep_alive, Some(limits::DEFAULT_KEEP_ALIVE_S));
    assert_eq!(properties.max_packet_size, Some(limits::MAX_PACKET_BYTES));
    assert_eq!(properties.shared_subscription_available, Some(0));
    assert_eq!(properties.subscription_identifiers_available, Some(0));
    assert_eq!(properties.topic_alias_max, None);
}

#[test]
fn a_connect_may_come_byte_by_byte_and_other_packets_behind_it() {
    let mut bytes = BytesMut::new();
    connect(|_, _| {}).write(&mut bytes, None).unwrap();
    let whole = bytes.len();
    hello(QoS::AtLeastOnce).write(&mut bytes, None).unwrap();
    let mut rig = Rig::new();
    for byte in &bytes[..whole - 1] {
        assert_eq!(rig.say_bytes(&[*byte]), []);
    }
    assert_eq!(rig.say_bytes(&bytes[whole - 1..]), [Step::Open]);
    rig.session.open(rig.now);
    let frame = Step::Frame { kind: Kind::Hello, bytes: Bytes::from_static(b"hello") };
    assert_eq!(rig.session.next(rig.now), Some(frame));
}

#[test]
fn what_is_no_connect_of_version_5_is_answered_as_the_standard_says() {
    for (bytes, answer) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], &b""[..]),
        (b"\x16\x03\x01\x02\x00", b""),
        (b"\xC0\x00", b""),
        (b"\x11\x00", b""),
        (b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03old", b"\x20\x02\x00\x01"),
        (b"\x10\x0f\x00\x04MQTT\x03\x02\x00\x3c\x00\x03old", b"\x20\x02\x00\x01"),
        (b"\x10\x0c\x00\x06MQIsdp\x03\x02\x00\x3c", b""),
    ] {
        let mut rig = Rig::new();
        assert_eq!(rig.say_bytes(bytes), [Step::End], "{bytes:?}");
        assert_eq!(rig.session.out(), answer, "{bytes:?}");
    }
    for (bytes, code) in [
        (&b"\x10\x10\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x03new"[..], 0x84),
        (b"\x10\xFF\x7F", 0x95),
        (b"\x10\xFF\xFF\xFF\xFF", 0x81),
        // A reserved flag, a client id that reaches beyond the packet, a property that is none of CONNECT's.
        (b"\x10\x10\x00\x04MQTT\x05\x03\x00\x3c\x00\x00\x03bad", 0x81),
        (b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x09bad", 0x81),
        (b"\x10\x12\x00\x04MQTT\x05\x02\x00\x3c\x02\x23\x00\x00\x03bad", 0x81),
    ] {
        let mut rig = Rig::new();
        assert_eq!(rig.say_bytes(bytes), [Step::End], "{bytes:?}");
        let out = rig.session.out();
        assert_eq!((out[0], out[3]), (0x20, code), "{bytes:?} {out:?}");
    }
}

#[test]
fn a_device_that_is_not_let_in_is_told_why() {
    type Change = fn(&mut Connect, &mut ConnectProperties);
    let cases: [(Change, ConnectReturnCode); 6] = [
        (|_, properties| properties.max_packet_size = Some(0), ConnectReturnCode::ProtocolError),
        (|connect, _| connect.client_id.clear(), ConnectReturnCode::ClientIdentifierNotValid),
        (
            |connect, _| connect.client_id = "A b".into(),
            ConnectReturnCode::ClientIdentifierNotValid,
        ),
        (
            |connect, _| connect.client_id = "pi-2".into(),
            ConnectReturnCode::ClientIdentifierNotValid,
        ),
        (
            |_, properties| properties.authentication_method = Some("SCRAM".into()),
            ConnectReturnCode::BadAuthenticationMethod,
        ),
        (|_, properties| properties.receive_maximum = Some(0), ConnectReturnCode::MalformedPacket),
    ];
    for (change, code) in cases {
        let mut rig = Rig::new();
        assert_eq!(rig.say(connect(change)), [Step::End]);
        let heard = rig.heard();
        let refused = |code| matches!(&heard[..], [Packet::ConnAck(ack)] if ack.code == code);
        assert!(refused(code) || refused(ConnectReturnCode::ProtocolError), "{heard:?}");
        assert_eq!((rig.session.tally().refused, rig.session.due_will()), (1, None));
    }
}

/// What a CONNACK says that lets nobody in.
fn refusal(rig: &mut Rig) -> (ConnectReturnCode, String) {
    assert_eq!(rig.session.next(rig.now), Some(Step::End));
    match &rig.heard()[..] {
        [Packet::ConnAck(ack)] => {
            let why = ack.properties.as_ref().and_then(|said| said.reason_string.clone());
            (ack.code, why.unwrap_or_default())
        }
        heard => panic!("{heard:?}"),
    }
}

#[test]
fn a_device_that_is_kept_out_is_told_why() {
    let why = "it was revoked".to_owned();
    for (rejection, code, said) in [
        (Rejection::TooMany, ConnectReturnCode::ServerBusy, "too many devices"),
        (Rejection::TooOften, ConnectReturnCode::ConnectionRateExceeded, "too often"),
        (Rejection::Unwelcome(why.clone()), ConnectReturnCode::NotAuthorized, "it was revoked"),
        (
            Rejection::SecondBoard(why),
            ConnectReturnCode::ClientIdentifierNotValid,
            "it was revoked",
        ),
    ] {
        let mut rig = Rig::new();
        assert_eq!(rig.say(connect(|_, _| {})), [Step::Open]);
        rig.session.reject(&rejection, rig.now);
        let heard = refusal(&mut rig);
        assert!(heard.0 == code && heard.1.contains(said), "{heard:?}");
        assert_eq!((rig.session.tally().refused, rig.session.due_will()), (1, None));
    }
}

#[test]
fn each_certificate_that_lets_nobody_in_has_its_own_words() {
    let operator = Credential::Unusable(Unusable::NotADevice("system:admin".into()));
    for (credential, said) in [
        (Credential::Anonymous, "no client certificate"),
        (device(99), "has ended"),
        (operator, "\"system:admin\" is an operator's"),
    ] {
        let mut rig = Rig { session: Session::new(credential, 100, Instant(0)), now: Instant(0) };
        assert_eq!(rig.say(connect(|_, _| {})), [Step::End]);
        let (code, why) = refusal(&mut rig);
        assert!(code == ConnectReturnCode::NotAuthorized && why.contains(said), "{why}");
    }
}

#[test]
fn a_will_names_the_agent_and_its_boot_if_it_knows_it() {
    let (agent, boot) = (AgentId([7; 16]), BootId([8; 16]));
    for (boot, expected) in [(boot, Some(boot)), (BootId([0; 16]), None)] {
        let will = frame::encode(&Gone { agent, boot }, Stamp::default()).unwrap();
        let Packet::Connect(connect, _, auth) = connect(|_, _| {}) else { unreachable!() };
        let topic = "lichen/1/pi/up/gone";
        let will = LastWill::new(topic, will, QoS::AtLeastOnce, false, None);
        let mut rig = Rig::new();
        rig.say(Packet::Connect(connect, Some(will), auth));
        assert_eq!(rig.session.holder(), Holder { agent: Some(agent), boot: expected });
    }
}

#[test]
fn a_device_that_says_too_much_is_read_more_slowly_and_loses_nothing() {
    const PACKETS: u64 = 3000;
    let mut rig = Rig::open();
    let mut bytes = BytesMut::new();
    for _ in 0..PACKETS {
        Packet::PingReq.write(&mut bytes, None).unwrap();
    }
    rig.say_bytes(&bytes);
    let mut answered = rig.heard().len() as u64;
    let free = limits::SAYING.burst / limits::PACKET_TOKENS;
    assert!(answered <= free && answered >= free - 5, "{answered} of {free}");
    assert!(!rig.session.wants_bytes());
    // Its time is the hub's: nothing ends meanwhile, and what the hub says leaves.
    assert!(rig.deliver(Kind::Command, b"now"));
    rig.heard();
    let started = rig.now;
    while answered < PACKETS {
        rig.now = rig.session.poll_timeout();
        rig.session.handle_timeout(rig.now);
        assert_eq!(rig.session.next(rig.now), None);
        answered += rig.heard().len() as u64;
    }
    let took = rig.now.since(started);
    let due =
        Duration::from_secs((PACKETS - free) * limits::PACKET_TOKENS / limits::SAYING.per_second);
    assert!(took >= due && took < due * 2, "{took:?} {due:?}");
    assert!(!rig.session.has_ended() && rig.session.tally().slowed > 0);
    rig.pass(Duration::from_secs(1));
    assert!(rig.session.wants_bytes());
}

#[test]
fn a_dismissed_device_is_told_so() {
    let mut rig = Rig::open();
    rig.session.dismiss("it was revoked", rig.now);
    rig.ended(Reason::NotAuthorized);
}

#[test]
fn a_silent_connection_is_closed_after_ten_seconds() {
    let mut rig = Rig::new();
    assert_eq!(rig.session.poll_timeout(), Instant(10_000));
    rig.say_bytes(b"\x10");
    rig.pass(Duration::from_millis(9_999));
    assert!(!rig.session.has_ended());
    rig.pass(Duration::from_millis(1));
    assert_eq!((rig.session.next(rig.now), rig.session.out()), (Some(Step::End), &b""[..]));
}

#[test]
fn a_frame_is_acknowledged_once_the_engine_has_taken_it_and_nothing_is_read_before() {
    let mut rig = Rig::open();
    let frame = Step::Frame { kind: Kind::Hello, bytes: Bytes::from_static(b"hello") };
    assert_eq!(rig.say(hello(QoS::AtLeastOnce)), std::slice::from_ref(&frame));
    assert_eq!(rig.say(Packet::PingReq), []);
    assert_eq!(rig.heard(), []);
    rig.session.taken(true, rig.now);
    assert_eq!(rig.session.next(rig.now), None);
    assert_eq!(rig.heard(), [puback(9, PubAckReason::Success), Packet::PingResp]);
    // One that was dropped is not acknowledged as taken, and one of QoS 0 not at all.
    assert_eq!(rig.say(hello(QoS::AtLeastOnce)), std::slice::from_ref(&frame));
    rig.session.taken(false, rig.now);
    assert_eq!(rig.heard(), [puback(9, PubAckReason::QuotaExceeded)]);
    assert_eq!(rig.say(hello(QoS::AtMostOnce)), [frame]);
    rig.session.taken(true, rig.now);
    assert_eq!(rig.heard(), []);
}

#[test]
fn foreign_retained_and_oversized_messages_are_refused_and_the_session_stays() {
    let mut rig = Rig::open();
    let mut retained = publish(HELLO, QoS::AtLeastOnce, b"x");
    retained.retain = true;
    let oversized = publish(HELLO, QoS::AtLeastOnce, &[0; MAX_FRAME_BYTES + 1]);
    for (message, reason) in [
        (publish("lichen/1/pi-2/up/hello", QoS::AtLeastOnce, b"x"), PubAckReason::NotAuthorized),
        (publish("elsewhere", QoS::AtLeastOnce, b"x"), PubAckReason::NotAuthorized),
        (retained, PubAckReason::NotAuthorized),
        (oversized, PubAckReason::QuotaExceeded),
    ] {
        assert_eq!(rig.say(Packet::Publish(message)), []);
        assert_eq!(rig.heard(), [puback(9, reason)]);
    }
    let unanswered = publish("elsewhere", QoS::AtMostOnce, b"x");
    assert_eq!(rig.say(Packet::Publish(unanswered)), []);
    assert_eq!(rig.heard(), []);
    assert_eq!(rig.session.tally(), Tally { refused: 4, dropped: 1, slowed: 0 });
}

#[test]
fn what_the_standard_forbids_ends_the_session_with_its_reason_and_the_will() {
    let with = |properties| {
        Packet::Publish(Publish {
            properties: Some(properties),
            ..publish(HELLO, QoS::AtLeastOnce, b"x")
        })
    };
    let alias = PublishProperties { topic_alias: Some(1), ..PublishProperties::default() };
    let identifier =
        PublishProperties { subscription_identifiers: vec![1], ..PublishProperties::default() };
    let identified = Subscribe {
        pkid: 1,
        filters: vec![SubscribeFilter::new("lichen/1/pi/down/#", QoS::AtLeastOnce)],
        properties: Some(SubscribeProperties { id: Some(1), user_properties: Vec::new() }),
    };
    let unsubscribe = Unsubscribe { pkid: 1, filters: Vec::new(), properties: None };
    for (packet, reason) in [
        (Packet::Publish(publish(HELLO, QoS::ExactlyOnce, b"x")), Reason::QoSNotSupported),
        (Packet::Publish(publish("", QoS::AtLeastOnce, b"x")), Reason::ProtocolError),
        (with(alias), Reason::TopicAliasInvalid),
        (with(identifier), Reason::ProtocolError),
        (Packet::Subscribe(identified), Reason::SubscriptionIdentifiersNotSupported),
        (Packet::Unsubscribe(unsubscribe), Reason::ProtocolError),
        (connect(|_, _| {}), Reason::ProtocolError),
        (Packet::PingResp, Reason::ProtocolError),
    ] {
        let mut rig = Rig::open();
        assert_eq!(rig.say(packet.clone()), [Step::End], "{packet:?}");
        rig.ended(reason);
    }
    for (bytes, reason) in [
        // Over the limit: told as soon as the length is known.
        (&b"\x30\x80\x80\x40"[..], Reason::PacketTooLarge),
        (b"\x30\xFF\xFF\xFF\xFF", Reason::MalformedPacket),
        // QoS 3, a packet id of 0, a topic with a wildcard, one that is not text, a length beyond the packet.
        (b"\x36\x05\x00\x01a\x00\x01", Reason::MalformedPacket),
        (b"\x32\x06\x00\x01a\x00\x00\x00", Reason::MalformedPacket),
        (b"\x30\x04\x00\x01#\x00", Reason::MalformedPacket),
        (b"\x30\x04\x00\x01\xFF\x00", Reason::MalformedPacket),
        (b"\x30\x03\x00\x09a", Reason::MalformedPacket),
        // A PUBLISH that ends within its properties' length is whole: no more bytes are waited for.
        (b"\x30\x04\x00\x01a\x80", Reason::MalformedPacket),
        (b"\x82\x03\x00\x01\x00", Reason::ProtocolError),
        (b"\x80\x03\x00\x01\x00", Reason::MalformedPacket),
        (b"\x00\x00", Reason::MalformedPacket),
        (b"\xF0\x02\x18\x00", Reason::ProtocolError),
    ] {
        let mut rig = Rig::open();
        assert_eq!(rig.say_bytes(bytes), [Step::End], "{bytes:?}");
        rig.ended(reason);
    }
}

#[test]
fn a_disconnect_ends_the_session_with_the_will_only_if_it_says_so() {
    for (reason_code, will) in [
        (Reason::NormalDisconnection, None),
        (Reason::DisconnectWithWillMessage, Some(&b"gone"[..])),
        (Reason::UnspecifiedError, Some(&b"gone"[..])),
    ] {
        let mut rig = Rig::open();
        let disconnect = Disconnect { reason_code, properties: None };
        assert_eq!(rig.say(Packet::Disconnect(disconnect)), [Step::End]);
        assert_eq!(rig.heard(), []);
        assert_eq!(rig.session.due_will().as_deref(), will);
    }
    let mut rig = Rig::open();
    rig.session.lose();
    assert_eq!(rig.session.due_will().as_deref(), Some(&b"gone"[..]));
}

#[test]
fn a_silent_device_is_given_up_after_one_and_a_half_keep_alives() {
    let mut rig = Rig::open();
    rig.pass(Duration::from_secs(80));
    rig.say(Packet::PingReq);
    assert_eq!(rig.heard(), [Packet::PingResp]);
    rig.pass(Duration::from_secs(89));
    assert!(!rig.session.has_ended());
    // Half a packet is no sign of life.
    rig.say_bytes(b"\x30\x10");
    rig.pass(Duration::from_secs(1));
    rig.ended(Reason::KeepAliveTimeout);
}

#[test]
fn the_time_that_the_engine_takes_is_not_counted_as_the_devices_silence() {
    let mut rig = Rig::open();
    assert!(rig.deliver(Kind::Command, b"x"));
    rig.heard();
    assert!(rig.deliver(Kind::Command, b"waits to be written"));
    rig.say(hello(QoS::AtLeastOnce));
    // The shell is busy with the frame: it neither reads nor writes, nor looks at the clock.
    rig.now = rig.now + Duration::from_secs(1000);
    rig.session.taken(true, rig.now);
    rig.pass(limits::WRITE_TIMEOUT - Duration::from_millis(1));
    assert!(!rig.session.has_ended());
    rig.heard();
    rig.pass(limits::ACKNOWLEDGE_TIMEOUT - limits::WRITE_TIMEOUT);
    assert!(!rig.session.has_ended());
    rig.pass(Duration::from_millis(1));
    rig.ended(Reason::UnspecifiedError);
}

#[test]
fn a_device_that_waited_long_to_be_let_in_is_not_silent() {
    let mut rig = Rig::new();
    rig.say(connect(|_, _| {}));
    rig.now = rig.now + Duration::from_secs(1000);
    rig.session.open(rig.now);
    rig.heard();
    rig.pass(Duration::from_secs(89));
    assert!(!rig.session.has_ended());
}

#[test]
fn a_device_that_acknowledges_nothing_or_takes_nothing_is_given_up() {
    let mut rig = Rig::open_with(|connect, _| connect.keep_alive = 1200);
    assert!(rig.deliver(Kind::Command, b"x"));
    rig.heard();
    rig.pass(Duration::from_secs(50));
    rig.say(Packet::PingReq);
    rig.heard();
    rig.pass(Duration::from_secs(59));
    assert!(!rig.session.has_ended());
    rig.pass(Duration::from_secs(1));
    rig.ended(Reason::UnspecifiedError);

    let mut rig = Rig::open_with(|connect, _| connect.keep_alive = 1200);
    assert!(rig.deliver(Kind::Command, b"x"));
    rig.pass(limits::WRITE_TIMEOUT);
    assert_eq!(rig.session.next(rig.now), Some(Step::End));
    assert_eq!(rig.session.out(), b"", "it takes nothing, so nothing is said");
}

#[test]
fn the_window_is_the_devices_own_and_opens_with_acknowledgements() {
    let mut rig = Rig::open_with(|_, properties| properties.receive_maximum = Some(2));
    assert!(rig.deliver(Kind::Command, b"1") && rig.deliver(Kind::Command, b"2"));
    assert!(!rig.session.has_room());
    let ids: Vec<u16> = rig
        .heard()
        .iter()
        .map(|packet| match packet {
            Packet::Publish(publish) => publish.pkid,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, [1, 2]);
    rig.say(puback(77, PubAckReason::Success));
    assert!(!rig.session.has_room());
    rig.say(puback(1, PubAckReason::Success));
    assert!(rig.session.has_room());
    assert!(rig.deliver(Kind::Command, b"3"));
    assert!(matches!(&rig.heard()[..], [Packet::Publish(publish)] if publish.pkid == 3));
}

#[test]
fn packet_ids_wrap_around_past_those_in_flight() {
    let mut rig = Rig::open();
    assert!(rig.deliver(Kind::Command, b"stays in flight"));
    for _ in 0..70_000_u32 {
        assert!(rig.deliver(Kind::Command, b"x"));
        let heard = rig.heard();
        let Some(Packet::Publish(publish)) = heard.last() else { panic!("{heard:?}") };
        assert!(publish.pkid > 1);
        rig.say(puback(publish.pkid, PubAckReason::Success));
        // A device that acknowledges without a pause would be slowed down.
        rig.now = rig.now + Duration::from_millis(10);
    }
}

#[test]
fn a_message_larger_than_the_device_takes_is_dropped_alone() {
    let mut rig = Rig::open_with(|_, properties| properties.max_packet_size = Some(60));
    assert!(!rig.deliver(Kind::Command, &[0; 60]));
    assert!(rig.deliver(Kind::Command, b"small"));
    assert!(matches!(&rig.heard()[..], [Packet::Publish(publish)] if publish.pkid == 1));
}

#[test]
fn what_explains_a_packet_is_left_out_if_it_would_be_larger_than_the_device_takes() {
    let small = |packet_bytes| {
        move |_: &mut Connect, properties: &mut ConnectProperties| {
            properties.max_packet_size = Some(packet_bytes);
        }
    };
    let mut rig = Rig::new();
    rig.say(connect(small(30)));
    rig.session.open(rig.now);
    let heard = rig.heard();
    let [Packet::ConnAck(connack)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(connack.properties.as_ref().unwrap().max_qos, Some(1));
    rig.session.take_over(rig.now);
    assert!(rig.session.out().len() <= 30, "{:?}", rig.session.out());
    rig.ended(Reason::SessionTakenOver);

    let mut rig = Rig::new();
    rig.say(connect(small(20)));
    rig.session.reject(&Rejection::TooMany, rig.now);
    assert!(rig.session.out().len() <= 20, "{:?}", rig.session.out());
    assert!(
        matches!(&rig.heard()[..], [Packet::ConnAck(ack)] if ack.code == ConnectReturnCode::ServerBusy)
    );

    // Not even its properties fit: it is as if it had been sent.
    let mut rig = Rig::new();
    rig.say(connect(small(10)));
    rig.session.open(rig.now);
    assert_eq!((rig.session.out(), rig.session.has_ended()), (&b""[..], false));
}

#[test]
fn a_message_is_sent_once_with_the_most_that_was_granted_and_only_if_asked_for() {
    let mut rig = Rig::open();
    rig.subscribe("lichen/1/pi/down/command", QoS::AtMostOnce);
    assert!(rig.deliver(Kind::Command, b"x"));
    let heard = rig.heard();
    assert!(
        matches!(&heard[..], [Packet::Publish(publish)] if publish.qos == QoS::AtLeastOnce),
        "{heard:?}"
    );
    let filters = ["lichen/1/pi/down/#", "lichen/1/pi/down/+", "#"].map(str::to_owned);
    let unsubscribe = Unsubscribe { pkid: 3, filters: filters.into(), properties: None };
    rig.say(Packet::Unsubscribe(unsubscribe));
    let none = UnsubAckReason::NoSubscriptionExisted;
    let reasons = vec![UnsubAckReason::Success, none, none];
    assert_eq!(rig.heard(), [Packet::UnsubAck(UnsubAck { pkid: 3, reasons, properties: None })]);
    assert!(rig.deliver(Kind::Command, b"x"));
    assert!(
        matches!(&rig.heard()[..], [Packet::Publish(publish)] if publish.qos == QoS::AtMostOnce)
    );
    assert!(!rig.deliver(Kind::Part, b"x"));
    let time = Down::to_every(Kind::Time, Bytes::from_static(b"noon"));
    assert!(rig.session.deliver(&time, rig.now));
    let heard = rig.heard();
    assert!(
        matches!(&heard[..], [Packet::Publish(publish)] if publish.topic == "lichen/1/all/down/time")
    );
}

#[test]
fn a_head_answers_a_subscription_as_its_retain_handling_says() {
    use rumqttc::RetainForwardRule::{Never, OnEverySubscribe, OnNewSubscribe};
    let filter = |path: &str, rule| SubscribeFilter {
        retain_forward_rule: rule,
        ..SubscribeFilter::new(path, QoS::AtLeastOnce)
    };
    let mut rig = Rig::open();
    for (path, rule, asked) in [
        ("lichen/1/pi/down/head", OnNewSubscribe, true),
        ("lichen/1/pi/down/head", OnNewSubscribe, false),
        ("lichen/1/pi/down/head", OnEverySubscribe, true),
        ("lichen/1/pi/down/+", Never, false),
        ("lichen/1/pi/down/part", OnEverySubscribe, false),
        ("lichen/1/all/down/+", OnEverySubscribe, false),
    ] {
        let (codes, steps) = rig.subscribe_as(filter(path, rule.clone()));
        assert_eq!(codes, [SubscribeReasonCode::Success(QoS::AtLeastOnce)]);
        assert_eq!(steps, if asked { vec![Step::Head] } else { vec![] }, "{path} {rule:?}");
    }
    let head = Down::to_one(Kind::Head, Bytes::from_static(b"head")).as_answer();
    assert!(rig.session.deliver(&head, rig.now));
    assert!(rig.deliver(Kind::Head, b"newer"));
    let flags: Vec<bool> = rig
        .heard()
        .iter()
        .map(|packet| match packet {
            Packet::Publish(publish) => publish.retain,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(flags, [true, false]);
}

#[test]
fn a_head_waits_for_room_in_the_window() {
    let mut rig = Rig::open_with(|_, properties| properties.receive_maximum = Some(1));
    assert!(rig.deliver(Kind::Command, b"in flight"));
    rig.heard();
    let (_, steps) = rig.subscribe_as(SubscribeFilter::new("lichen/1/pi/down/#", QoS::AtLeastOnce));
    assert_eq!(steps, []);
    assert!(!rig.deliver(Kind::Head, b"too early"));
    assert_eq!(rig.say(puback(1, PubAckReason::Success)), [Step::Head]);
    assert!(rig.deliver(Kind::Head, b"head"));
    assert_eq!(rig.say(Packet::PingReq), []);
}

#[test]
fn subscriptions_are_bounded() {
    let mut rig = Rig::open();
    let mut codes = Vec::new();
    for kind in Kind::EVERY {
        for whose in ["pi", "all"] {
            let filter = format!("lichen/1/{whose}/down/{}", kind.topic_level());
            codes.extend(rig.subscribe(&filter, QoS::ExactlyOnce));
        }
    }
    let granted = SubscribeReasonCode::Success(QoS::AtLeastOnce);
    let (granted, refused): (Vec<SubscribeReasonCode>, Vec<SubscribeReasonCode>) =
        codes.into_iter().partition(|code| *code == granted);
    assert_eq!(granted.len(), limits::MAX_SUBSCRIPTIONS - 2);
    assert!(refused.iter().all(|code| *code == SubscribeReasonCode::QuotaExceeded));
}

#[test]
fn a_device_that_does_not_read_is_not_listened_to() {
    const LARGE: &[u8] = &[7; MAX_FRAME_BYTES];
    let mut rig = Rig::open();
    let sent = (0..10).filter(|_| rig.deliver(Kind::Part, LARGE)).count();
    assert_eq!(sent, limits::OUT_BYTES.div_ceil(MAX_FRAME_BYTES));
    assert!(!rig.session.wants_bytes() && !rig.session.has_room());
    rig.say(Packet::PingReq);
    assert_eq!(rig.heard().len(), sent, "it is not answered before it reads");
    assert!(rig.session.wants_bytes());
    assert_eq!(rig.session.next(rig.now), None);
    assert_eq!(rig.heard(), [Packet::PingResp]);
}

#[test]
fn a_takeover_and_a_shutdown_are_told() {
    let mut rig = Rig::open();
    rig.session.take_over(rig.now);
    rig.ended(Reason::SessionTakenOver);
    let mut rig = Rig::open();
    rig.session.shut_down(rig.now);
    rig.session.take_over(rig.now);
    rig.ended(Reason::ServerShuttingDown);
}

#[test]
fn an_idle_session_holds_no_buffers() {
    let mut rig = Rig::open();
    rig.say(hello(QoS::AtLeastOnce));
    rig.session.taken(true, rig.now);
    assert!(rig.deliver(Kind::Command, b"x"));
    rig.heard();
    rig.session.next(rig.now);
    assert_eq!((rig.session.incoming.capacity(), rig.session.out.capacity()), (0, 0));
    let size = size_of::<Session>() + size_of::<Open>();
    assert!(size <= 512, "{size} bytes");
}
