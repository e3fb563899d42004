//! `grpc.health.v1.Health/Check`: one call over plain HTTP/2, written by hand, for one call needs little of either. What the
//! server says besides its answer is skipped by length; headers are not looked at.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use super::{
    Clock, Network,
    network::{LOOPBACK, words},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Frames that a server may send before its answer.
const MAX_FRAMES: usize = 64;
/// No server sends a longer frame unasked: RFC 9113, section 4.2.
const MAX_FRAME: usize = 16 * 1024;
/// The answer is a few bytes.
const MAX_MESSAGE: usize = 1024;
const STREAM: u32 = 1;

/// Types of frames.
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const GOAWAY: u8 = 7;
}

/// Flags of frames. `ACK` is that of settings and pings, `END_STREAM` that of headers and data.
mod flag {
    pub(super) const ACK: u8 = 1;
    pub(super) const END_STREAM: u8 = 1;
    pub(super) const END_HEADERS: u8 = 4;
    pub(super) const PADDED: u8 = 8;
}

/// Asks for the health of a service.
///
/// # Errors
/// In the kubelet's words.
pub(super) fn check(
    port: u16,
    service: &str,
    network: &Network,
    clock: &Clock,
) -> Result<(), String> {
    let address = format!("{LOOPBACK}:{port}");
    let mut stream = network
        .connect("", port, clock)
        .map_err(|error| format!("failed to connect service {address:?}: {error}"))?;
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            format!("timeout: health rpc did not complete: {address:?}")
        }
        io::ErrorKind::InvalidData => {
            "error: health rpc probe failed: the server does not speak HTTP/2".to_owned()
        }
        _ => format!("error: health rpc probe failed: {}", words(&error)),
    };
    stream.set_write_timeout(Some(clock.left()?)).map_err(failed)?;
    stream.write_all(&call(&address, service)).map_err(failed)?;
    match answer(&mut stream, clock).map_err(failed)? {
        Some(1) => Ok(()),
        Some(status) => Err(format!("service unhealthy (responded with {:?})", name_of(status))),
        None => Err(format!(
            "error: health rpc probe failed: the server gave no status; does it know grpc.health.v1.Health and the service {service:?}?"
        )),
    }
}

/// Everything that is sent unasked.
fn call(authority: &str, service: &str) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "kube-probe/lichen"),
    ] {
        // RFC 7541, section 6.2.2: literal, not indexed, with a new name; both are shorter than 127 bytes.
        headers.push(0);
        for text in [name, value] {
            headers.push(u8::try_from(text.len()).unwrap_or(0));
            headers.extend(text.as_bytes());
        }
    }
    let mut request = Vec::new();
    if !service.is_empty() {
        // Field 1, text. A service's name is at most 253 bytes long: two bytes of length.
        let length = service.len();
        request.push(0x0a);
        if length < 0x80 {
            request.push(length as u8);
        } else {
            request.extend([(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
        }
        request.extend(service.as_bytes());
    }
    // Not compressed, and its length.
    let mut data = vec![0];
    data.extend(u32::try_from(request.len()).unwrap_or(0).to_be_bytes());
    data.extend(request);
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(kind::SETTINGS, 0, 0, &[]));
    bytes.extend(frame(kind::HEADERS, flag::END_HEADERS, STREAM, &headers));
    bytes.extend(frame(kind::DATA, flag::END_STREAM, STREAM, &data));
    bytes
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The status in the answer; `None` if there is none.
fn answer(stream: &mut TcpStream, clock: &Clock) -> io::Result<Option<u64>> {
    let mut message = Vec::new();
    for _ in 0..MAX_FRAMES {
        let mut header = [0; 9];
        read(stream, &mut header, clock)?;
        let [a, b, c, kind, flags, ..] = header;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if length > MAX_FRAME {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut payload = vec![0; length];
        read(stream, &mut payload, clock)?;
        match kind {
            kind::SETTINGS if flags & flag::ACK == 0 => {
                // A server that has answered may be gone: its answer counts.
                let _ = stream.write_all(&frame(kind::SETTINGS, flag::ACK, 0, &[]));
            }
            kind::PING if flags & flag::ACK == 0 => {
                let _ = stream.write_all(&frame(kind::PING, flag::ACK, 0, &payload));
            }
            kind::DATA => {
                let data = unpadded(&payload, flags);
                message.extend_from_slice(&data[..data.len().min(MAX_MESSAGE)]);
                if let Some(status) = status(&message) {
                    return Ok(Some(status));
                }
                if flags & flag::END_STREAM != 0 || message.len() > MAX_MESSAGE {
                    return Ok(None);
                }
            }
            kind::HEADERS if flags & flag::END_STREAM != 0 => return Ok(None),
            kind::RST_STREAM | kind::GOAWAY => return Ok(None),
            _ => {}
        }
    }
    Ok(None)
}

fn read(stream: &mut TcpStream, mut bytes: &mut [u8], clock: &Clock) -> io::Result<()> {
    while !bytes.is_empty() {
        let left = clock.left().map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        stream.set_read_timeout(Some(left))?;
        match stream.read(bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => bytes = &mut bytes[length..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn unpadded(payload: &[u8], flags: u8) -> &[u8] {
    match payload.split_first() {
        Some((&padding, rest)) if flags & flag::PADDED != 0 => {
            rest.get(..rest.len().saturating_sub(padding.into())).unwrap_or_default()
        }
        _ => payload,
    }
}

/// The status of a `HealthCheckResponse`, once all of it is there.
fn status(message: &[u8]) -> Option<u64> {
    let (prefix, body) = message.split_at_checked(5)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?) as usize;
    let body = body.get(..length)?;
    match body.split_first() {
        // What is not said is 0.
        None => Some(0),
        Some((0x08, value)) => {
            let mut number = 0;
            for (place, byte) in value.iter().take(9).enumerate() {
                number |= u64::from(byte & 0x7f) << (7 * place);
                if byte & 0x80 == 0 {
                    return Some(number);
                }
            }
            None
        }
        Some(_) => None,
    }
}

fn name_of(status: u64) -> &'static str {
    match status {
        1 => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests;
