//! The first packet: who comes, what it can take, and the CONNACK.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use firmware_compat::{
    frame::{Frame, Kind},
    id::{BootId, Hash},
    time::Instant,
    v1::owned::Gone,
};
use rumqttc::{
    ConnAck, ConnAckProperties, Connect, ConnectAuth, ConnectProperties, ConnectReturnCode as Code,
    LastWill, Packet, QoS,
};

use super::{Open, Session, State, Subscriptions, Window};
use crate::{
    Holder,
    client::TELLS_TAKEOVERS,
    endpoint::{
        codec::Bad,
        identity::{self, Claim},
        limits,
        paced::clipped,
    },
};

/// What a 3.1.1 client is told, in its own words: "unacceptable protocol version" (MQTT 3.1.1, 3.2.2.3).
const UNACCEPTABLE_VERSION_3: &[u8] = &[0x20, 2, 0, 1];

/// A device that may come in, if there is room.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) device: Box<str>,
    /// SHA-256 of the public key in its certificate.
    pub(super) key: Hash,
    /// The agent behind it, and its boot, if its will says so.
    pub(super) holder: Holder,
    keep_alive_s: u16,
    will: Option<Bytes>,
    window: u16,
    connack: ConnAckProperties,
}

/// Why a device that is who it says does not come in all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There are too many.
    TooMany,
    /// It comes too often.
    TooOften,
    /// It is not welcome, and why.
    Unwelcome(String),
    /// Another board with its name, its key and its agent id is there, and which.
    SecondBoard(String),
}

impl Session {
    pub(super) fn on_connect(&mut self, packet: Packet, now: Instant) {
        // The codec hands out nothing else as a first packet.
        let Packet::Connect(connect, will, auth) = packet else { return self.lose() };
        let asked = connect.properties.as_ref().and_then(|asked| asked.max_packet_size);
        // 0 is refused below, in words.
        let asked = asked.filter(|bytes| *bytes > 0).unwrap_or(u32::MAX);
        self.packet_bytes = asked.min(limits::MAX_PACKET_BYTES);
        match admit(self, &connect, will, &auth) {
            Ok(admitted) => self.state = State::Admitted(Box::new(admitted)),
            Err((code, why)) => {
                tracing::debug!(
                    client = clipped(&connect.client_id),
                    "refused a connection: {why}"
                );
                self.refuse(code, &why, now);
            }
        }
    }

    pub(super) fn refuse_bytes(&mut self, error: Bad, now: Instant) {
        match error {
            // Whoever speaks something else is not told that this is MQTT.
            Bad::NotMqtt => self.lose(),
            Bad::Version(3 | 4) => {
                self.out = BytesMut::from(UNACCEPTABLE_VERSION_3);
                self.wrote = now;
                self.tally.refused += 1;
                self.state = State::Ended { will: None };
            }
            Bad::Version(_) => {
                self.refuse(Code::UnsupportedProtocolVersion, "only MQTT 5 is spoken here", now);
            }
            Bad::TooLarge => self.refuse(Code::PacketTooLarge, "the CONNECT is too large", now),
            Bad::TopicAlias | Bad::Malformed(_) => {
                self.refuse(Code::MalformedPacket, &error.to_string(), now);
            }
        }
    }

    /// Opens the session of an admitted device.
    pub fn open(&mut self, now: Instant) {
        if !matches!(self.state, State::Admitted(_)) {
            return;
        }
        let before = std::mem::replace(&mut self.state, State::Ended { will: None });
        let State::Admitted(admitted) = before else { return };
        let Admitted { device, keep_alive_s, will, window, connack, .. } = *admitted;
        // It may have waited for the engine since its CONNECT.
        self.heard = now;
        let code = Code::Success;
        let connack = ConnAck { session_present: false, code, properties: Some(connack) };
        self.write(Packet::ConnAck(connack), now);
        self.state = State::Open(Box::new(Open {
            device,
            silence: Duration::from_secs(u64::from(keep_alive_s)) * 3 / 2,
            will,
            window: Window::new(window),
            subscriptions: Subscriptions::default(),
            acknowledge: 0,
            handing_over: false,
            wants_head: false,
        }));
    }

    /// Does not let an admitted device in. The first two reasons pass by themselves, and our client tries again soon; with
    /// the others it waits long.
    pub fn reject(&mut self, rejection: &Rejection, now: Instant) {
        if !matches!(self.state, State::Admitted(_)) {
            return;
        }
        match rejection {
            Rejection::TooMany => {
                self.refuse(Code::ServerBusy, "too many devices are connected", now)
            }
            Rejection::TooOften => {
                let why = "this device connects too often";
                self.refuse(Code::ConnectionRateExceeded, why, now);
            }
            Rejection::Unwelcome(why) => self.refuse(Code::NotAuthorized, why, now),
            Rejection::SecondBoard(why) => self.refuse(Code::ClientIdentifierNotValid, why, now),
        }
    }
}

