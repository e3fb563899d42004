//! The socket: connections, their bounds, and who may speak. What requests mean is decided in `shell.rs`.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::{fs, io};

use rustix::event::{PollFlags, Timespec, poll};
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

use crate::protocol::{Decoder, MAX_FRAME, Refusal, Reply, Request, decode_request, encode};
use crate::run_dir::{RunDir, SOCKET};

/// Agents open one connection to follow and one now and then to ask; a human's tool makes three.
pub(crate) const MAX_CONNECTIONS: usize = 8;

/// A client that does not read this much of what it asked for is dropped.
const MAX_UNSENT: usize = 2 * MAX_FRAME;

/// How long leaving followers may take to read the exit.
const FAREWELL_MS: i64 = 1000;

/// The listening socket and its connections.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) listener: UnixListener,
    pub(crate) connections: Vec<Connection>,
}

impl Server {
    /// Binds the socket of a run directory; a stale one is replaced, which the directory's lock makes safe.
    pub(crate) fn bind(run: &RunDir) -> io::Result<Self> {
        match fs::remove_file(run.file(SOCKET)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(run.socket_path())?;
        fs::set_permissions(run.file(SOCKET), fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, connections: Vec::new() })
    }

    /// Takes in whoever waits.
    pub(crate) fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let refusal = if !is_permitted(&stream) {
                Refusal::NotPermitted
            } else if self.connections.len() >= MAX_CONNECTIONS {
                Refusal::Busy
            } else if stream.set_nonblocking(true).is_ok() {
                self.connections.push(Connection::new(stream));
                continue;
            } else {
                continue;
            };
            // A fresh socket has room for a few bytes, so this does not block; if it fails, closing says it.
            let _ = stream.set_nonblocking(true);
            if let Ok(frame) = encode(&Reply::Refused(refusal)) {
                let _ = (&stream).write(&frame);
            }
        }
    }

    /// Queues a message for every follower.
    pub(crate) fn push(&mut self, reply: &Reply) {
        for connection in self.connections.iter_mut().filter(|connection| connection.follows) {
            connection.send(reply);
        }
    }

    /// Forgets connections that are closed or broken.
    pub(crate) fn sweep(&mut self) {
        self.connections.retain(|connection| connection.open);
    }

    /// Sends what is queued, for a bounded time, before the shim leaves.
    pub(crate) fn say_farewell(&mut self) {
        let timeout = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        for _ in 0..FAREWELL_MS / 50 {
            for connection in &mut self.connections {
                connection.flush();
            }
            self.connections.retain(|connection| connection.open && connection.wants_to_write());
            let Some(connection) = self.connections.first() else { return };
            let mut fds = [rustix::event::PollFd::from_borrowed_fd(
                connection.stream.as_fd(),
                PollFlags::OUT,
            )];
            let _ = poll(&mut fds, Some(&timeout));
        }
    }
}

/// Root, and the user that the shim runs as.
fn is_permitted(stream: &UnixStream) -> bool {
    socket_peercred(stream).is_ok_and(|peer| peer.uid.is_root() || peer.uid == geteuid())
}

/// One client.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
    decoder: Decoder,
    unsent: Vec<u8>,
    pub(crate) follows: bool,
    pub(crate) open: bool,
}

impl Connection {
    fn new(stream: UnixStream) -> Self {
        Self { stream, decoder: Decoder::default(), unsent: Vec::new(), follows: false, open: true }
    }

    pub(crate) fn wants_to_write(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Reads once and hands every whole request to `answer`, which says what to send back.
    pub(crate) fn read(&mut self, mut answer: impl FnMut(Result<Request, Refusal>) -> Reply) {
        let mut bytes = [0; 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.open = false,
            Ok(length) => self.decoder.push(&bytes[..length]),
            Err(error) if is_transient(&error) => return,
            Err(_) => self.open = false,
        }
        while self.open {
            let request = match self.decoder.next_body() {
                Ok(Some(body)) => decode_request(body),
                Ok(None) => return,
                Err(_) => {
                    self.open = false;
                    return;
                }
            };
            self.follows |= request == Ok(Request::Follow);
            let reply = answer(request);
            self.send(&reply);
        }
    }

    fn send(&mut self, reply: &Reply) {
        match encode(reply) {
            Ok(frame) if self.unsent.len() + frame.len() <= MAX_UNSENT => {
                self.unsent.extend(frame);
                self.flush();
            }
            _ => self.open = false,
        }
    }

    pub(crate) fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => {
                    self.unsent.drain(..sent);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.open = false;
                    return;
                }
            }
        }
        self.unsent = Vec::new();
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}
