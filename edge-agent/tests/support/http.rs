//! A hub's device port, small enough to misbehave on purpose: TLS, behind which ALPN decides between HTTP and the MQTT of an
//! endpoint elsewhere.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
};

use firmware_compat::{
    enrolment::{
        Address, Broker, CONNECT_PATH, ENROL_PATH, EnrolRequest, Enrolled, HUB_NAME, HubFacts,
        JoinSecret, RENEW_PATH, RenewRequest, Text,
    },
    id::{Hash, Lineage, PublicKey},
    v1::owned::Blob,
};
use lichen_agent::join::Invitation;
use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, server::TlsStream};

use super::{
    authority::{Authority, Day, NO_END},
    endpoint::Door,
};

/// What one answer does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Ends after so many bytes of the body.
    CutAfter(usize),
    /// Answers a range with the whole.
    IgnoresRange,
    /// Sends other bytes of the same length.
    Corrupts,
    /// Answers a range with one that starts elsewhere.
    WrongRange,
}

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    /// Behind the question mark.
    pub query: String,
    pub range: Option<u64>,
    pub body: Vec<u8>,
    /// The certificate that was shown.
    pub shown: Option<Vec<u8>>,
    /// The connection went on with an earlier one's session.
    pub resumed: bool,
}

/// What the hub is at present.
struct State {
    authority: Authority,
    tls: Arc<ServerConfig>,
    endpoint: Option<(SocketAddr, Arc<ClientConfig>)>,
    /// MQTT is answered with NotAuthorized.
    refuses_mqtt: bool,
    /// HTTP connections are closed.
    refuses_http: bool,
    /// Until when certificates last.
    end: Day,
    known_ms: u64,
    facts: HubFacts,
    documents: BTreeMap<String, Vec<u8>>,
    /// Given once each, before everything else.
    answers: BTreeMap<String, VecDeque<(u16, String)>>,
    faults: Vec<Fault>,
    asked: Vec<Asked>,
    mqtt_shown: Vec<Vec<u8>>,
}

/// The server. It ends with the test.
pub struct Server {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    runtime: Option<Runtime>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Server {
    pub fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let authority = Authority::new();
        let facts = HubFacts {
            ca: Text::cut(&authority.pem()),
            signing_keys: vec![PublicKey([1; 32])].try_into().unwrap(),
            lineage: Lineage([7; 16]),
            addresses: vec![as_address(address)].try_into().unwrap(),
            broker: None,
            unix_ms: 0,
            renewal: None,
        };
        let state = State {
            tls: authority.server(),
            authority,
            endpoint: None,
            refuses_mqtt: false,
            refuses_http: false,
            end: NO_END,
            known_ms: 1_700_000_000_000,
            facts,
            documents: BTreeMap::new(),
            answers: BTreeMap::new(),
            faults: Vec::new(),
            asked: Vec::new(),
            mqtt_shown: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let served = state.clone();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, served.clone()));
            }
        });
        Self { address, state, runtime: Some(runtime) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn hub(&self) -> Address {
        as_address(self.address)
    }

    /// By what a device joins this hub.
    pub fn invitation(&self) -> Invitation {
        Invitation {
            addresses: vec![self.hub()],
            fingerprint: Some(self.state().authority.fingerprint()),
            secret: JoinSecret::parse("id.secret"),
        }
    }

    /// Where MQTT is passed on to.
    pub fn set_endpoint(&self, door: &Door) {
        self.state().endpoint = Some((door.address, door.way.clone()));
    }

    pub fn refuse_mqtt(&self, refuses: bool) {
        self.state().refuses_mqtt = refuses;
    }

    pub fn refuse_http(&self, refuses: bool) {
        self.state().refuses_http = refuses;
    }

    /// Certificates that are issued from now on end then.
    pub fn issue_until(&self, end: Day) {
        self.state().end = end;
    }

    /// What time it is for the hub.
    pub fn set_time(&self, unix_ms: u64) {
        self.state().known_ms = unix_ms;
    }

    /// Shows another certificate from the next connection on.
    pub fn show(&self, tls: Arc<ServerConfig>) {
        self.state().tls = tls;
    }

    /// The hub says something else of itself.
    pub fn change_facts(&self, change: impl FnOnce(&mut HubFacts)) {
        change(&mut self.state().facts);
    }

    pub fn set_broker(&self, broker: Option<Broker>) {
        self.change_facts(|facts| facts.broker = broker);
    }

    pub fn with_authority<T>(&self, look: impl FnOnce(&Authority) -> T) -> T {
        look(&self.state().authority)
    }

    pub fn put(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.state().documents.insert(path.to_owned(), body.into());
    }

    /// The next answer of a path.
    pub fn answer_once(&self, path: &str, status: u16, body: &str) {
        let mut state = self.state();
        state.answers.entry(path.to_owned()).or_default().push_back((status, body.to_owned()));
    }

    /// Serves bytes under their digest.
    pub fn put_artefact(&self, bytes: &[u8]) -> Blob {
        let digest = Hash(Sha256::digest(bytes).into());
        self.put(&format!("/artefacts/sha256:{digest}"), bytes);
        Blob { digest, size: bytes.len() as u64 }
    }

    /// The next answers misbehave, one fault each.
    pub fn misbehave(&self, faults: &[Fault]) {
        self.state().faults = faults.iter().rev().copied().collect();
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// The certificates that were shown on connections for MQTT.
    pub fn mqtt_shown(&self) -> Vec<Vec<u8>> {
        self.state().mqtt_shown.clone()
    }

    /// How often a path was asked for.
    pub fn count(&self, path: &str) -> usize {
        self.state().asked.iter().filter(|asked| asked.path == path).count()
    }
}

pub fn as_address(address: SocketAddr) -> Address {
    Address::parse(&address.to_string()).unwrap()
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let tls = state.lock().unwrap().tls.clone();
    let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await else { return };
    match stream.get_ref().1.alpn_protocol() {
        Some(b"mqtt") => serve_mqtt(stream, &state).await,
        Some(b"http/1.1") => serve_http(stream, &state).await,
        other => panic!("no ALPN of a device: {other:?}"),
    }
}

async fn serve_mqtt(mut stream: TlsStream<TcpStream>, state: &Mutex<State>) {
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let (endpoint, refuses) = {
        let mut state = state.lock().unwrap();
        state.mqtt_shown.push(shown);
        (state.endpoint.clone(), state.refuses_mqtt)
    };
    if refuses {
        let mut connect = [0; 1024];
        let _ = stream.read(&mut connect).await;
        // CONNACK, NotAuthorized, no properties.
        let _ = stream.write_all(&[0x20, 3, 0, 0x87, 0]).await;
        let _ = stream.shutdown().await;
        return;
    }
    let Some((address, way)) = endpoint else { return };
    let Ok(inner) = TcpStream::connect(address).await else { return };
    let name = ServerName::try_from(HUB_NAME).unwrap();
    let Ok(mut inner) = TlsConnector::from(way).connect(name, inner).await else { return };
    let _ = copy_bidirectional(&mut stream, &mut inner).await;
}

async fn serve_http(stream: TlsStream<TcpStream>, state: &Mutex<State>) {
    if state.lock().unwrap().refuses_http {
        return;
    }
    let connection = stream.get_ref().1;
    let shown = connection.peer_certificates().and_then(|chain| chain.first());
    let shown = shown.map(|leaf| leaf.to_vec());
    let resumed = connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    let mut stream = BufReader::new(stream);
    let Some(asked) = read_request(&mut stream, shown, resumed).await else { return };
    let answer = answer(asked, &mut state.lock().unwrap());
    let _ = stream.write_all(&answer).await;
    let _ = stream.shutdown().await;
}

async fn read_request(
    stream: &mut BufReader<TlsStream<TcpStream>>,
    shown: Option<Vec<u8>>,
    resumed: bool,
) -> Option<Asked> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let target = line.split(' ').nth(1)?.to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let (mut range, mut length) = (None, 0);
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
        let lower = line.trim_end().to_ascii_lowercase();
        if lower.is_empty() {
            break;
        }
        if let Some(from) = lower.strip_prefix("range: bytes=") {
            range = from.trim_end_matches('-').parse().ok();
        }
        if let Some(bytes) = lower.strip_prefix("content-length: ") {
            length = bytes.parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Asked { path, query, range, body, shown, resumed })
}

