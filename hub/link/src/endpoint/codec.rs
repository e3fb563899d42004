//! Packets out of bytes, with rumqttc's codec. What a stranger sends is framed here first: whatever the codec says about
//! a packet that is there in full is about that packet, and never a wish for more bytes.
//!
//! What the codec does not check, and the session does or nobody needs: a property that is there twice, or that reaches
//! beyond the properties' length into what follows, is read all the same.

use bytes::BytesMut;
use rumqttc::{DisconnectReasonCode, Error, Packet, mqttbytes::check};

use super::limits::{MAX_CONNECT_BYTES, MAX_PACKET_BYTES};

/// The first byte of a CONNECT; its flags are fixed.
const CONNECT: u8 = 0x10;

/// Why bytes are no packet that is taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Bad {
    /// The first bytes are of another protocol.
    #[error("this is not MQTT")]
    NotMqtt,
    /// A CONNECT of another version.
    #[error("MQTT of protocol version {0}; only 5 is spoken here")]
    Version(u8),
    /// Over the limit.
    #[error("the packet is larger than the maximum packet size")]
    TooLarge,
    /// A topic alias of 0.
    #[error("a topic alias is not valid")]
    TopicAlias,
    /// Anything else.
    #[error("the packet is malformed: {0}")]
    Malformed(Error),
}

impl Bad {
    /// What a DISCONNECT says of it.
    pub(crate) fn reason(&self) -> DisconnectReasonCode {
        match self {
            Self::TooLarge => DisconnectReasonCode::PacketTooLarge,
            Self::TopicAlias => DisconnectReasonCode::TopicAliasInvalid,
            Self::Malformed(Error::ProtocolError | Error::EmptySubscription) => {
                DisconnectReasonCode::ProtocolError
            }
            Self::NotMqtt | Self::Version(_) | Self::Malformed(_) => {
                DisconnectReasonCode::MalformedPacket
            }
        }
    }
}

impl From<Error> for Bad {
    fn from(error: Error) -> Self {
        match error {
            Error::PayloadSizeLimitExceeded { .. } => Self::TooLarge,
            Error::InvalidProtocol => Self::NotMqtt,
            Error::InvalidProtocolLevel(version) => Self::Version(version),
            Error::ProtocolViolation(DisconnectReasonCode::TopicAliasInvalid) => Self::TopicAlias,
            error => Self::Malformed(error),
        }
    }
}

/// Takes the first packet of a connection, which must be a CONNECT. `None` as long as more must come.
pub(crate) fn connect(bytes: &mut BytesMut) -> Result<Option<Packet>, Bad> {
    match bytes.first() {
        Some(&CONNECT) => take(bytes, MAX_CONNECT_BYTES),
        Some(_) => Err(Bad::NotMqtt),
        None => Ok(None),
    }
}

/// Takes the next packet. `None` as long as more must come.
pub(crate) fn packet(bytes: &mut BytesMut) -> Result<Option<Packet>, Bad> {
    take(bytes, MAX_PACKET_BYTES)
}

fn take(bytes: &mut BytesMut, limit: u32) -> Result<Option<Packet>, Bad> {
    match check(bytes.iter(), Some(limit)) {
        Ok(_) => Ok(Some(Packet::read(bytes, Some(limit))?)),
        Err(Error::InsufficientBytes(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
