//! TLS over any stream, on rustls' state machine without buffers, so that an idle connection has none: what has come and
//! what has to leave lies in buffers of ours, and they are given back when they are empty. (rustls' own keep 4 KiB for
//! each connection, which is most of what an idle device costs.)
//!
//! It closes as TLS wants it: `shutdown` says `close_notify`, and a far end that goes without a word is an error, not an
//! end. Who may take how long is [`super::handshake`]'s and [`super::connection`]'s.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use rustls::{
    HandshakeKind, ServerConfig,
    pki_types::CertificateDer,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::limits::{HANDSHAKE_BYTES, READ_BYTES, TLS_OUT_BYTES};

/// Plain bytes that are encrypted at once: a record's most.
const RECORD_BYTES: usize = 16 * 1024;
/// What a record has besides its plain bytes, at the most.
const RECORD_OVERHEAD: usize = 64;

/// A TLS connection, at the server's end.
pub(crate) struct Tls<S> {
    stream: S,
    /// By itself, for it is large, and what owns it moves.
    connection: Box<UnbufferedServerConnection>,
    /// Encrypted bytes that have come and are no whole record yet.
    incoming: BytesMut,
    /// What has come, decrypted, and was not taken yet.
    plain: BytesMut,
    /// Encrypted bytes that have to leave.
    outgoing: BytesMut,
    /// The far end has said that it says no more.
    has_ended: bool,
    /// We have said so.
    is_closing: bool,
    /// Why it can't go on.
    failure: Option<rustls::Error>,
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The connection broke, or was closed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What the far end says is not TLS, or it shows a certificate that is not believed, or has no protocol in common.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// It goes on and on.
    #[error("the handshake is longer than {HANDSHAKE_BYTES} bytes")]
    TooLong,
}

