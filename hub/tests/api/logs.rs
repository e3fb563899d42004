//! Logs over HTTP, with a device that is played: a real connection to the hub's own broker, and answers on command. It
//! checks the hub's signatures, as a device does.

use std::{sync::Arc, time::Duration};

use firmware_compat::{
    frame::{self, Frame, Kind, Message, Stamp},
    guard::Guard,
    id::{AgentId, BootId, KeyId, Lineage, PublicKey},
    keys::{PinnedHub, SigningKeys},
    signed::Signature,
    topic::Topic,
    v1::owned::{Action, Bytes, Command, Hello, List, Outcome, Reply, Runtime, RuntimeClass, Text},
};
use lichen_hub::{server, store::MemoryStore};
use lichen_images::Digest;
use lichen_link::client::{Client, ClientConfig, Down, Handler, RetryPolicy, Route, Tls, Way};
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::{sync::mpsc, time::timeout};

use crate::support::{DEADLINE, DEPLOYMENTS, Hub, Stream, config, deployment};

const DEVICE: &str = "pi";
/// Of its connection.
const SESSION: u32 = 7;
const PODS: &str = "/api/v1/namespaces/default/pods";

/// A device that the test speaks for.
struct Device {
    client: Client,
    commands: mpsc::Receiver<Command>,
    sequence: u32,
}

struct Ears {
    guard: Guard,
    up: mpsc::Sender<()>,
    commands: mpsc::Sender<Command>,
}

impl Handler for Ears {
    async fn up(&mut self) {
        let _gone = self.up.send(()).await;
    }

    async fn down(&mut self, _why: &Down) {}

    async fn message(&mut self, topic: &str, bytes: &[u8]) {
        let topic = Topic::parse(topic).expect("a topic of ours");
        if topic.kind == Kind::Command {
            let frame = Frame::parse(bytes).expect("a frame");
            let command = self.guard.open(&frame, topic.device).expect("the hub has signed it");
            let _gone = self.commands.send(command).await;
        }
    }
}

fn text<const N: usize>(text: &str) -> Text<N> {
    text.try_into().expect("short")
}

impl Device {
    async fn connect(hub: &Hub) -> Self {
        let joined = hub.join(DEVICE).await;
        let mut config = joined.shows();
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        let name = ServerName::try_from("lichen-hub").expect("a name");
        let tls = Some(Tls { config: Arc::new(config), name: Some(name) });
        let (up, mut is_up) = mpsc::channel(4);
        let (to_test, commands) = mpsc::channel(16);
        let second = Duration::from_secs(1);
        let client = ClientConfig {
            route: Route::fixed(Way { places: vec![hub.running.devices().into()], tls }),
            client_id: DEVICE.into(),
            keep_alive: Duration::from_secs(60),
            subscriptions: vec![format!("lichen/1/{DEVICE}/down/#"), "lichen/1/all/down/#".into()],
            retry: RetryPolicy { first: second, longest: second, unwelcome: second },
            outbox_bytes: 64 * 1024,
        };
        let pinned = pin(&joined.facts);
        let mut guard = Guard::new(verify, Some(pinned), 0);
        guard.connected(SESSION);
        let client = Client::start(client, Ears { guard, up, commands: to_test });
        timeout(DEADLINE, is_up.recv()).await.expect("connected in time");
        let mut device = Self { client, commands, sequence: 0 };
        let keys: Vec<KeyId> = pinned.keys.ids().collect();
        device.say(&Hello { keys: keys.try_into().expect("one or two"), ..hello() });
        device
    }

    fn say<M: Message>(&mut self, message: &M) {
        self.sequence += 1;
        let stamp = Stamp { session: SESSION, sequence: self.sequence };
        let frame = frame::encode(message, stamp).expect("a frame");
        assert!(self.client.send(Topic::up(DEVICE, M::KIND).to_string(), frame));
    }

    fn answer(&mut self, command: u64, part: u32, outcome: Outcome) {
        self.say(&Reply { command, part, outcome });
    }

    async fn command(&mut self) -> Command {
        timeout(DEADLINE, self.commands.recv())
            .await
            .expect("a command in time")
            .expect("a command")
    }
}

/// What a device learns of a hub at their first contact.
fn pin(connect: &serde_json::Value) -> PinnedHub {
    let keys = connect["signingKeys"].as_array().expect("a list");
    let key = |key: &serde_json::Value| PublicKey::parse(key.as_str()?);
    let keys: Vec<PublicKey> = keys.iter().map(|it| key(it).expect("a key")).collect();
    let lineage = connect["lineage"].as_str().and_then(Lineage::parse).expect("a lineage");
    PinnedHub { lineage, keys: SigningKeys::new(&keys).expect("one or two") }
}

fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key.0);
    key.verify(message, signature).is_ok()
}

fn hello() -> Hello {
    let runtime = Runtime {
        runtime_class: RuntimeClass::Container,
        name: text("crun"),
        version: text("1"),
        usable: true,
        limits_enforced: true,
        reason: text(""),
    };
    let mut runtimes = List::default();
    runtimes.push(runtime).expect("room");
    Hello {
        agent: AgentId([1; 16]),
        boot: BootId([2; 16]),
        version: text("0.1.0"),
        arch: text("amd64"),
        os: text("linux"),
        kernel: text("6"),
        cpu_features: List::default(),
        cpu_milli: 1000,
        memory_bytes: 1 << 30,
        disk_bytes: 1 << 30,
        storage: Default::default(),
        runtimes,
        wasm: None,
        labels: List::default(),
        assignment: None,
        clock_ms: 0,
        max_assignment_bytes: 1 << 20,
        keys: List::default(),
        conditions: List::default(),
    }
}

