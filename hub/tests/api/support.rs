//! A hub to test against, and a small HTTP client.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use lichen_hub::{
    server::{self, HubConfig, Running},
    store::{MemoryStore, Store},
};
use rustls::{ClientConfig, pki_types::ServerName};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub use crate::joined::admin_of;
use crate::joined::{Joined, join};

/// A connection to a hub.
pub type Tls = TlsStream<TcpStream>;

/// Nothing here takes long; a test that waits longer has failed.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A hub in this process.
pub struct Hub {
    pub running: Running,
    pub dir: tempfile::TempDir,
}

/// The settings of a hub in a directory.
pub fn config(state: PathBuf) -> HubConfig {
    let any = "127.0.0.1:0".parse().expect("address");
    HubConfig::new(state, any, any)
}

impl Hub {
    /// A connection to it, as its admin.
    pub async fn connect(&self) -> Tls {
        connect(self.running.api(), admin_of(self.dir.path())).await
    }

    /// A board joins it.
    pub async fn join(&self, name: &'static str) -> Joined {
        let (state, api) = (self.dir.path().to_owned(), self.running.api());
        let devices = self.running.devices();
        let joined = tokio::task::spawn_blocking(move || join(&state, api, devices, name)).await;
        joined.expect("it joins")
    }

    pub async fn start() -> Self {
        Self::start_on(MemoryStore::default()).await
    }

    pub async fn start_on(store: impl Store + 'static) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let running = server::start_on(config(dir.path().to_owned()), Box::new(store)).await;
        Self { running: running.expect("start"), dir }
    }

    /// Sends a request without a body.
    pub async fn call(&self, method: &str, path: &str) -> Reply {
        self.send(method, path, &[], b"").await
    }

    /// Reads an object.
    pub async fn get(&self, path: &str) -> Reply {
        self.call("GET", path).await
    }

    /// Sends JSON.
    pub async fn put(&self, method: &str, path: &str, body: &Value) -> Reply {
        let body = body.to_string();
        self.send(method, path, &[("content-type", "application/json")], body.as_bytes()).await
    }

    /// Sends anything.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let reply = async { self.open(method, path, headers, body).await.whole().await };
        timeout(DEADLINE, reply).await.unwrap_or_else(|_| panic!("no answer to {method} {path}"))
    }

    /// Asks on the devices' port, as a device.
    pub async fn ask_as(
        &self,
        device: &Joined,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Reply {
        let mut config = device.shows();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let reply = async {
            let stream = connect(self.running.devices(), config).await;
            ask(stream, method, path, headers, b"").await.whole().await
        };
        timeout(DEADLINE, reply).await.unwrap_or_else(|_| panic!("no answer to {method} {path}"))
    }

    /// Sends JSON on the devices' port, as a device.
    pub async fn send_as(&self, device: &Joined, method: &str, path: &str, body: &Value) -> Reply {
        let mut config = device.shows();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let reply = async {
            let stream = connect(self.running.devices(), config).await;
            ask(stream, method, path, &[], body.to_string().as_bytes()).await.whole().await
        };
        timeout(DEADLINE, reply).await.unwrap_or_else(|_| panic!("no answer to {method} {path}"))
    }

    /// Sends a request and reads no more than the head of its answer.
    pub async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Stream {
        ask(self.connect().await, method, path, headers, body).await
    }

    /// Watches a path.
    pub async fn watch(&self, path: &str) -> Stream {
        let stream = self.open("GET", path, &[], b"").await;
        assert_eq!(stream.code, 200, "{path}");
        stream
    }
}

/// Sends a request and reads no more than the head of its answer.
async fn ask(
    mut stream: Tls,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Stream {
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        head.push_str("host: 127.0.0.1\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).await.expect("write");
    // A server that refuses early may close before it has read everything.
    let _ = stream.write_all(body).await;
    // TLS keeps what the socket did not take at once.
    let _ = stream.flush().await;
    Stream::read_head(stream).await
}

/// A connection to a hub on this machine.
pub async fn connect(address: SocketAddr, config: ClientConfig) -> Tls {
    let stream = TcpStream::connect(address).await.expect("connect");
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
}

/// A hub as somebody with a token sees it.
pub struct As<'h> {
    hub: &'h Hub,
    authorization: String,
}

impl Hub {
    /// The hub, for whoever shows this token.
    pub fn with_token(&self, token: &str) -> As<'_> {
        As { hub: self, authorization: format!("Bearer {token}") }
    }

    /// Creates something that there is not yet.
    pub async fn create(&self, path: &str, body: Value) -> Value {
        self.put("POST", path, &body).await.expect(201)
    }

    /// A token of a ServiceAccount, which is made if it is not there; and so is its namespace.
    pub async fn token_of(&self, namespace: &str, name: &str) -> String {
        let json = |name: &str| json!({"metadata": {"name": name}});
        for (path, object) in [
            ("/api/v1/namespaces".to_owned(), json(namespace)),
            (format!("/api/v1/namespaces/{namespace}/serviceaccounts"), json(name)),
        ] {
            let code = self.put("POST", &path, &object).await.code;
            assert!([201, 409].contains(&code), "{path}: {code}");
        }
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let made = self.create(&path, json!({})).await;
        made["status"]["token"].as_str().expect("a token").to_owned()
    }

    /// Gives a role to a ServiceAccount of the same namespace: `Role x` or `ClusterRole x`.
    pub async fn bind(&self, namespace: &str, name: &str, role: &str, account: &str) {
        let (kind, of) = role.split_once(' ').expect("kind and name");
        let binding = json!({
            "metadata": {"name": name}, "roleRef": {"kind": kind, "name": of},
            "subjects": [{"kind": "ServiceAccount", "name": account}],
        });
        self.create(&format!("{RBAC}/namespaces/{namespace}/rolebindings"), binding).await;
    }

    /// Makes a role of a namespace.
    pub async fn role(&self, namespace: &str, name: &str, rules: Value) {
        let role = json!({"metadata": {"name": name}, "rules": rules});
        self.create(&format!("{RBAC}/namespaces/{namespace}/roles"), role).await;
    }
}

