//! As much of the first packet as the front must read: whether it is a CONNECT, how long, and of which version
//! (MQTT 5, 2.1 and 3.1). Everything else about it is the broker's business.

/// Largest CONNECT: names, a will with its frame, some properties.
const MAX_BYTES: usize = 4096;
/// The variable header's beginning in MQTT 5: the protocol's name and version.
const VERSION_5: &[u8] = b"\x00\x04MQTT\x05";

/// What was read of a CONNECT that is there in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connect {
    /// Whether the client speaks MQTT 5, which knows a DISCONNECT from the server.
    pub(crate) version_5: bool,
}

/// Why a connection's first bytes are not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAConnect {
    #[error("the first packet is not a CONNECT")]
    OtherPacket,
    #[error("the CONNECT is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("the CONNECT has no valid length")]
    Length,
}

impl Connect {
    /// Looks at the first bytes of a connection. `None` as long as more must come.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, NotAConnect> {
        let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
        if first != 0x10 {
            return Err(NotAConnect::OtherPacket);
        }
        let Some((length, body)) = remaining_length(rest)? else { return Ok(None) };
        if length > MAX_BYTES {
            return Err(NotAConnect::TooLarge);
        }
        if body.len() < length {
            return Ok(None);
        }
        Ok(Some(Self { version_5: body.starts_with(VERSION_5) }))
    }
}

/// The variable byte integer in front of a packet's body, and what there is of the body.
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, &[u8])>, NotAConnect> {
    let mut length = 0;
    for (place, &byte) in bytes.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((length, &bytes[place + 1..])));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(NotAConnect::Length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION_3_CLIENT: &[u8] = b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03old";
    const VERSION_5_CLIENT: &[u8] = b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03new";

    #[test]
    fn a_connect_is_accepted_once_it_is_there_in_full() {
        for (whole, version_5) in [(VERSION_3_CLIENT, false), (VERSION_5_CLIENT, true)] {
            for cut in 0..whole.len() {
                assert_eq!(Connect::parse(&whole[..cut]), Ok(None), "{cut}");
            }
            assert_eq!(Connect::parse(whole), Ok(Some(Connect { version_5 })));
            let with_more = [whole, b"\x82"].concat();
            assert_eq!(Connect::parse(&with_more), Ok(Some(Connect { version_5 })));
        }
    }

    #[test]
    fn other_packets_large_connects_and_endless_lengths_are_refused() {
        for (bytes, why) in [
            (&b"GET / HTTP/1.1"[..], NotAConnect::OtherPacket),
            (&[0x30], NotAConnect::OtherPacket),
            (&[0x11], NotAConnect::OtherPacket),
            (&[0x10, 0xFF, 0x7F], NotAConnect::TooLarge),
            (&[0x10, 0xFF, 0xFF, 0xFF, 0xFF], NotAConnect::Length),
        ] {
            assert_eq!(Connect::parse(bytes), Err(why), "{bytes:?}");
        }
    }
}
