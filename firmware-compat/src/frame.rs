//! The header in front of every message, the numbers of the kinds, and encoding and decoding of whole frames.
//!
//! A frame is `version: u8 | kind: u8 | session: u32 | sequence: u32 | body`, integers little-endian, body in
//! postcard. The session is drawn anew by a device for each connection; the sequence rises within it. The hub drops a
//! frame whose session it knows and whose sequence it has seen.
//!
//! After the body of some kinds ([`Kind::is_signed`]) follows the hub's signature. What it is over, and who may be
//! believed, is in [`crate::signed`]; here it is only told apart from the body. What encodes such a frame leaves the
//! place of the signature zero, which no device believes.

use serde::{Serialize, de::DeserializeOwned};

use crate::{capacity::SIGNED_BYTES, topic::Direction};

/// The protocol version that this crate writes.
pub const VERSION: u8 = 1;
/// Bytes of header in front of the body.
pub const HEADER_BYTES: usize = 10;
/// Bytes of a signature, after the body.
pub const SIGNATURE_BYTES: usize = 64;
/// Largest frame either side accepts. One full chunk of 16 KiB plus its fields fits, an MQTT packet of 64 KiB holds
/// it, and a board needs no larger buffer.
pub const MAX_FRAME_BYTES: usize = 32 * 1024;

/// What a frame holds. Numbers are the wire's: they are never reused or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Device to hub, on every connection: who it is and what it can do.
    Hello = 1,
    /// Device to hub: what its Pods do, in full or as a delta.
    Status = 2,
    /// Device to hub: something happened that a person may want to know.
    Event = 3,
    /// Device to hub: part of the answer to a command.
    Reply = 4,
    /// Device to hub: send me an assignment's body, or parts of it.
    Want = 5,
    /// Device to hub, as the will message: the connection broke.
    Gone = 6,
    /// Hub to device, retained: the newest assignment's generation and hash.
    Head = 16,
    /// Hub to device: a chunk of an assignment's body, or of a part of it.
    Part = 17,
    /// Hub to device: do something once and answer.
    Command = 18,
    /// Hub to device: the hub's clock.
    Time = 19,
    /// Hub to device: say hello and report in full.
    Report = 20,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const EVERY: [Self; 11] = [
        Self::Hello,
        Self::Status,
        Self::Event,
        Self::Reply,
        Self::Want,
        Self::Gone,
        Self::Head,
        Self::Part,
        Self::Command,
        Self::Time,
        Self::Report,
    ];

    /// Which way frames of this kind travel.
    #[must_use]
    pub fn direction(self) -> Direction {
        if (self as u8) < Self::Head as u8 { Direction::Up } else { Direction::Down }
    }

    /// Whether the hub signs frames of this kind. Parts need no signature: a signed head names them by their hashes.
    #[must_use]
    pub const fn is_signed(self) -> bool {
        match self {
            Self::Head | Self::Command | Self::Time | Self::Report => true,
            Self::Hello
            | Self::Status
            | Self::Event
            | Self::Reply
            | Self::Want
            | Self::Gone
            | Self::Part => false,
        }
    }

    /// The last level of the topic that carries this kind.
    #[must_use]
    pub fn topic_level(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Status => "status",
            Self::Event => "event",
            Self::Reply => "reply",
            Self::Want => "want",
            Self::Gone => "gone",
            Self::Head => "head",
            Self::Part => "part",
            Self::Command => "command",
            Self::Time => "time",
            Self::Report => "report",
        }
    }

    /// The kind that a topic's last level names.
    #[must_use]
    pub fn from_topic_level(level: &str) -> Option<Self> {
        Self::EVERY.into_iter().find(|kind| kind.topic_level() == level)
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::EVERY.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// A message type and the kind of frame that carries it.
pub trait Message: Serialize + DeserializeOwned {
    /// The kind of frame that carries this message.
    const KIND: Kind;
}

/// Where a frame stands in its sender's stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Drawn anew by a device for each connection, never 0. In a command of the hub: the one that it is for; 0 in the
    /// hub's other frames.
    pub session: u32,
    /// Rises by one with each frame of a session. The hub counts all of its frames.
    pub sequence: u32,
}

/// A signature as it was found, and what it is over: nobody has checked it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal<'a> {
    /// The frame up to its signature.
    pub signed: &'a [u8],
    /// The bytes behind that.
    pub signature: &'a [u8; SIGNATURE_BYTES],
}

/// A frame's header, read, and its body, not yet decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the body holds.
    pub kind: Kind,
    /// Where it stands in its sender's stream.
    pub stamp: Stamp,
    /// The message, in postcard.
    pub body: &'a [u8],
    /// Of kinds that the hub signs.
    pub seal: Option<Seal<'a>>,
}

/// Why bytes are not a frame of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Shorter than a header.
    Truncated,
    /// Longer than [`MAX_FRAME_BYTES`], or than [`SIGNED_BYTES`] and a signature where the hub signs.
    Oversized,
    /// Of a kind that the hub signs, and too short for a signature.
    Unsigned,
    /// A protocol version that this build does not speak.
    Version(u8),
    /// A kind that this version does not have.
    Kind(u8),
    /// The frame's kind is not the one that its topic, or the caller, expects.
    Unexpected(Kind),
    /// The body does not decode: cut short, over a capacity, an unknown variant, or text that is not UTF-8.
    Body,
    /// The body decodes and bytes are left over.
    Trailing,
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Truncated => f.write_str("frame is shorter than its header"),
            Self::Oversized => f.write_str("frame is longer than its kind may be"),
            Self::Unsigned => f.write_str("frame has no signature"),
            Self::Version(v) => {
                write!(f, "frame has protocol version {v}, this build speaks {VERSION}")
            }
            Self::Kind(k) => write!(f, "frame has unknown kind {k}"),
            Self::Unexpected(k) => {
                write!(f, "frame of kind {} is not expected here", k.topic_level())
            }
            Self::Body => f.write_str("frame body does not decode"),
            Self::Trailing => f.write_str("frame has bytes after its body"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Why a message could not be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError;

impl core::fmt::Display for EncodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "message does not fit its buffer or a frame of {MAX_FRAME_BYTES} bytes")
    }
}