fn data(text: &str) -> Outcome {
    Outcome::Data(Bytes::try_from(text.as_bytes().to_vec()).expect("short"))
}

/// A hub with its own broker, a device, and a Pod on it. Gives the path of the Pod's log.
async fn placed() -> (Hub, Device, String) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let config = config(dir.path().to_owned());
    let running = server::start_on(config, Box::new(MemoryStore::default())).await.expect("start");
    let hub = Hub { running, dir };
    push_image(&hub).await;
    let device = Device::connect(&hub).await;
    hub.put("POST", DEPLOYMENTS, &deployment("web", "web:1")).await.expect(201);
    let mut watch = hub.watch(&format!("{PODS}?watch=true")).await;
    loop {
        let pod = watch.next().await.expect("a change");
        if pod["object"]["spec"]["nodeName"] == DEVICE {
            let name = pod["object"]["metadata"]["name"].as_str().expect("a name");
            return (hub, device, format!("{PODS}/{name}/log"));
        }
    }
}

async fn push_image(hub: &Hub) {
    let push = async |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        let path = format!("/v2/web/blobs/uploads/?digest={digest}");
        assert_eq!(hub.send("POST", &path, &[], bytes).await.code, 201);
        json!({"digest": digest, "size": bytes.len()})
    };
    let layer = [0; 1024];
    let config = json!({"architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]}});
    let mut config = push(config.to_string().as_bytes()).await;
    config["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
    let mut layer = push(&layer).await;
    layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]});
    let headers = [("content-type", kind)];
    let reply =
        hub.send("PUT", "/v2/web/manifests/1", &headers, manifest.to_string().as_bytes()).await;
    assert_eq!(reply.code, 201, "{}", reply.text());
}

async fn open(hub: &Hub, path: &str) -> Stream {
    hub.open("GET", path, &[], b"").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_streamed_as_its_device_sends_it() {
    let (hub, mut device, path) = placed().await;
    let path = format!("{path}?container=main&follow=true&tailLines=5&previous=true&timestamps=1");
    let reading = async {
        let mut log = open(&hub, &path).await;
        assert_eq!(
            (log.code, log.headers["content-type"].as_str()),
            (200, "text/plain; charset=utf-8")
        );
        let first = log.line().await;
        (log, first)
    };
    let answering = async {
        let command = device.command().await;
        let Action::Logs { container: _, follow, tail, previous, timestamps, .. } = command.action
        else {
            panic!("not a log: {command:?}")
        };
        assert_eq!((follow, tail, previous, timestamps), (true, Some(5), true, true));
        device.answer(command.id, 0, data("first\nsec"));
        command.id
    };
    let ((mut log, first), command) = tokio::join!(reading, answering);
    assert_eq!(first.as_deref(), Some("first"));
    device.answer(command, 1, data("ond\n"));
    assert_eq!(log.line().await.as_deref(), Some("second"));
    device.answer(command, 2, Outcome::Done);
    assert_eq!(log.line().await, None);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_leaves_stops_the_device_from_sending() {
    let (hub, mut device, path) = placed().await;
    let path = format!("{path}?follow=true");
    let (log, command) = tokio::join!(open(&hub, &path), async {
        let command = device.command().await;
        device.answer(command.id, 0, data("x\n"));
        command
    });
    drop(log);
    let cancel = device.command().await;
    assert_eq!(cancel.action, Action::Cancel { command: command.id });
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_read_says_why() {
    let (hub, mut device, path) = placed().await;
    let failed = |reason: &str| Outcome::Failed {
        reason: text(reason),
        message: text("there is no earlier run"),
    };
    let at_once = format!("{path}?previous=true");
    let (reply, ()) = tokio::join!(hub.get(&at_once), async {
        let command = device.command().await;
        device.answer(command.id, 0, failed("NoPreviousRun"));
    });
    assert_eq!(reply.refusal(), "503 NoPreviousRun: there is no earlier run");

    let (mut log, ()) = tokio::join!(open(&hub, &path), async {
        let command = device.command().await;
        device.answer(command.id, 0, data("x\n"));
        device.answer(command.id, 1, failed("Gone"));
    });
    assert_eq!(log.line().await.as_deref(), Some("x"));
    let last = log.line().await.expect("the reason");
    assert_eq!(last, "lichen: the log ends here: there is no earlier run (Gone)");
    assert_eq!(log.line().await, None);

    let wrong = hub.get(&format!("{path}?container=other")).await.refusal();
    assert!(wrong.starts_with("400 BadRequest: container other is not in pod web-"), "{wrong}");
    let unsupported = hub.get(&format!("{path}?sinceSeconds=5")).await.refusal();
    assert!(unsupported.contains("does not support the parameter sinceSeconds"), "{unsupported}");
    assert_eq!(hub.get(&format!("{PODS}/absent/log")).await.code, 404);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_a_session_is_ready() {
    let (hub, _device, _path) = placed().await;
    assert_eq!(hub.get("/readyz").await.text(), "ok");
    let node = hub.get(&format!("/api/v1/nodes/{DEVICE}")).await.expect(200);
    assert_eq!(node["status"]["nodeInfo"]["architecture"], "amd64");
    hub.running.stop().await.expect("stop");
}
