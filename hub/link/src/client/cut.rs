//! Cuts messages that are longer than any frame, before rumqttc sees them: it gives up the connection on one, and a retained
//! one would be there again with the next. What is left is still too long for a frame, so whoever reads it refuses it, and is
//! acknowledged like any other message.
//!
//! MQTT 5 has a broker discard what is larger than the client's maximum packet size (3.1.2.11.4), and Mosquitto does. Others
//! need not, and a hostile one does as it likes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read at a time.
const READ_BYTES: usize = 4096;
/// The first byte of a PUBLISH, without its flags.
const PUBLISH: u8 = 0x30;
/// Type and flags, and a length in up to four bytes.
const MAX_HEADER: usize = 5;

/// A stream on which no PUBLISH is longer than a limit.
pub(super) struct Cut<S> {
    stream: S,
    /// What may follow the header of a packet.
    limit: usize,
    at: At,
    /// Was read, and not handed on yet.
    ready: BytesMut,
}

/// Where the stream stands.
enum At {
    /// In a packet's header, of which this is known.
    Header { bytes: [u8; MAX_HEADER], have: usize },
    /// Before so many bytes that pass, and so many that do not.
    Body { pass: usize, skip: usize },
    /// Behind something that is no MQTT: rumqttc says so.
    Lost,
}

const BEGIN: At = At::Header { bytes: [0; MAX_HEADER], have: 0 };

impl<S> Cut<S> {
    /// `packet_bytes`: the longest packet, with its header.
    pub(super) fn new(stream: S, packet_bytes: usize) -> Self {
        let limit = packet_bytes.saturating_sub(MAX_HEADER);
        Self { stream, limit, at: BEGIN, ready: BytesMut::new() }
    }

    fn read(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            match &mut self.at {
                At::Header { bytes: header, have } => {
                    header[*have] = *first;
                    *have += 1;
                    bytes = rest;
                    // The last byte of a length has its first bit clear.
                    let is_last = *have > 1 && first & 0x80 == 0;
                    if is_last || *have == MAX_HEADER {
                        let (header, have) = (*header, *have);
                        self.begin(&header[..have], is_last);
                    }
                }
                At::Body { pass: 0, skip: 0 } => self.at = BEGIN,
                At::Body { pass: 0, skip } => {
                    let length = bytes.len().min(*skip);
                    *skip -= length;
                    bytes = &bytes[length..];
                }
                At::Body { pass, .. } => {
                    let length = bytes.len().min(*pass);
                    *pass -= length;
                    self.ready.extend_from_slice(&bytes[..length]);
                    bytes = &bytes[length..];
                }
                At::Lost => {
                    self.ready.extend_from_slice(bytes);
                    return;
                }
            }
        }
    }

    /// A packet's header is whole.
    fn begin(&mut self, header: &[u8], is_sound: bool) {
        let length =
            header[1..].iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        let is_publish = header[0] & 0xf0 == PUBLISH;
        if !is_sound || !is_publish || length <= self.limit {
            self.ready.extend_from_slice(header);
            self.at = if is_sound { At::Body { pass: length, skip: 0 } } else { At::Lost };
            return;
        }
        self.ready.extend_from_slice(&header[..1]);
        let mut left = self.limit;
        while left >= 0x80 {
            self.ready.extend_from_slice(&[left as u8 & 0x7f | 0x80]);
            left >>= 7;
        }
        self.ready.extend_from_slice(&[left as u8]);
        self.at = At::Body { pass: self.limit, skip: length - self.limit };
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Cut<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.ready.is_empty() {
            let mut bytes = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.read(read.filled());
        }
        let length = self.ready.len().min(buffer.remaining());
        buffer.put_slice(&self.ready[..length]);
        self.ready.advance(length);
        if self.ready.is_empty() {
            // An idle connection holds no memory.
            self.ready = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cut<S> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 300;

    /// What comes through in pieces of this length.
    fn through(bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut cut = Cut::new((), LIMIT + MAX_HEADER);
        bytes.chunks(piece.max(1)).for_each(|piece| cut.read(piece));
        cut.ready.to_vec()
    }

    fn packet(first: u8, body: usize) -> Vec<u8> {
        let mut packet = vec![first];
        let mut left = body;
        while left >= 0x80 {
            packet.push(left as u8 & 0x7f | 0x80);
            left >>= 7;
        }
        packet.push(left as u8);
        packet.extend((0..body).map(|at| at as u8));
        packet
    }

    #[test]
    fn what_is_longer_is_cut_and_what_follows_it_is_not_touched() {
        let (short, long) = (packet(0x32, 20), packet(0x33, 100_000));
        let connack = packet(0x20, 400);
        let all = [&connack[..], &short, &long, &short, &packet(0xd0, 0), &long, &short].concat();
        let cut = packet(0x33, LIMIT);
        let expected =
            [&connack[..], &short, &cut, &short, &packet(0xd0, 0), &cut, &short].concat();
        for piece in [1, 2, 3, 7, 500, all.len()] {
            assert_eq!(through(&all, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_no_mqtt_is_left_to_whoever_reads_it() {
        let bytes = [[0x30, 0xff, 0xff, 0xff, 0xff].as_slice(), &[0x33; 100]].concat();
        assert_eq!(through(&bytes, 3), bytes);
    }

    proptest! {
        #[test]
        fn packets_within_the_limit_pass_as_they_are(
            packets in proptest::collection::vec((any::<u8>(), 0..=LIMIT), 0..20),
            piece in 1..1000_usize,
        ) {
            let all: Vec<u8> =
                packets.into_iter().flat_map(|(first, body)| packet(first, body)).collect();
            prop_assert_eq!(through(&all, piece), all);
        }

        #[test]
        fn whatever_comes_is_no_panic_and_no_more_than_came(bytes: Vec<u8>, piece in 1..100_usize) {
            prop_assert!(through(&bytes, piece).len() <= bytes.len() + MAX_HEADER);
        }
    }
}
