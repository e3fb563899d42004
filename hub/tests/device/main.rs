//! A hub and clients that take its devices' places: one that is replaced by another, and more than there may be. Every
//! command of `docs/device-endpoint.md` is run by `tests/tests/system/docs.rs`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use lichen_hub::{
    server::{self, Broker, HubConfig, Running},
    store::MemoryStore,
};
use tokio::runtime::Runtime;

/// A hub in this process, with its endpoint for devices on a free port.
struct Hub {
    runtime: Runtime,
    running: Option<Running>,
    _dir: tempfile::TempDir,
    port: String,
}

impl Hub {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let runtime = Runtime::new().expect("a runtime");
        let any = "127.0.0.1:0".parse().expect("an address");
        let config = HubConfig::new(dir.path().join("state"), any, Broker::Embedded(any));
        let store = Box::new(MemoryStore::default());
        let running = runtime.block_on(server::start_on(config, store)).expect("a hub");
        let port = running.broker().rsplit(':').next().expect("a port").to_owned();
        Self { runtime, running: Some(running), _dir: dir, port }
    }

    /// Runs commands that find the port in `$PORT`. Gives all that they print.
    fn run(&self, commands: &str) -> String {
        let ran = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{commands}")])
            .env("PORT", &self.port)
            .stdin(Stdio::null())
            .output()
            .expect("a shell");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop()).expect("it stops");
        }
    }
}

/// Two clients of one kind with one name: the older is told.
#[test]
#[ignore = "needs mosquitto_sub: run by make test"]
fn a_replaced_mosquitto_client_is_told_so() {
    let hub = Hub::start();
    let older = "stdbuf -oL mosquitto_sub -d -V 5 -p $PORT -i twin -t 'lichen/1/twin/down/#' -W 20 > \"$OUT\" 2>&1 & older=$!";
    let newer = "mosquitto_sub -V 5 -p $PORT -i twin -t 'lichen/1/twin/down/#' -E";
    let until = "until grep -q Subscribed \"$OUT\"; do sleep 0.05; done";
    let script = format!(
        "OUT=$(mktemp); {older}\n{until}\n{newer}\n\
         until grep -q 'Received DISCONNECT (142)' \"$OUT\"; do sleep 0.05; done\n\
         kill $older; cat \"$OUT\"; rm \"$OUT\""
    );
    let said = hub.run(&format!("timeout 60 sh -c '{}'", script.replace('\'', "'\\''")));
    assert!(said.contains("Received DISCONNECT (142)"), "{said}");
}

/// A hub in a process of its own that may open few files.
struct Small {
    process: Child,
    api: String,
    devices: String,
    _dir: tempfile::TempDir,
}

impl Small {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut process = Command::new("sh")
            .args(["-c", "ulimit -n 300 && exec \"$0\" hub --state \"$1\" --api 127.0.0.1:0 --broker 127.0.0.1:0"])
            .arg(env!("CARGO_BIN_EXE_lichen"))
            .arg(dir.path())
            .env("LICHEN_LOG", "off")
            .stdout(Stdio::piped())
            .spawn()
            .expect("a hub");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let mut address = |what: &str| {
            let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with(what)));
            let line = line.expect("the hub starts").expect("text");
            let shown = line.split_whitespace().nth(1).expect("where").to_owned();
            shown.rsplit("://").next().expect("where").to_owned()
        };
        let (api, devices) = (address("hub "), address("devices "));
        // The last line: before, the hub would have nobody to write to.
        address("state ");
        Self { process, api, devices, _dir: dir }
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
        (0..500).map(|_| TcpStream::connect(&hub.devices).expect("a backlog")).collect();
    for _ in 0..20 {
        let answer = get(&hub.api, "/readyz");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // 300 less 64 files, 64 uploads, the listener and those who come and go; half of that for the API, and a quarter of
    // that for what is downloaded.
    let metrics = get(&hub.api, "/metrics");
    assert!(metrics.contains("\nlichen_link_devices_limit 40\n"), "{metrics}");
    drop(knocking);
}

/// Downloads that nobody reads to their end: as many as may be under way are, the next ones are told to come later, and
/// everything else is answered, with every place for devices taken besides.
#[test]
fn the_api_answers_while_as_many_download_as_may() {
    let hub = Small::start();
    // More than the sockets of both sides take.
    let blob = vec![7; 24 << 20];
    let digest = lichen_images::Digest::of(&blob);
    let mut push = TcpStream::connect(&hub.api).expect("the API listens");
    let head = format!(
        "POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        hub.api,
        blob.len()
    );
    push.write_all(head.as_bytes()).expect("it reads");
    push.write_all(&blob).expect("it reads");
    let mut answer = String::new();
    push.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");

    let _knocking: Vec<_> =
        (0..200).map(|_| TcpStream::connect(&hub.devices).expect("a backlog")).collect();
    for path in [format!("/artefacts/{digest}"), format!("/v2/app/blobs/{digest}")] {
        let under_way: Vec<TcpStream> = (0..13).map(|_| begin(&hub.api, &path).0).collect();
        for _ in 0..40 {
            let (_, head) = begin(&hub.api, &path);
            assert!(
                head.starts_with("HTTP/1.1 429") && head.contains("\r\nretry-after: 1\r\n"),
                "{head}"
            );
        }
        assert!(get(&hub.api, "/healthz").starts_with("HTTP/1.1 200"));
        assert!(get(&hub.api, "/api/v1/nodes").starts_with("HTTP/1.1 200"));
        drop(under_way);
        // The hub notices when it writes next: at once, for the sockets are full.
        while !begin(&hub.api, &path).1.starts_with("HTTP/1.1 200") {}
        // And each of them: or the next path would not get as many.
        let mut again = Vec::new();
        while again.len() < 13 {
            let (stream, head) = begin(&hub.api, &path);
            if head.starts_with("HTTP/1.1 200") {
                again.push(stream);
            }
        }
        drop(again);
        while !get(&hub.api, "/metrics").contains("\nlichen_api_connections 1\n") {}
    }
}

/// Asks for something, and reads the head of the answer and no more.
fn begin(api: &str, path: &str) -> (TcpStream, String) {
    let mut stream = ask(api, path);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.extend(byte);
    }
    (stream, String::from_utf8(head).expect("text"))
}

/// Asks the API on a connection of its own, and reads the whole answer.
fn get(api: &str, path: &str) -> String {
    let mut answer = String::new();
    ask(api, path).read_to_string(&mut answer).expect("it answers");
    answer
}

fn ask(api: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(api).expect("the API listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {api}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    stream
}