impl As<'_> {
    pub async fn call(&self, method: &str, path: &str) -> Reply {
        self.hub.send(method, path, &[("authorization", &self.authorization)], b"").await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call("GET", path).await
    }

    pub async fn put(&self, method: &str, path: &str, body: &Value) -> Reply {
        let kind =
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let headers = [("authorization", self.authorization.as_str()), ("content-type", kind)];
        self.hub.send(method, path, &headers, body.to_string().as_bytes()).await
    }

    pub async fn watch(&self, path: &str) -> Stream {
        let stream =
            self.hub.open("GET", path, &[("authorization", &self.authorization)], b"").await;
        assert_eq!(stream.code, 200, "{path}");
        stream
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    pub code: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The JSON of an answer that must have a certain code.
    pub fn expect(&self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.text());
        self.json()
    }

    /// `code reason: message` of a `Status`.
    pub fn refusal(&self) -> String {
        let status = self.json();
        assert_eq!(status["kind"], "Status", "{status}");
        assert_eq!(status["code"], self.code, "{status}");
        let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
        format!("{} {}: {}", self.code, text("reason"), text("message"))
    }
}

/// An answer whose body is still to come.
pub struct Stream {
    pub code: u16,
    pub headers: BTreeMap<String, String>,
    pub chunked: bool,
    pub reader: BufReader<Tls>,
    line: Vec<u8>,
}

impl Stream {
    async fn read_head(stream: Tls) -> Self {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        let read = timeout(DEADLINE, reader.read_line(&mut line)).await;
        read.expect("an answer in time").expect("read");
        let code = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut headers = BTreeMap::new();
        loop {
            line.clear();
            reader.read_line(&mut line).await.expect("read");
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let chunked = headers.get("transfer-encoding").is_some_and(|value| value == "chunked");
        Self { code: code.expect("a status"), headers, chunked, reader, line: Vec::new() }
    }

    /// The whole answer.
    async fn whole(mut self) -> Reply {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes).await.expect("read");
        if self.chunked {
            bytes = unchunked(&bytes);
        }
        Reply { code: self.code, headers: self.headers, body: bytes }
    }

    /// The next line of the body as JSON; `None` at its end.
    pub async fn next(&mut self) -> Option<Value> {
        let line = timeout(DEADLINE, self.next_line()).await.expect("a line in time")?;
        Some(serde_json::from_slice(&line).expect("JSON"))
    }

    /// The next change of a watch: `ADDED name`.
    pub async fn change(&mut self) -> String {
        let event = self.next().await.expect("a change");
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
        format!("{} {name}", event["type"].as_str().expect("a type"))
    }

    /// The next line of the body as text; `None` at its end.
    pub async fn line(&mut self) -> Option<String> {
        let line = timeout(DEADLINE, self.next_line()).await.expect("a line in time")?;
        Some(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    async fn next_line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
                let rest = self.line.split_off(end + 1);
                return Some(std::mem::replace(&mut self.line, rest));
            }
            let chunk = self.next_chunk().await?;
            self.line.extend(chunk);
        }
    }

    async fn next_chunk(&mut self) -> Option<Vec<u8>> {
        let mut size = String::new();
        self.reader.read_line(&mut size).await.ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok().filter(|size| *size > 0)?;
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).await.ok()?;
        chunk.truncate(size);
        Some(chunk)
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..end]).expect("a size");
        let size = usize::from_str_radix(size, 16).expect("a size");
        whole.extend_from_slice(&bytes[end + 2..end + 2 + size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
    whole
}

/// A ConfigMap.
pub fn config_map(name: &str, labels: Value, data: Value) -> Value {
    serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels}, "data": data,
    })
}

/// A Deployment of one container.
pub fn deployment(name: &str, image: &str) -> Value {
    serde_json::json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    })
}

pub const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