fn admit(
    session: &Session,
    connect: &Connect,
    will: Option<LastWill>,
    auth: &ConnectAuth,
) -> Result<Admitted, (Code, String)> {
    let username = match auth {
        ConnectAuth::Username { username } | ConnectAuth::UsernamePassword { username, .. } => {
            Some(username.as_str())
        }
        ConnectAuth::None | ConnectAuth::Password { .. } => None,
    };
    // The codec has made sure that it is text.
    let will_topic = will.as_ref().map(|will| str::from_utf8(&will.topic).unwrap_or_default());
    let claim = Claim { client_id: &connect.client_id, username, will_topic };
    let certificate = identity::admit(&session.credential, session.known_time, claim)
        .map_err(|refusal| (refusal.code(), refusal.to_string()))?;
    if let Some(will) = &will {
        if will.qos == QoS::ExactlyOnce {
            return Err((Code::QoSNotSupported, "a will with QoS 2 is not supported".to_owned()));
        }
        if will.retain {
            return Err((Code::NotAuthorized, "a device retains nothing, nor its will".to_owned()));
        }
    }
    let asked = Asked::read(connect.properties.as_ref())?;
    let keep_alive_s = match connect.keep_alive {
        0 => limits::DEFAULT_KEEP_ALIVE_S,
        asked => asked,
    };
    Ok(Admitted {
        device: certificate.name.clone(),
        key: certificate.key,
        holder: holder_of(will.as_ref()),
        keep_alive_s,
        // A will of its own memory: the packet's is given back.
        will: will.map(|will| Bytes::copy_from_slice(&will.message)),
        window: asked.window,
        connack: connack(connect.keep_alive == 0, asked.lasting),
    })
}

/// What the CONNECT's properties ask for.
struct Asked {
    window: u16,
    /// A session that outlives its connection.
    lasting: bool,
}

impl Asked {
    fn read(properties: Option<&ConnectProperties>) -> Result<Self, (Code, String)> {
        let Some(asked) = properties else {
            return Ok(Self { window: limits::SEND_WINDOW, lasting: false });
        };
        if asked.authentication_method.is_some() || asked.authentication_data.is_some() {
            let why = "enhanced authentication is not supported".to_owned();
            return Err((Code::BadAuthenticationMethod, why));
        }
        if asked.receive_maximum == Some(0) || asked.max_packet_size == Some(0) {
            return Err((Code::ProtocolError, "a maximum of 0 is not allowed".to_owned()));
        }
        Ok(Self {
            window: asked.receive_maximum.unwrap_or(u16::MAX).min(limits::SEND_WINDOW),
            lasting: asked.session_expiry_interval.is_some_and(|seconds| seconds > 0),
        })
    }
}

/// The agent and the boot that a will names. Other clients' wills are whatever they like, and a board that does not know
/// its boot names none.
fn holder_of(will: Option<&LastWill>) -> Holder {
    let frame = will.and_then(|will| Frame::parse(&will.message).ok());
    let frame = frame.filter(|frame| frame.kind == Kind::Gone);
    let gone = frame.and_then(|frame| frame.message::<Gone>().ok());
    Holder {
        agent: gone.map(|gone| gone.agent),
        boot: gone.map(|gone| gone.boot).filter(|boot| *boot != BootId([0; 16])),
    }
}

fn connack(set_keep_alive: bool, lasting: bool) -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: lasting.then_some(0),
        receive_max: Some(limits::RECEIVE_WINDOW),
        max_qos: Some(1),
        max_packet_size: Some(limits::MAX_PACKET_BYTES),
        subscription_identifiers_available: Some(0),
        shared_subscription_available: Some(0),
        server_keep_alive: set_keep_alive.then_some(limits::DEFAULT_KEEP_ALIVE_S),
        user_properties: vec![(TELLS_TAKEOVERS.0.to_owned(), TELLS_TAKEOVERS.1.to_owned())],
        ..no_properties()
    }
}

/// A CONNACK that ends the connection.
pub(super) fn refusal(code: Code, why: &str) -> Packet {
    let properties = ConnAckProperties { reason_string: Some(why.to_owned()), ..no_properties() };
    Packet::ConnAck(ConnAck { session_present: false, code, properties: Some(properties) })
}

fn no_properties() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}
