//! TLS over a pipe of a few bytes, with rustls' own client at the other end.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

use std::time::Duration;

use lichen_trust::{HUB_NAME, Trust};
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
    pki_types::{ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

struct Rig {
    _dir: tempfile::TempDir,
    trust: Trust,
    server: Arc<ServerConfig>,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let trust = Trust::open(&dir.path().join("trust"), Vec::new()).unwrap();
        let server = trust.server_config(&[b"mqtt"]);
        Self { _dir: dir, trust, server }
    }

    fn client(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.trust.bundle().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        Arc::new(config)
    }

    /// Both ends of a connection on a pipe that holds so many bytes.
    async fn connect(
        &self,
        client: Arc<ClientConfig>,
        pipe: usize,
    ) -> (TlsStream<DuplexStream>, Tls<DuplexStream>) {
        let (near, far) = duplex(pipe);
        let name = ServerName::try_from(HUB_NAME).unwrap();
        let mut server = Tls::new(far, self.server.clone()).unwrap();
        let connector = TlsConnector::from(client);
        let shake = async {
            server.shake().await?;
            // The client waits for the last words of TLS 1.2, and reads those of 1.3 later.
            match server.connection.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => Ok(server.flush().await?),
                _ => Ok::<_, HandshakeError>(()),
            }
        };
        let both = async { tokio::join!(connector.connect(name, near), shake) };
        let (client, shaken) = timeout(DEADLINE, both).await.unwrap();
        shaken.unwrap();
        (client.unwrap(), server)
    }
}

fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 % 251) as u8).collect()
}

#[tokio::test]
async fn bytes_pass_both_ways_at_once_through_any_pipe_and_nothing_is_kept() {
    let rig = Rig::new();
    for version in [&TLS12, &TLS13] {
        for (pipe, bytes) in [(7, 3000), (1000, 100_000), (1 << 20, 1_000_000)] {
            let (mut client, mut server) = rig.connect(rig.client(version), pipe).await;
            assert_eq!(server.protocol(), Some(&b"mqtt"[..]));
            assert!(server.certificate().is_none());
            let (sent, back) = (noise(bytes), noise(bytes / 2));
            let (mut heard, mut answer) = (vec![0; bytes], vec![0; bytes / 2]);
            let passing = async {
                let (mut client_in, mut client_out) = tokio::io::split(&mut client);
                let (mut server_in, mut server_out) = tokio::io::split(&mut server);
                tokio::try_join!(
                    async {
                        client_out.write_all(&sent).await?;
                        client_out.flush().await
                    },
                    async {
                        server_out.write_all(&back).await?;
                        server_out.flush().await
                    },
                    async { server_in.read_exact(&mut heard).await.map(drop) },
                    async { client_in.read_exact(&mut answer).await.map(drop) },
                )
            };
            timeout(DEADLINE, passing).await.unwrap().unwrap();
            assert!(heard == sent && answer == back);
            let Tls { incoming, plain, outgoing, .. } = &server;
            let kept = incoming.capacity() + plain.capacity() + outgoing.capacity();
            assert_eq!(kept, 0, "an idle connection has no buffers");
        }
    }
}

#[tokio::test]
async fn an_end_is_an_end_only_if_it_was_said() {
    let rig = Rig::new();
    let (mut client, mut server) = rig.connect(rig.client(&TLS13), 4096).await;
    client.write_all(b"last words").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    server.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"last words");
    // The other half stays open until it is closed, and closing says so.
    server.write_all(b"answer").await.unwrap();
    server.shutdown().await.unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"answer");

    let (client, mut server) = rig.connect(rig.client(&TLS13), 4096).await;
    drop(client);
    let cut_off = server.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(cut_off.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_client_that_comes_back_is_spared_the_certificates() {
    let rig = Rig::new();
    let config = rig.client(&TLS13);
    for resumed in [false, true, true] {
        let (mut client, mut server) = rig.connect(config.clone(), 4096).await;
        assert_eq!(server.is_resumed(), resumed);
        // The ticket comes with the first bytes.
        server.write_all(b"x").await.unwrap();
        client.read_exact(&mut [0]).await.unwrap();
    }
}

#[tokio::test]
async fn keys_are_renewed_when_the_client_wants_it() {
    let rig = Rig::new();
    let (mut client, mut server) = rig.connect(rig.client(&TLS13), 1 << 16).await;
    for round in 0..10_u8 {
        client.get_mut().1.refresh_traffic_keys().unwrap();
        client.write_all(&[round]).await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), round);
        server.write_all(&[round]).await.unwrap();
        server.flush().await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), round);
    }
}

/// Says bytes to a server and gives what it made of them, and its answer.
async fn say(bytes: &[u8]) -> (HandshakeError, Vec<u8>) {
    let rig = Rig::new();
    let (mut near, far) = duplex(1 << 20);
    let mut server = Tls::new(far, rig.server.clone()).unwrap();
    near.write_all(bytes).await.unwrap();
    near.shutdown().await.unwrap();
    let error = timeout(DEADLINE, server.shake()).await.unwrap().unwrap_err();
    server.say_why().await;
    drop(server);
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    (error, answer)
}

