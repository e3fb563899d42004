//! A hub that answers what a test tells it to, over the TLS of a real one, and remembers what it was asked.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::{Body, to_bytes},
    http::{Request, Response},
};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use lichen_hub::cli::kubeconfig::{Places, admin};
use lichen_trust::{ClientCertificate, Trust};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::support::{Said, admin_of, lichen};

/// What was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// `GET /version`.
    pub line: String,
    /// Whom the client certificate is for.
    pub user: Option<String>,
    /// The header.
    pub authorization: Option<String>,
    /// Null if there is none.
    pub body: Value,
}

/// What is answered: a status and a body.
pub type Answer = fn(&Asked) -> (u16, Value);

/// Such a hub.
pub struct Script {
    _runtime: Runtime,
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    pub dir: tempfile::TempDir,
    pub trust: Trust,
}

impl Script {
    pub fn start(answer: Answer) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let trust = Trust::open(&dir.path().join("trust"), Vec::new()).expect("trust");
        let config = trust.server_config(&[b"http/1.1"]);
        Self::start_with(dir, trust, config, answer)
    }

    /// With other settings than a hub's own.
    pub fn start_with(
        dir: tempfile::TempDir,
        trust: Trust,
        config: Arc<ServerConfig>,
        answer: Answer,
    ) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        runtime.spawn(serve(listener, config, answer, asked.clone()));
        Self { _runtime: runtime, address, asked, dir, trust }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Its host and port.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// As people compare it.
    pub fn fingerprint(&self) -> String {
        let digits: Vec<String> =
            self.trust.fingerprint().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{}", digits.concat())
    }

    /// A file of the test.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Where nothing is but what `login` writes.
    pub fn places(&self) -> Places {
        Places { own: Some(self.path("own/kubeconfig")), ..Places::default() }
    }

    /// Runs a command line as this hub's owner.
    pub fn lichen(&self, line: &str) -> Said {
        let path = self.path(admin::FILE);
        write(&path, &admin_of(&self.trust, &self.url()));
        lichen(&Places { hubs: vec![path], ..self.places() }, line)
    }

    /// What it was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same, each as one line with its body.
    pub fn lines(&self) -> Vec<String> {
        let line = |asked: Asked| match asked.body {
            Value::Null => asked.line,
            body => format!("{} {body}", asked.line),
        };
        self.asked().into_iter().map(line).collect()
    }
}

pub fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}

/// Kubernetes' `Status`.
pub fn status(code: u16, reason: &str, message: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code}),
    )
}

async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    answer: Answer,
    asked: Arc<Mutex<Vec<Asked>>>,
) {
    let acceptor = TlsAcceptor::from(config);
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, asked) = (acceptor.clone(), asked.clone());
        tokio::spawn(async move {
            // Whoever does not believe this hub goes.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let chain = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let user = chain.map(|own| ClientCertificate::read(own).expect("ours").common_name);
            let service = service_fn(|request: Request<hyper::body::Incoming>| {
                let (asked, user) = (asked.clone(), user.clone());
                async move {
                    let read = read(request, user).await;
                    let (status, body) = answer(&read);
                    asked.lock().unwrap_or_else(PoisonError::into_inner).push(read);
                    let response = Response::builder()
                        .status(status)
                        .header("content-type", "application/json")
                        .body(Body::from(body.to_string()));
                    Ok::<_, Infallible>(response.expect("an answer"))
                }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn read(request: Request<hyper::body::Incoming>, user: Option<String>) -> Asked {
    let (head, body) = request.into_parts();
    let bytes = to_bytes(Body::new(body), 1 << 20).await.expect("a body");
    let authorization = head.headers.get("authorization");
    Asked {
        line: format!("{} {}", head.method, head.uri),
        user,
        authorization: authorization.and_then(|value| value.to_str().ok()).map(str::to_owned),
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    }
}