impl core::error::Error for EncodeError {}

impl<'a> Frame<'a> {
    /// Reads a frame's header.
    ///
    /// # Errors
    /// See [`DecodeError`]; never panics, whatever the bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_FRAME_BYTES {
            return Err(DecodeError::Oversized);
        }
        let (header, body) =
            bytes.split_first_chunk::<HEADER_BYTES>().ok_or(DecodeError::Truncated)?;
        let [version, kind, s0, s1, s2, s3, q0, q1, q2, q3] = *header;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let kind = Kind::from_number(kind).ok_or(DecodeError::Kind(kind))?;
        let (body, seal) = if kind.is_signed() { sealed(bytes)? } else { (body, None) };
        let stamp = Stamp {
            session: u32::from_le_bytes([s0, s1, s2, s3]),
            sequence: u32::from_le_bytes([q0, q1, q2, q3]),
        };
        Ok(Self { kind, stamp, body, seal })
    }

    /// Decodes the body as the message `M`, whoever wrote it: what a device acts on goes through [`crate::guard`].
    ///
    /// # Errors
    /// See [`DecodeError`]; never panics, and allocates no more than the body's own length calls for.
    pub fn message<M: Message>(&self) -> Result<M, DecodeError> {
        if self.kind != M::KIND {
            return Err(DecodeError::Unexpected(self.kind));
        }
        decode_body(self.body)
    }
}

/// The body of a frame that the hub signs, and its signature.
fn sealed(bytes: &[u8]) -> Result<(&[u8], Option<Seal<'_>>), DecodeError> {
    let (signed, signature) = bytes.split_last_chunk().ok_or(DecodeError::Unsigned)?;
    let body = signed.get(HEADER_BYTES..).ok_or(DecodeError::Unsigned)?;
    if signed.len() > SIGNED_BYTES {
        return Err(DecodeError::Oversized);
    }
    Ok((body, Some(Seal { signed, signature })))
}

/// Decodes postcard bytes that must be used up by one value.
///
/// # Errors
/// [`DecodeError::Body`] or [`DecodeError::Trailing`].
pub fn decode_body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(DecodeError::Trailing),
        Err(_) => Err(DecodeError::Body),
    }
}

/// Reads a whole frame that must hold the message `M`.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode<M: Message>(bytes: &[u8]) -> Result<(Stamp, M), DecodeError> {
    let frame = Frame::parse(bytes)?;
    Ok((frame.stamp, frame.message()?))
}

/// Writes a whole frame into `buffer` and returns the part that it fills. A place for the signature is zero: see
/// [`crate::signed::sign`].
///
/// # Errors
/// [`EncodeError`] if the buffer or a frame is too small for it.
pub fn encode_into<'b, M: Message>(
    message: &M,
    stamp: Stamp,
    buffer: &'b mut [u8],
) -> Result<&'b mut [u8], EncodeError> {
    let room = buffer.len().min(MAX_FRAME_BYTES);
    let buffer = buffer.get_mut(..room).ok_or(EncodeError)?;
    let (header, body) = buffer.split_at_mut_checked(HEADER_BYTES).ok_or(EncodeError)?;
    header.copy_from_slice(&header_bytes(M::KIND, stamp));
    let used = HEADER_BYTES + postcard::to_slice(message, body).map_err(|_| EncodeError)?.len();
    let length = whole_length(M::KIND, used).ok_or(EncodeError)?;
    let frame = buffer.get_mut(..length).ok_or(EncodeError)?;
    frame.iter_mut().skip(used).for_each(|byte| *byte = 0);
    Ok(frame)
}

/// Writes a whole frame. A place for the signature is zero: see [`crate::signed::sign`].
///
/// # Errors
/// [`EncodeError`] if it would be longer than a frame of its kind may be.
#[cfg(feature = "alloc")]
pub fn encode<M: Message>(message: &M, stamp: Stamp) -> Result<alloc::vec::Vec<u8>, EncodeError> {
    let header = header_bytes(M::KIND, stamp).to_vec();
    let mut frame = postcard::to_extend(message, header).map_err(|_| EncodeError)?;
    let length = whole_length(M::KIND, frame.len()).ok_or(EncodeError)?;
    frame.resize(length, 0);
    Ok(frame)
}

/// Bytes of a frame with its signature. `used`: without.
fn whole_length(kind: Kind, used: usize) -> Option<usize> {
    let (most, signature) =
        if kind.is_signed() { (SIGNED_BYTES, SIGNATURE_BYTES) } else { (MAX_FRAME_BYTES, 0) };
    (used <= most).then_some(used + signature)
}

fn header_bytes(kind: Kind, stamp: Stamp) -> [u8; HEADER_BYTES] {
    let [s0, s1, s2, s3] = stamp.session.to_le_bytes();
    let [q0, q1, q2, q3] = stamp.sequence.to_le_bytes();
    [VERSION, kind as u8, s0, s1, s2, s3, q0, q1, q2, q3]
}
