//! A blocking conversation with a shim.
//!
//! An agent with an event loop takes the stream from [`connect`], hands it to its runtime, and uses
//! [`crate::protocol`] for the bytes.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::protocol::{Decoder, FrameError, Refusal, Reply, Request, encode};
use crate::run_dir::{RecordError, RunDir};
use crate::state::State;

/// How long one answer may take. The shim answers at once; a stopped or starved one must not hang the agent.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// Why a conversation failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The run directory cannot be used.
    #[error(transparent)]
    RunDir(#[from] RecordError),
    /// Nobody answers: the shim is gone, or not there yet.
    #[error("could not reach the shim in {path}")]
    Connect {
        /// The run directory.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The connection broke or the deadline passed.
    #[error("the conversation with the shim broke off")]
    Broken(#[source] io::Error),
    /// The shim sent something unreadable.
    #[error("the shim's answer cannot be used")]
    Frame(#[from] FrameError),
    /// The shim understood and declined.
    #[error("the request was refused")]
    Refused(#[source] Refusal),
}

/// Connects to the shim of a run directory; the stream is in blocking mode and has no deadlines.
pub fn connect(run_dir: &Path) -> Result<UnixStream, ClientError> {
    connect_in(&RunDir::open(run_dir)?)
}

pub(crate) fn connect_in(run: &RunDir) -> Result<UnixStream, ClientError> {
    UnixStream::connect(run.socket_path())
        .map_err(|source| ClientError::Connect { path: run.path().display().to_string(), source })
}

/// A blocking client.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    decoder: Decoder,
}

impl Client {
    /// Connects to the shim of a run directory.
    pub fn open(run_dir: &Path) -> Result<Self, ClientError> {
        Self::over(connect(run_dir)?)
    }

    pub(crate) fn over(stream: UnixStream) -> Result<Self, ClientError> {
        Self::with_patience(stream, ANSWER_DEADLINE)
    }

    pub(crate) fn with_patience(
        stream: UnixStream,
        patience: Duration,
    ) -> Result<Self, ClientError> {
        // None at all would mean for ever.
        let deadline = Some(patience.clamp(Duration::from_millis(1), ANSWER_DEADLINE));
        stream.set_read_timeout(deadline).map_err(ClientError::Broken)?;
        stream.set_write_timeout(deadline).map_err(ClientError::Broken)?;
        Ok(Self { stream, decoder: Decoder::default() })
    }

    /// Sends a request and returns the state that the shim answers with.
    /// What a followed shim pushed before the answer is skipped: the state contains it.
    pub fn request(&mut self, request: &Request) -> Result<State, ClientError> {
        self.stream.write_all(&encode(request)?).map_err(ClientError::Broken)?;
        loop {
            match self.next_reply()? {
                Reply::State(state) => return Ok(state),
                Reply::Refused(refusal) => return Err(ClientError::Refused(refusal)),
                Reply::Started(_) | Reply::Exited(_) => {}
            }
        }
    }

    /// Waits up to `deadline` for what a followed shim pushes next.
    pub fn wait_for_push(&mut self, deadline: Duration) -> Result<Reply, ClientError> {
        let deadline = deadline.max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(deadline)).map_err(ClientError::Broken)?;
        let reply = self.next_reply();
        self.stream.set_read_timeout(Some(ANSWER_DEADLINE)).map_err(ClientError::Broken)?;
        reply
    }

    fn next_reply(&mut self) -> Result<Reply, ClientError> {
        loop {
            if let Some(reply) = self.decoder.next_reply()? {
                return Ok(reply);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(ClientError::Broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(length) => self.decoder.push(&bytes[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ClientError::Broken(error)),
            }
        }
    }
}

/// Sends one request over a connection of its own.
pub fn request(run_dir: &Path, request: &Request) -> Result<State, ClientError> {
    Client::open(run_dir)?.request(request)
}
