//! A device that is nothing but a TLS connection and the few packets that it needs: thousands of them fit in a test.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::ClientConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::fleet::dial;

/// See the module.
pub struct Bare {
    pub stream: TlsStream<TcpStream>,
}

impl Bare {
    /// Connects under a name, and subscribes to what is meant for it.
    pub async fn connect(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        name: &str,
    ) -> io::Result<Self> {
        let mut stream = dial(address, config).await?;
        let mut connect = vec![0x10, 0, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60, 0];
        connect.extend(text(name));
        let mut subscribe = vec![0x82, 0, 0, 1, 0];
        subscribe.extend(text(&format!("lichen/1/{name}/down/#")));
        subscribe.push(1);
        subscribe.extend(text("lichen/1/all/down/#"));
        subscribe.push(0);
        stream.write_all(&[sized(connect), sized(subscribe)].concat()).await?;
        let connack = packet(&mut stream).await?;
        if connack[1] != 0 {
            return Err(io::Error::other(format!("CONNACK {:#x}", connack[1])));
        }
        let suback = packet(&mut stream).await?;
        assert_eq!(suback[3..], [1, 0], "both are granted");
        Ok(Self { stream })
    }

    /// The next message's payload, of so many bytes.
    pub async fn message(&mut self, len: usize) -> io::Result<Vec<u8>> {
        let body = packet(&mut self.stream).await?;
        Ok(body[body.len() - len..].to_vec())
    }
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text").to_be_bytes();
    [&length, text.as_bytes()].concat()
}

/// Fills in the length of a packet below 128 bytes.
fn sized(mut packet: Vec<u8>) -> Vec<u8> {
    packet[1] = u8::try_from(packet.len() - 2).ok().filter(|len| *len < 128).expect("it is short");
    packet
}

/// The body of the next packet, one below 16 KiB.
async fn packet(stream: &mut TlsStream<TcpStream>) -> io::Result<Vec<u8>> {
    let _kind = stream.read_u8().await?;
    let mut len = usize::from(stream.read_u8().await?);
    if len >= 128 {
        len = (len & 127) | usize::from(stream.read_u8().await?) << 7;
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await?;
    Ok(body)
}
