//! The conversation on `shim.sock`: requests, replies, and frames around them, without any IO.
//!
//! A frame is a little-endian `u32` length, then that many bytes: one version byte and a postcard message.
//! Every request gets exactly one reply, in order. A connection that has asked to follow also gets
//! [`Reply::Started`] and [`Reply::Exited`] when they happen. A request that the shim does not know (a newer
//! agent, an older shim) is refused by name and the connection stays usable.
//!
//! Blocking use is in [`crate::client`]; an agent with its own event loop feeds a [`Decoder`].

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::state::{Exit, Started, State};

/// Version of every message and file of this crate.
pub const VERSION: u8 = 1;

/// Longest frame body: an exit message and its surroundings fit many times over.
pub const MAX_FRAME: usize = 64 * 1024;

const HEADER: usize = 4;

/// What a client asks. Variants are appended, never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Answer with the state.
    Status,
    /// Send `signal` to the container's first process, and kill everything that is left after `grace_ms`.
    Stop {
        /// Signal number, 1 to 31; 15 is the usual one.
        signal: i32,
        /// How long the container may take, in milliseconds.
        grace_ms: u64,
    },
    /// Kill the container at once.
    Kill,
    /// Answer with the state, then push what happens.
    Follow,
}

/// Number of variants of [`Request`]; a greater number on the wire is a newer request.
const REQUESTS: u32 = 4;

/// What the shim answers or pushes. Variants are appended, never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The state after the request was taken in.
    State(State),
    /// Pushed: the container runs.
    Started(Started),
    /// Pushed: the run has ended, and its exit record is on disk.
    Exited(Exit),
    /// The request was not carried out.
    Refused(Refusal),
}

/// Why a request was not carried out. Variants are appended, never reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The shim is older than the request.
    #[error("the shim does not know request number {0}: it is older than the agent")]
    Unsupported(u32),
    /// The request could not be read.
    #[error("the shim could not read the request")]
    Malformed,
    /// The message has another version.
    #[error("the shim speaks version {0} of the protocol")]
    Version(u8),
    /// All connections are taken.
    #[error("the shim serves as many connections as it can: close one")]
    Busy,
    /// Neither root nor the shim's own user.
    #[error("only root and the user of the shim may speak to it")]
    NotPermitted,
    /// Not a signal that can be sent.
    #[error("{0} is not a signal: use a number from 1 to 31")]
    Signal(i32),
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Nothing that follows can be trusted; close the connection.
    #[error("frame of {0} bytes: at most {MAX_FRAME} are allowed")]
    TooLong(usize),
    /// A message of another version.
    #[error("message of version {0}, expected {VERSION}")]
    Version(u8),
    /// The body is not a message.
    #[error("the message could not be decoded")]
    Malformed,
}

/// One whole frame around a message.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0, 0, 0, 0, VERSION];
    frame = postcard::to_extend(message, frame).map_err(|_| FrameError::Malformed)?;
    let body = frame.len() - HEADER;
    if body > MAX_FRAME {
        return Err(FrameError::TooLong(body));
    }
    let length = u32::try_from(body).map_err(|_| FrameError::TooLong(body))?;
    frame[..HEADER].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// The body of a request.
pub fn decode_request(body: &[u8]) -> Result<Request, Refusal> {
    let message = match body.split_first() {
        Some((&VERSION, message)) => message,
        Some(_) => return Err(Refusal::Version(VERSION)),
        None => return Err(Refusal::Malformed),
    };
    match postcard::take_from_bytes::<u32>(message) {
        Ok((number, _)) if number >= REQUESTS => return Err(Refusal::Unsupported(number)),
        _ => {}
    }
    exactly(message).ok_or(Refusal::Malformed)
}

/// The body of a reply.
pub fn decode_reply(body: &[u8]) -> Result<Reply, FrameError> {
    match body.split_first() {
        Some((&VERSION, message)) => exactly(message).ok_or(FrameError::Malformed),
        Some((&other, _)) => Err(FrameError::Version(other)),
        None => Err(FrameError::Malformed),
    }
}

/// Decodes a message that fills all of `bytes`.
pub(crate) fn exactly<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Some(message),
        _ => None,
    }
}

/// Collects received bytes and gives out whole frame bodies. Holds at most one frame and one read.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    taken: usize,
}