#[tokio::test]
async fn what_is_no_handshake_is_answered_with_an_alert() {
    for bytes in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00"]
    {
        let (error, answer) = say(bytes).await;
        assert!(matches!(error, HandshakeError::Tls(_)), "{error:?}");
        assert_eq!(answer[0], 21, "an alert: {answer:02x?}");
    }
}

#[tokio::test]
async fn a_hello_without_end_is_cut_off() {
    // Records of a handshake message of 16 MiB.
    let record = [&[22, 3, 1, 0x40, 0][..], &[1, 0xFF, 0xFF, 0xFF], &[0; 0x4000 - 4]].concat();
    let more = [&[22, 3, 1, 0x40, 0][..], &[0; 0x4000]].concat();
    let (error, _) = say(&[&record[..], &more, &more].concat()).await;
    assert!(matches!(error, HandshakeError::TooLong | HandshakeError::Tls(_)), "{error:?}");
}

/// Whatever bytes come in the middle of a connection: an error, and no panic.
#[tokio::test]
async fn noise_in_the_middle_is_an_error() {
    let rig = Rig::new();
    for start in [
        &b""[..],
        b"\x17\x03\x03\x00\x20",
        b"\x16\x03\x03\xff\xff",
        b"\x15\x03\x03\x00\x02\x02\x28",
    ] {
        let (client, mut server) = rig.connect(rig.client(&TLS13), 1 << 16).await;
        let (mut pipe, _) = client.into_inner();
        pipe.write_all(&[start, &noise(200)].concat()).await.unwrap();
        let error = timeout(DEADLINE, server.read_u8()).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        assert!(server.write_all(b"x").await.is_err());
    }
}

/// Both flights of a client with a certificate, altered anywhere and cut into pieces: a handshake or an error, whatever
/// rustls is asked when.
#[tokio::test]
async fn no_altered_handshake_is_more_than_an_error() {
    let rig = Rig::new();
    let pi = rig.trust.client("pi", lichen_trust::DEVICES, 3600).unwrap();
    let certificate = CertificateDer::from_pem_slice(pi.certificate.as_bytes()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(pi.key.as_bytes()).unwrap();
    let resolver = rustls::sign::CertifiedKey::from_der(
        vec![certificate],
        key,
        &rustls::crypto::ring::default_provider(),
    )
    .unwrap();
    let resolver = Arc::new(rustls::sign::SingleCertAndKey::from(resolver));
    let alterations = vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..3);
    let cases = (alterations, any::<bool>(), any::<prop::sample::Index>());
    let mut runner = TestRunner::deterministic();
    let mut shaken = 0;
    for case in 0..400 {
        let version = if case % 2 == 0 { &TLS13 } else { &TLS12 };
        let mut config = ClientConfig::clone(&rig.client(version));
        config.client_auth_cert_resolver = resolver.clone();
        let name = ServerName::try_from(HUB_NAME).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let (alterations, is_first, cut) = cases.new_tree(&mut runner).unwrap().current();
        let alter = |mut bytes: Vec<u8>| {
            for (place, byte, how) in &alterations {
                let place = place.index(bytes.len());
                match how {
                    0 => bytes[place] = *byte,
                    1 => bytes.insert(place, *byte),
                    _ => bytes.truncate(place.max(1)),
                }
            }
            bytes
        };
        let (mut near, far) = duplex(1 << 20);
        let mut server = Tls::new(far, rig.server.clone()).unwrap();
        let talking = async {
            let mut flight = Vec::new();
            client.write_tls(&mut flight).unwrap();
            let flight = if is_first { alter(flight) } else { flight };
            let (one, other) = flight.split_at(cut.index(flight.len()));
            near.write_all(one).await?;
            tokio::task::yield_now().await;
            near.write_all(other).await?;
            if is_first {
                return near.shutdown().await;
            }
            let mut answer = [0; 4096];
            loop {
                let read = near.read(&mut answer).await?;
                let mut answer = &answer[..read];
                while !answer.is_empty() {
                    client.read_tls(&mut answer)?;
                    client.process_new_packets().map_err(io::Error::other)?;
                }
                let mut flight = Vec::new();
                while client.wants_write() {
                    client.write_tls(&mut flight)?;
                }
                if !flight.is_empty() {
                    near.write_all(&alter(flight)).await?;
                    return near.shutdown().await;
                }
                if read == 0 {
                    return Ok(());
                }
            }
        };
        let serving = async {
            let outcome = server.shake().await;
            server.say_why().await;
            outcome
        };
        let both = async { tokio::join!(talking, serving) };
        let (_, outcome) = timeout(DEADLINE, both).await.unwrap();
        shaken += u32::from(outcome.is_ok());
    }
    assert!(shaken > 10, "those that were not altered are good: {shaken}");
}
