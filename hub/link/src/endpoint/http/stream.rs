//! What a handler reads from and writes to: a connection that fails when nothing moves on it for too long, so that it
//! ends whatever its handler waits for.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use crate::endpoint::{limits::HTTP_STALL, tls::Tls};

/// One HTTP connection, decrypted.
#[derive(Debug)]
pub struct HttpStream {
    stream: Tls<TcpStream>,
    moved: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl HttpStream {
    pub(crate) fn new(stream: Tls<TcpStream>) -> Self {
        Self { stream, moved: Instant::now(), alarm: Box::pin(sleep(HTTP_STALL)) }
    }

    fn progress(&mut self) {
        self.moved = Instant::now();
    }

    /// Passes on what became of a read or a write; if nothing has moved for too long, that it failed.
    fn watched<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            return outcome;
        }
        while self.alarm.as_mut().poll(context).is_ready() {
            let deadline = self.moved + HTTP_STALL;
            if deadline <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.alarm.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl AsyncRead for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.progress();
        }
        self.watched(read, context)
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            self.progress();
        }
        self.watched(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watched(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watched(shut, context)
    }
}