impl Decoder {
    /// Adds received bytes. Take all bodies out before the next call, or the buffer grows.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole body, if there is one. After an error the connection is of no more use.
    pub fn next_body(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let rest = &self.bytes[self.taken..];
        let Some((header, rest)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*header)).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(FrameError::TooLong(length));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        self.taken += HEADER + length;
        Ok(Some(body))
    }

    /// The next whole reply, if there is one.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, FrameError> {
        self.next_body()?.map(decode_reply).transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::{BootId, Outcome, Phase};

    fn exit() -> Exit {
        Exit {
            outcome: Outcome::Signal(9),
            oom_killed: true,
            started_at_ms: Some(1),
            finished_at_ms: 300,
            boot_id: BootId([7; 16]),
            message: "no".into(),
        }
    }

    fn body(frame: &[u8]) -> &[u8] {
        &frame[HEADER..]
    }

    #[test]
    fn every_request_keeps_its_bytes() {
        let golden: [(Request, &[u8]); 4] = [
            (Request::Status, &[2, 0, 0, 0, 1, 0]),
            (Request::Stop { signal: 15, grace_ms: 300 }, &[5, 0, 0, 0, 1, 1, 30, 0xac, 2]),
            (Request::Kill, &[2, 0, 0, 0, 1, 2]),
            (Request::Follow, &[2, 0, 0, 0, 1, 3]),
        ];
        assert_eq!(golden.len(), REQUESTS as usize);
        for (request, bytes) in golden {
            assert_eq!(encode(&request).as_deref(), Ok(bytes), "{request:?}");
            assert_eq!(decode_request(body(bytes)), Ok(request));
        }
    }

    #[test]
    fn every_reply_keeps_its_bytes() {
        let started = Started { pid: 5, at_ms: 6 };
        let state = |phase| State {
            phase,
            boot_id: BootId([7; 16]),
            shim_pid: 3,
            dropped_log_lines: 1,
            log_bytes: 2,
        };
        let boot = [7; 16];
        let tail = [&boot[..], &[6, 1, 2]].concat();
        let ended = [&[1, 18, 1, 1, 1, 0xac, 2][..], &boot, &[2, b'n', b'o']].concat();
        let cases = [
            (Reply::State(state(Phase::Starting)), [&[1, 0, 0][..], &tail].concat()),
            (Reply::State(state(Phase::Running(started))), [&[1, 0, 1, 10, 6][..], &tail].concat()),
            (
                Reply::State(state(Phase::Stopping(started))),
                [&[1, 0, 2, 10, 6][..], &tail].concat(),
            ),
            (
                Reply::State(state(Phase::Exited(exit()))),
                [&[1, 0, 3][..], &ended[..], &tail].concat(),
            ),
            (Reply::Started(started), vec![1, 1, 10, 6]),
            (Reply::Exited(exit()), [&[1, 2][..], &ended[..]].concat()),
            (Reply::Refused(Refusal::Unsupported(9)), vec![1, 3, 0, 9]),
            (Reply::Refused(Refusal::Malformed), vec![1, 3, 1]),
            (Reply::Refused(Refusal::Version(1)), vec![1, 3, 2, 1]),
            (Reply::Refused(Refusal::Busy), vec![1, 3, 3]),
            (Reply::Refused(Refusal::NotPermitted), vec![1, 3, 4]),
            (Reply::Refused(Refusal::Signal(99)), vec![1, 3, 5, 0xc6, 1]),
        ];
        for (reply, bytes) in cases {
            let frame = encode(&reply).expect("a small reply");
            assert_eq!(body(&frame), bytes, "{reply:?}");
            assert_eq!(decode_reply(&bytes), Ok(reply));
        }
    }

    #[test]
    fn outcomes_keep_their_numbers() {
        let all = [
            Outcome::Code(0),
            Outcome::Signal(0),
            Outcome::StartError,
            Outcome::NeverStarted,
            Outcome::Lost,
        ];
        for (number, outcome) in all.iter().enumerate() {
            let bytes = postcard::to_allocvec(outcome).expect("an outcome");
            assert_eq!(usize::from(bytes[0]), number);
        }
    }

    #[test]
    fn a_newer_request_is_unsupported_and_not_malformed() {
        assert_eq!(decode_request(&[VERSION, 4, 1, 2, 3]), Err(Refusal::Unsupported(4)));
        assert_eq!(decode_request(&[VERSION, 1]), Err(Refusal::Malformed));
        assert_eq!(decode_request(&[VERSION, 0, 0]), Err(Refusal::Malformed));
        assert_eq!(decode_request(&[9, 0]), Err(Refusal::Version(VERSION)));
        assert_eq!(decode_request(&[]), Err(Refusal::Malformed));
    }

    #[test]
    fn frames_are_found_however_the_bytes_arrive() {
        let stream = [
            encode(&Reply::Exited(exit())).expect("a reply"),
            encode(&Reply::Refused(Refusal::Busy)).expect("a reply"),
        ]
        .concat();
        for size in 1..stream.len() {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for chunk in stream.chunks(size) {
                decoder.push(chunk);
                while let Some(reply) = decoder.next_reply().expect("sound frames") {
                    seen.push(reply);
                }
            }
            assert_eq!(seen, [Reply::Exited(exit()), Reply::Refused(Refusal::Busy)]);
        }
    }

    #[test]
    fn a_length_above_the_bound_is_refused_before_its_bytes_arrive() {
        let mut decoder = Decoder::default();
        decoder.push(&u32::MAX.to_le_bytes());
        assert_eq!(decoder.next_body(), Err(FrameError::TooLong(u32::MAX as usize)));
    }

    proptest! {
        #[test]
        fn garbage_is_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_request(&bytes);
            let _ = decode_reply(&bytes);
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_body() {}
        }

        #[test]
        fn stops_survive_the_round_trip(signal: i32, grace_ms: u64) {
            let request = Request::Stop { signal, grace_ms };
            let frame = encode(&request).expect("a small request");
            prop_assert_eq!(decode_request(body(&frame)), Ok(request));
        }
    }
}