fn answer(asked: Asked, state: &mut State) -> Vec<u8> {
    state.asked.push(asked.clone());
    if let Some((status, body)) = state.answers.get_mut(&asked.path).and_then(VecDeque::pop_front) {
        return whole(status, body.as_bytes());
    }
    match asked.path.as_str() {
        ENROL_PATH => {
            let request: EnrolRequest = serde_json::from_slice(&asked.body).unwrap();
            let name = request.name.unwrap();
            issue(state, &request.csr, &name)
        }
        RENEW_PATH => {
            let request: RenewRequest = serde_json::from_slice(&asked.body).unwrap();
            // The name of the certificate that is shown; there is but one in these tests.
            issue(state, &request.csr, "pi")
        }
        CONNECT_PATH => {
            let facts = HubFacts { unix_ms: state.known_ms, ..state.facts.clone() };
            whole(200, &serde_json::to_vec(&facts).unwrap())
        }
        path => match state.documents.get(path).cloned() {
            Some(body) => artefact(body, asked.range, state.faults.pop()),
            None => whole(404, b"{}"),
        },
    }
}

fn issue(state: &State, csr: &str, name: &str) -> Vec<u8> {
    let certificate = state.authority.device(csr, name, state.end);
    let enrolled = Enrolled {
        name: name.try_into().unwrap(),
        certificate: certificate.as_str().try_into().unwrap(),
        hub: HubFacts { unix_ms: state.known_ms, ..state.facts.clone() },
    };
    whole(200, &serde_json::to_vec(&enrolled).unwrap())
}

fn whole(status: u16, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn artefact(mut body: Vec<u8>, range: Option<u64>, fault: Option<Fault>) -> Vec<u8> {
    if fault == Some(Fault::Corrupts) {
        body.iter_mut().for_each(|byte| *byte ^= 1);
    }
    let total = body.len();
    let head = match range {
        Some(from) if fault != Some(Fault::IgnoresRange) => {
            if from as usize >= total {
                return whole(416, b"");
            }
            let from = if fault == Some(Fault::WrongRange) { from - 1 } else { from };
            body.drain(..from as usize);
            format!(
                "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {from}-{}/{total}\r\n",
                total - 1
            )
        }
        _ => "HTTP/1.1 200 OK\r\n".to_owned(),
    };
    let head = format!("{head}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    if let Some(Fault::CutAfter(bytes)) = fault {
        body.truncate(bytes);
    }
    let mut answer = head.into_bytes();
    answer.extend_from_slice(&body);
    answer
}