/// What to do once rustls has gone through everything that has come.
#[derive(Clone, Copy)]
enum Then<'b> {
    Nothing,
    Encrypt(&'b [u8]),
    Close,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Tls<S> {
    /// The server's end of a connection that has not begun.
    pub(crate) fn new(stream: S, config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            stream,
            connection: Box::new(UnbufferedServerConnection::new(config)?),
            incoming: BytesMut::new(),
            plain: BytesMut::new(),
            outgoing: BytesMut::new(),
            has_ended: false,
            is_closing: false,
            failure: None,
        })
    }

    /// Shakes hands. After an error the far end may be told with [`Self::say_why`]. What still has to leave then, such as a
    /// ticket, leaves with the first read or write.
    pub(crate) async fn shake(&mut self) -> Result<(), HandshakeError> {
        let mut bytes = 0;
        loop {
            self.go_on(Then::Nothing)?;
            if !self.connection.is_handshaking() {
                return Ok(());
            }
            poll_fn(|context| self.poll_out(context)).await?;
            match poll_fn(|context| self.poll_in(context)).await? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                read => bytes += read,
            }
            if bytes > HANDSHAKE_BYTES {
                return Err(HandshakeError::TooLong);
            }
        }
    }

    /// Sends the alert of an error, and waits until the far end has heard it: a connection that is closed while bytes of
    /// the far end are unread is reset, and the alert is lost.
    pub(crate) async fn say_why(&mut self) {
        let said = async {
            poll_fn(|context| self.poll_out(context)).await?;
            poll_fn(|context| Pin::new(&mut self.stream).poll_shutdown(context)).await?;
            poll_fn(|context| poll_drain(&mut self.stream, context)).await
        };
        let _in_vain: io::Result<()> = said.await;
    }

    /// The certificate that the far end has shown, verified.
    pub(crate) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.connection.peer_certificates()?.first()
    }

    /// The protocol that was agreed on.
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// Whether the far end was here before, and was spared the certificates.
    pub(crate) fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Has rustls go through what has come. What it makes of it is in the buffers then. After an error it is asked no more.
    fn go_on(&mut self, then: Then<'_>) -> Result<(), rustls::Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let gone_on = self.process(then);
        self.failure = gone_on.as_ref().err().cloned();
        gone_on
    }

    fn process(&mut self, then: Then<'_>) -> Result<(), rustls::Error> {
        let Self { connection, incoming, plain, outgoing, has_ended, .. } = self;
        loop {
            let UnbufferedStatus { mut discard, state } = connection.process_tls_records(incoming);
            let mut is_done = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(outgoing, 0, |out| data.encode(out).map_err(of_encoding))?;
                }
                // It is ours now, and leaves with the next write.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => *has_ended = true,
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    match then {
                        Then::Nothing => {}
                        Then::Encrypt(bytes) => {
                            let room = bytes.len() + RECORD_OVERHEAD;
                            append(outgoing, room, |out| {
                                traffic.encrypt(bytes, out).map_err(of_encrypting)
                            })?;
                        }
                        Then::Close => append(outgoing, RECORD_OVERHEAD, |out| {
                            traffic.queue_close_notify(out).map_err(of_encrypting)
                        })?,
                    }
                    is_done = true;
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => is_done = true,
                // Nobody is offered to send early data.
                Ok(_) => return Err(rustls::Error::General("early data".to_owned())),
                Err(error) => {
                    queue_alert(connection, outgoing)?;
                    return Err(error);
                }
            }
            incoming.advance(discard.min(incoming.len()));
            if is_done {
                give_back(incoming);
                return Ok(());
            }
        }
    }

    /// Writes what has to leave.
    fn poll_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let stream = Pin::new(&mut self.stream);
            match ready!(stream.poll_write(context, &self.outgoing))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.outgoing.advance(written),
            }
        }
        give_back(&mut self.outgoing);
        Poll::Ready(Ok(()))
    }

    /// Reads encrypted bytes, by way of the thread's stack. How many; 0 at the end.
    fn poll_in(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        self.incoming.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tls<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.plain.is_empty() {
                let taken = self.plain.len().min(buffer.remaining());
                buffer.put_slice(&self.plain[..taken]);
                self.plain.advance(taken);
                give_back(&mut self.plain);
                return Poll::Ready(Ok(()));
            }
            if self.has_ended {
                return Poll::Ready(Ok(()));
            }
            let went_on = self.go_on(Then::Nothing);
            // A ticket, an answer of TLS itself, an alert. Nothing waits for it: a far end that takes nothing any more may
            // have said something before.
            let _in_vain = self.poll_out(context);
            went_on.map_err(invalid)?;
            if self.plain.is_empty() && !self.has_ended && ready!(self.poll_in(context))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tls<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let is_blocked = self.poll_out(context)?.is_pending();
        if is_blocked && self.outgoing.len() >= TLS_OUT_BYTES {
            return Poll::Pending;
        }
        let bytes = &bytes[..bytes.len().min(RECORD_BYTES)];
        self.go_on(Then::Encrypt(bytes)).map_err(invalid)?;
        if let Poll::Ready(Err(error)) = self.poll_out(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.is_closing, true) {
            self.go_on(Then::Close).map_err(invalid)?;
        }
        ready!(self.poll_out(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S> std::fmt::Debug for Tls<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Reads to the end, and keeps nothing.
pub(super) fn poll_drain<S: AsyncRead + Unpin>(
    stream: &mut S,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    loop {
        let mut room = [MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
        if read.filled().is_empty() {
            return Poll::Ready(Ok(()));
        }
    }
}

/// After an error: what the far end is told of it. Nothing else is asked of rustls then, for it would look again at what
/// has come.
fn queue_alert(
    connection: &mut UnbufferedServerConnection,
    outgoing: &mut BytesMut,
) -> Result<(), rustls::Error> {
    while connection.wants_write() {
        let UnbufferedStatus { state, .. } = connection.process_tls_records(&mut []);
        let Ok(ConnectionState::EncodeTlsData(mut data)) = state else { break };
        append(outgoing, 0, |out| data.encode(out).map_err(of_encoding))?;
    }
    Ok(())
}

/// Why something could not be put into a buffer.
enum NotWritten {
    /// So many bytes are needed.
    Room(usize),
    Never(rustls::Error),
}

fn of_encoding(error: EncodeError) -> NotWritten {
    match error {
        EncodeError::InsufficientSize(needed) => NotWritten::Room(needed.required_size),
        error => NotWritten::Never(rustls::Error::General(error.to_string())),
    }
}

fn of_encrypting(error: EncryptError) -> NotWritten {
    match error {
        EncryptError::InsufficientSize(needed) => NotWritten::Room(needed.required_size),
        error => NotWritten::Never(rustls::Error::General(error.to_string())),
    }
}

/// Appends what `write` writes, in the room that it is likely to need or else in what it asks for.
fn append(
    buffer: &mut BytesMut,
    room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, NotWritten>,
) -> Result<(), rustls::Error> {
    let before = buffer.len();
    let mut room = room;
    loop {
        buffer.resize(before + room, 0);
        match write(&mut buffer[before..]) {
            Ok(written) => {
                buffer.truncate(before + written);
                return Ok(());
            }
            Err(NotWritten::Room(needed)) if needed > room => room = needed,
            Err(why) => {
                buffer.truncate(before);
                return Err(match why {
                    NotWritten::Room(_) => rustls::Error::General("no room is enough".to_owned()),
                    NotWritten::Never(error) => error,
                });
            }
        }
    }
}

/// Gives the memory of an empty buffer back: most of the time a connection has nothing to say.
fn give_back(buffer: &mut BytesMut) {
    if buffer.is_empty() {
        *buffer = BytesMut::new();
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
