//! What TLS costs: a device's handshake at the hub, and the bytes by which one that was cut off is back.

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::Value;

use super::{
    figures::{Row, median},
    traffic,
};
use crate::{agent::Agent, hub::Hub, wait::wait_until};

/// Handshakes of each kind.
const HANDSHAKES: u32 = 3000;
/// How often the connection is cut.
const CUTS: usize = 5;
/// Nothing passes for so long: the device has said all.
const QUIET: Duration = Duration::from_secs(3);
/// Ticks of `/proc/PID/stat` in a second: Linux has it so on every architecture.
const TICKS: f64 = 100.0;

/// Everything about it.
#[must_use]
pub fn all() -> Vec<Row> {
    let hub = Hub::start_quietly();
    let mut rows = reconnects(&hub);
    let agent = Agent::start("knocker", &hub);
    hub.api().until_ready("knocker");
    let mut config = shown_by(&agent);
    rows.push(handshakes(&hub, &Arc::new(config.clone()), "resumed", HandshakeKind::Resumed));
    config.resumption = Resumption::disabled();
    rows.push(handshakes(&hub, &Arc::new(config), "full", HandshakeKind::Full));
    rows
}

fn reconnects(hub: &Hub) -> Vec<Row> {
    let (mut agent, way) = traffic::counted_device("cut-off", hub, &[]);
    agent.start_again();
    hub.api().until_ready("cut-off");
    let counted = |agent: &Agent| until_quiet(agent.pid());
    let _joined = counted(&agent);
    // The first start joins, the second connects with what it has.
    agent.stop();
    agent.start_again();
    wait_until("it connects", || match traffic::passed(agent.pid()) {
        (0, _) => Err("nothing has passed".to_owned()),
        _ => Ok(()),
    });
    let full = counted(&agent);
    let again: Vec<f64> = (0..CUTS)
        .map(|_| {
            let before = counted(&agent);
            way.cut();
            wait_until("it comes back", || {
                if traffic::passed(agent.pid()).0 > before + 1000 {
                    Ok(())
                } else {
                    Err(String::new())
                }
            });
            as_figure(counted(&agent) - before)
        })
        .collect();
    let how = "loopback counters of a network namespace, all headers, both directions";
    vec![
        Row::new(
            "connect after a start, full handshake",
            format!("{full} bytes"),
            "",
            how.to_owned(),
        ),
        Row::new(
            "reconnect, resumed session",
            format!("{:.0} bytes", median(&again)),
            "",
            format!("the same, median of {CUTS} cuts"),
        ),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "a reconnect is a few thousand bytes")]
fn as_figure(bytes: u64) -> f64 {
    bytes as f64
}

/// Bytes that have passed, once no more do.
fn until_quiet(pid: u32) -> u64 {
    let (mut last, mut since) = (traffic::passed(pid).0, Instant::now());
    while since.elapsed() < QUIET {
        thread::sleep(Duration::from_millis(100));
        let now = traffic::passed(pid).0;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

fn handshakes(hub: &Hub, config: &Arc<ClientConfig>, which: &str, kind: HandshakeKind) -> Row {
    // The first one has no session to resume.
    ask(hub, config).unwrap();
    let before = cpu_s(hub.pid());
    let start = Instant::now();
    for _ in 0..HANDSHAKES {
        let found = ask(hub, config).unwrap();
        assert_eq!(found, kind, "it should be measured what is said");
    }
    let (took, cpu) = (start.elapsed().as_secs_f64(), cpu_s(hub.pid()) - before);
    let each = cpu / f64::from(HANDSHAKES);
    Row::new(
        &format!("handshakes of devices, {which}"),
        format!("{:.0} per second of the hub's CPU ({:.0} µs each)", 1.0 / each, each * 1e6),
        "",
        format!(
            "{HANDSHAKES} connections with certificates and one request each, one after another in {took:.1} s; `/proc/PID/stat`"
        ),
    )
}

/// A connection with one request.
fn ask(hub: &Hub, config: &Arc<ClientConfig>) -> io::Result<HandshakeKind> {
    let stream = TcpStream::connect(hub.device_address())?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("lichen-hub").map_err(io::Error::other)?;
    let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    stream
        .write_all(b"GET /lichen/v1/session HTTP/1.1\r\nhost: hub\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if !answer.starts_with("HTTP/1.1 200") {
        return Err(io::Error::other(answer));
    }
    stream.conn.handshake_kind().ok_or_else(|| io::Error::other("no handshake"))
}

/// What a device shows that has joined.
fn shown_by(agent: &Agent) -> ClientConfig {
    let read = |name: &str| fs::read(agent.state().join("identity").join(name)).unwrap();
    let hub: Value = serde_json::from_slice(&read("hub.json")).unwrap();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(hub["ca"].as_str().unwrap().as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let chain =
        CertificateDer::pem_slice_iter(&read("certificate.pem")).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(&read("key.pem")).unwrap();
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// Seconds that a process has computed.
fn cpu_s(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        text.rsplit_once(')').map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
    let ticks = |at: usize| fields.get(at).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0);
    // utime and stime are the 14th and 15th field, of which two stand before the bracket.
    (ticks(11) + ticks(12)) / TICKS
}
