//! A hub and clients that take its devices' places: one that is replaced by another, and more than there may be. Every
//! command of `docs/device-endpoint.md` is run by `tests/tests/system/docs.rs`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
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

/// A hub that may open few files: with every place for devices taken and hundreds knocking, the API answers.
#[test]
fn the_api_answers_while_devices_knock_in_vain() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut hub = Command::new("sh")
        .args(["-c", "ulimit -n 300 && exec \"$0\" hub --state \"$1\" --api 127.0.0.1:0 --broker 127.0.0.1:0"])
        .arg(env!("CARGO_BIN_EXE_lichen"))
        .arg(dir.path())
        .env("LICHEN_LOG", "off")
        .stdout(Stdio::piped())
        .spawn()
        .expect("a hub");
    let mut lines = BufReader::new(hub.stdout.take().expect("it is piped")).lines();
    let mut address = |what: &str| {
        let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with(what)));
        let line = line.expect("the hub starts").expect("text");
        let url = line.split_whitespace().nth(1).expect("a URL").to_owned();
        url.split_once("://").expect("a URL").1.to_owned()
    };
    let (api, broker) = (address("hub "), address("broker "));
    let knocking: Vec<_> =
        (0..500).map(|_| TcpStream::connect(&broker).expect("a backlog")).collect();
    for _ in 0..20 {
        let answer = get(&api, "/readyz");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // 300 less a quarter for the API, 128 files, the listener and those who come and go.
    let metrics = get(&api, "/metrics");
    assert!(metrics.contains("\nlichen_link_devices_limit 31\n"), "{metrics}");
    drop(knocking);
    hub.kill().expect("it runs");
    hub.wait().expect("it ends");
}

/// Asks the API on a connection of its own.
fn get(api: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(api).expect("the API listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {api}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}
