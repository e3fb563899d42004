//! Overhears what a broker says when it does not let a client in: its CONNACK may have a reason in words, of which rumqttc
//! passes on the code alone.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use bytes::BytesMut;
use rumqttc::{ConnAck, Error, Packet};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A CONNACK that is longer is not looked at.
const MAX_BYTES: usize = 4096;
/// Of a reason that is shown.
const REASON_BYTES: usize = 256;

/// What the broker said, once it has.
#[derive(Clone, Debug, Default)]
pub(super) struct Reason(Arc<OnceLock<String>>);

impl Reason {
    /// In the broker's words.
    pub(super) fn get(&self) -> Option<String> {
        self.0.get().cloned()
    }
}

/// A stream whose first packet is looked at as it passes.
pub(super) struct Overheard {
    stream: TcpStream,
    /// What has come of the first packet, until it is there.
    first: Option<BytesMut>,
    reason: Reason,
}

impl Overheard {
    pub(super) fn new(stream: TcpStream, reason: Reason) -> Self {
        Self { stream, first: Some(BytesMut::new()), reason }
    }

    fn heard(&mut self, bytes: &[u8]) {
        let Some(mut first) = self.first.take() else { return };
        let room = MAX_BYTES.saturating_sub(first.len());
        first.extend_from_slice(&bytes[..bytes.len().min(room)]);
        match Packet::read(&mut first, None) {
            Ok(Packet::ConnAck(ConnAck { properties: Some(properties), .. })) => {
                if let Some(mut reason) = properties.reason_string {
                    reason.truncate(reason.floor_char_boundary(REASON_BYTES));
                    // There is one CONNACK.
                    let _ = self.reason.0.set(reason);
                }
            }
            Err(Error::InsufficientBytes(_)) if first.len() < MAX_BYTES => self.first = Some(first),
            // Whatever it is, rumqttc says so.
            _ => {}
        }
    }
}

impl AsyncRead for Overheard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.heard(&buffer.filled()[before..]);
        read
    }
}

impl AsyncWrite for Overheard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
