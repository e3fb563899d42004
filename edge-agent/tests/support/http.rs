//! A hub's HTTP server, small enough to misbehave on purpose.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use firmware_compat::{id::Hash, v1::owned::Blob};
use sha2::{Digest, Sha256};

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

#[derive(Default)]
struct Shared {
    documents: BTreeMap<String, Vec<u8>>,
    faults: Vec<Fault>,
    /// Path and range of every request.
    requests: Vec<(String, Option<u64>)>,
}

/// The server. It ends with the test.
pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let served = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = served.clone();
                thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn put(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.shared.lock().unwrap().documents.insert(path.to_owned(), body.into());
    }

    /// Serves bytes under their digest.
    pub fn put_artefact(&self, bytes: &[u8]) -> Blob {
        let digest = Hash(Sha256::digest(bytes).into());
        self.put(&format!("/artefacts/sha256:{digest}"), bytes);
        Blob { digest, size: bytes.len() as u64 }
    }

    /// The next answers misbehave, one fault each.
    pub fn misbehave(&self, faults: &[Fault]) {
        self.shared.lock().unwrap().faults = faults.iter().rev().copied().collect();
    }

    pub fn requests(&self) -> Vec<(String, Option<u64>)> {
        self.shared.lock().unwrap().requests.clone()
    }
}

fn serve(stream: &TcpStream, shared: &Mutex<Shared>) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut range = None;
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        if let Some(from) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            range = from.trim_end_matches('-').parse::<u64>().ok();
        }
    }
    let (body, fault) = {
        let mut shared = shared.lock().unwrap();
        shared.requests.push((path.clone(), range));
        (shared.documents.get(&path).cloned(), shared.faults.pop())
    };
    let mut out = stream;
    let Some(mut body) = body else {
        let _ = out
            .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return;
    };
    if fault == Some(Fault::Corrupts) {
        body.iter_mut().for_each(|byte| *byte ^= 1);
    }
    let total = body.len();
    let head = match range {
        Some(from) if fault != Some(Fault::IgnoresRange) => {
            if from as usize >= total {
                let _ = out
                    .write_all(b"HTTP/1.1 416 Range Not Satisfiable\r\ncontent-length: 0\r\n\r\n");
                return;
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
    let _ = out.write_all(head.as_bytes()).and_then(|()| out.write_all(&body));
}
