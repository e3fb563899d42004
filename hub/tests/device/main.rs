//! A hub with few places, and more who knock than there are places for.

#[path = "../common/joined.rs"]
mod joined;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use joined::{Blocking, admin_of, ask, join, open};
use rustls::ClientConfig;

/// A hub in a process of its own that may open few files.
struct Small {
    process: Child,
    api: SocketAddr,
    devices: SocketAddr,
    dir: tempfile::TempDir,
}

impl Small {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut process = Command::new("sh")
            .args(["-c", "ulimit -n 300 && exec \"$0\" hub --state \"$1\" --api 127.0.0.1:0 --devices 127.0.0.1:0"])
            .arg(env!("CARGO_BIN_EXE_lichen"))
            .arg(dir.path())
            .env("LICHEN_LOG", "off")
            .stdout(Stdio::piped())
            .spawn()
            .expect("a hub");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let mut next = |what: &str| {
            let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with(what)));
            let line = line.expect("the hub starts").expect("text");
            let shown = line.split_whitespace().nth(1).expect("where").to_owned();
            shown.rsplit("://").next().expect("where").to_owned()
        };
        let address = |shown: String| shown.parse().expect("an address");
        let (api, devices) = (address(next("hub ")), address(next("devices ")));
        // The last line: before, the hub would have nobody to write to.
        next("state ");
        Self { process, api, devices, dir }
    }
}

impl Small {
    /// Asks the API on a connection of its own, and reads the whole answer.
    fn get(&self, path: &str) -> String {
        ask(self.api, admin_of(self.dir.path()), &format!("GET {path}"), "")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }
}

/// With every place for devices taken and hundreds knocking, the API answers.
#[test]
fn the_api_answers_while_devices_knock_in_vain() {
    let hub = Small::start();
    let knocking: Vec<_> =
        (0..500).map(|_| TcpStream::connect(hub.devices).expect("a backlog")).collect();
    for _ in 0..20 {
        let answer = hub.get("/readyz");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // 300 less 64 files, 64 uploads, the listener, 16 connections of HTTP and those who come and go; half of that for the
    // API, and a quarter of that for what is downloaded.
    let metrics = hub.get("/metrics");
    assert!(metrics.contains("\nlichen_link_devices_limit 34\n"), "{metrics}");
    drop(knocking);
}

/// A stranger may ask as often as it shakes hands.
#[test]
fn who_is_no_device_asks_once_on_a_connection_and_a_device_as_often_as_it_likes() {
    let hub = Small::start();
    let device = join(hub.dir.path(), hub.api, hub.devices, "pi");
    let asked_twice = |config: ClientConfig| {
        let mut stream = open(hub.devices, config);
        let request = "GET /lichen/v1/connect HTTP/1.1\r\nhost: localhost\r\n";
        write!(stream, "{request}\r\n{request}connection: close\r\n\r\n").expect("it reads");
        let mut answers = String::new();
        stream.read_to_string(&mut answers).expect("it answers and ends");
        answers.matches("HTTP/1.1 ").count()
    };
    assert_eq!(asked_twice(device.shows()), 2);
    let authority = device.facts["ca"].as_str().expect("an authority");
    assert_eq!(asked_twice(joined::shows(authority, None)), 1);
}

/// Downloads that nobody reads to their end: as many as may be under way are, the next ones are told to come later, and
/// everything else is answered, with every place for devices taken besides.
#[test]
fn the_api_answers_while_as_many_download_as_may() {
    let hub = Small::start();
    // More than the sockets of both sides take.
    let blob = vec![7; 24 << 20];
    let digest = lichen_images::Digest::of(&blob);
    let admin = || admin_of(hub.dir.path());
    let mut push = open(hub.api, admin());
    let head = format!(
        "POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        blob.len()
    );
    push.write_all(head.as_bytes()).expect("it reads");
    push.write_all(&blob).expect("it reads");
    let mut answer = String::new();
    push.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let device = join(hub.dir.path(), hub.api, hub.devices, "pi");
    let path = format!("/artefacts/{digest}");
    let fetched = begin(hub.devices, device.shows(), &path);
    assert!(fetched.1.starts_with("HTTP/1.1 200"), "{}", fetched.1);
    drop(fetched);

    let _knocking: Vec<_> =
        (0..200).map(|_| TcpStream::connect(hub.devices).expect("a backlog")).collect();
    let path = format!("/v2/app/blobs/{digest}");
    {
        let under_way: Vec<Blocking> = (0..13).map(|_| begin(hub.api, admin(), &path).0).collect();
        for _ in 0..40 {
            let (_, head) = begin(hub.api, admin(), &path);
            assert!(
                head.starts_with("HTTP/1.1 429") && head.contains("\r\nretry-after: 1\r\n"),
                "{head}"
            );
        }
        assert!(hub.get("/healthz").starts_with("HTTP/1.1 200"));
        assert!(hub.get("/api/v1/nodes").starts_with("HTTP/1.1 200"));
        drop(under_way);
        // The hub notices when it writes next: at once, for the sockets are full.
        while !begin(hub.api, admin(), &path).1.starts_with("HTTP/1.1 200") {}
        // And each of them: or the next path would not get as many.
        let mut again = Vec::new();
        while again.len() < 13 {
            let (stream, head) = begin(hub.api, admin(), &path);
            if head.starts_with("HTTP/1.1 200") {
                again.push(stream);
            }
        }
        drop(again);
        while !hub.get("/metrics").contains("\nlichen_api_connections 1\n") {}
    }
}

/// Asks for something, and reads the head of the answer and no more.
fn begin(address: SocketAddr, config: ClientConfig, path: &str) -> (Blocking, String) {
    let mut stream = open(address, config);
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .expect("it reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.extend(byte);
    }
    (stream, String::from_utf8(head).expect("text"))
}
