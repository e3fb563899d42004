//! Overhears what a broker says when it does not let a client in, of which rumqttc passes on less: its CONNACK may have a
//! reason in words, and TLS says what is wrong with a certificate.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use bytes::BytesMut;
use rumqttc::{ConnAck, Error, Packet};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    Down,
    dial::{Stream, Unreached, tls_error},
};

/// A CONNACK that is longer is not looked at.
const MAX_BYTES: usize = 4096;
/// Of a reason that is shown.
const REASON_BYTES: usize = 256;

/// What the broker said, once it has.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<Said>);

#[derive(Debug, Default)]
struct Said {
    reason: OnceLock<String>,
    tls: OnceLock<rustls::Error>,
}

impl Heard {
    /// No connection was made.
    pub(super) fn unreached(&self, unreached: &Unreached) {
        self.tls(unreached.tls());
    }

    fn tls(&self, error: Option<&rustls::Error>) {
        if let Some(error) = error {
            // The first one is the cause of the others.
            let _ = self.0.tls.set(error.clone());
        }
    }

    /// Why there is no connection, with what the broker says of it.
    pub(super) fn explain(&self, why: Down) -> Down {
        match why {
            Down::Refused { code, .. } => {
                Down::Refused { code, reason: self.0.reason.get().cloned() }
            }
            Down::Lost(_) | Down::ClosedSilently => {
                self.0.tls.get().and_then(distrust).unwrap_or(why)
            }
            other => other,
        }
    }
}

/// One of both sides does not believe the other's certificate. Anything else that TLS complains of is an accident.
fn distrust(error: &rustls::Error) -> Option<Down> {
    use rustls::AlertDescription as Alert;
    match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
            Some(Down::Impostor { why: error.to_string() })
        }
        rustls::Error::AlertReceived(
            alert @ (Alert::AccessDenied
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRequired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::DecryptError
            | Alert::UnknownCA
            | Alert::UnsupportedCertificate),
        ) => Some(Down::CertificateRefused { why: format!("{alert:?}") }),
        _ => None,
    }
}

/// A stream whose first packet is looked at as it passes.
pub(super) struct Overheard {
    stream: Box<dyn Stream>,
    /// What has come of the first packet, until it is there.
    first: Option<BytesMut>,
    heard: Heard,
}

impl Overheard {
    pub(super) fn new(stream: Box<dyn Stream>, heard: Heard) -> Self {
        Self { stream, first: Some(BytesMut::new()), heard }
    }

    fn look(&mut self, bytes: &[u8]) {
        let Some(mut first) = self.first.take() else { return };
        let room = MAX_BYTES.saturating_sub(first.len());
        first.extend_from_slice(&bytes[..bytes.len().min(room)]);
        match Packet::read(&mut first, None) {
            Ok(Packet::ConnAck(ConnAck { properties: Some(properties), .. })) => {
                if let Some(mut reason) = properties.reason_string {
                    reason.truncate(reason.floor_char_boundary(REASON_BYTES));
                    // There is one CONNACK.
                    let _ = self.heard.0.reason.set(reason);
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
        match read {
            Poll::Ready(Ok(())) => self.look(&buffer.filled()[before..]),
            // Closed without a word, as a TCP connection is: MQTT knows by itself whether a packet is whole.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(ref error)) => self.heard.tls(tls_error(error)),
            Poll::Pending => {}
        }
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
