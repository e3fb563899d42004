//! Reports what the engine's turns cost at a size: `cargo run --release -p lichen-hub-core --example turns -- 10000`.
//! It asserts nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant as Clock},
};

use firmware_compat::{
    frame::{self, Kind as FrameKind, Message, Stamp},
    id::{AgentId, BootId, PodId, PublicKey},
    keys::SigningKeys,
    signed::Signature,
    time::Instant,
    v1::owned::{
        Artefacts, Blob, Hello, List, Phase, PodStatus, Runtime, RuntimeClass, Status, Text,
    },
};
use lichen_hub_core::{
    actor::Actor,
    api::{Kind, Object},
    effect::Effect,
    engine::{Config, Engine},
    event::{Event, Now, Request, RequestId},
    signing::Sign,
};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;

/// A hub's key.
#[derive(Debug)]
struct Signer(Ed25519KeyPair);

fn signer() -> Signer {
    Signer(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("any 32 bytes are a seed"))
}

impl Sign for Signer {
    fn keys(&self) -> SigningKeys {
        SigningKeys::one(PublicKey(self.0.public_key().as_ref().try_into().expect("32 bytes")))
    }

    fn sign(&self, message: &[u8]) -> Signature {
        self.0.sign(message).as_ref().try_into().expect("64 bytes")
    }
}

struct Bench {
    engine: Engine,
    now: u64,
    sequence: u32,
}

impl Bench {
    fn turn(&mut self, event: Event) -> Duration {
        self.now += 1;
        let now = Now { instant: Instant(self.now), unix_ms: 1_767_225_600_000 + self.now };
        let begin = Clock::now();
        self.engine.handle(event, now);
        let mut supplies = Vec::new();
        loop {
            let effects = self.engine.drain();
            if effects.is_empty() {
                break;
            }
            supplies.extend(effects.into_iter().filter_map(|effect| match effect {
                Effect::Supply(need) => Some(need),
                _ => None,
            }));
        }
        let took = begin.elapsed();
        for need in supplies {
            let blob = Blob { digest: need.root, size: 1 };
            let result = Ok(Artefacts::Image { config: blob, layers: List::default() });
            self.turn(Event::Supplied { need, result });
        }
        took
    }

    fn frame<M: Message>(&mut self, device: usize, message: &M) -> Duration {
        self.sequence += 1;
        let stamp = Stamp { session: 1, sequence: self.sequence };
        let bytes = frame::encode(message, stamp).expect("it fits a frame");
        self.turn(Event::Frame { device: format!("d{device:05}"), kind: M::KIND, bytes })
    }

    fn hello(&mut self, device: usize) -> Duration {
        let hello = Hello {
            agent: AgentId([1; 16]),
            boot: BootId([1; 16]),
            version: Text::cut("1"),
            arch: Text::cut("amd64"),
            os: Text::cut("linux"),
            kernel: Text::default(),
            cpu_features: List::default(),
            cpu_milli: 64_000,
            memory_bytes: 64 << 30,
            disk_bytes: 1 << 30,
            storage: Default::default(),
            runtimes: List::try_from(vec![Runtime {
                runtime_class: RuntimeClass::Container,
                name: Text::cut("crun"),
                version: Text::cut("1"),
                usable: true,
                limits_enforced: true,
                reason: Text::default(),
            }])
            .expect("one"),
            wasm: None,
            labels: List::default(),
            assignment: None,
            clock_ms: 0,
            max_assignment_bytes: 1 << 20,
            keys: List::try_from(signer().keys().ids().collect::<Vec<_>>()).expect("one"),
            conditions: List::default(),
        };
        self.frame(device, &hello)
    }

    fn status(&mut self, device: usize, phase: Phase) -> Duration {
        let name = format!("d{device:05}");
        let status = |pod: &lichen_hub_core::pod::Pod| PodStatus {
            id: PodId(pod.id.0),
            identity: pod.identity,
            phase,
            reason: Text::default(),
            message: Text::default(),
            init_containers: List::default(),
            containers: List::default(),
        };
        let pods = self.engine.state().pods.pods_on(&name);
        let pods: Vec<_> = pods.filter(|pod| pod.deleting.is_none()).map(status).collect();
        let status = Status {
            assignment: None,
            full: false,
            more: false,
            pods: List::try_from(pods).unwrap_or_default(),
            removed: List::default(),
        };
        self.frame(device, &status)
    }

    fn apply(&mut self, kind: Kind, spec: serde_json::Value) -> Duration {
        let mut object = json!({"apiVersion": "apps/v1", "kind": kind.as_str(),
            "metadata": {"name": "load"}, "spec": {"selector": {"matchLabels": {"app": "load"}},
                "template": {"metadata": {"labels": {"app": "load"}},
                    "spec": {"containers": [{"name": "main", "image": "hello:1"}]}}}});
        for (field, value) in spec.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        let json = serde_json::to_vec(&object).expect("it is JSON");
        let object = Object::from_json(kind, &json).expect("it fits its type");
        let request = Request::Replace { object, create: true };
        self.turn(Event::Request { id: RequestId(self.now), actor: Actor::hub().into(), request })
    }
}

fn mean(times: &[Duration]) -> Duration {
    times.iter().sum::<Duration>() / u32::try_from(times.len()).unwrap_or(1).max(1)
}

fn main() {
    let count: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let now = Now { instant: Instant(0), unix_ms: 1_767_225_600_000 };
    let engine =
        Engine::load([], Config::default(), Arc::new(signer()), now).expect("an empty store loads");
    let mut bench = Bench { engine, now: 0, sequence: 0 };
    bench.turn(Event::LinkUp);
    let reference = "hello:1".to_owned();
    let root = firmware_compat::id::Hash([7; 32]);
    bench.turn(Event::Request {
        id: RequestId(0),
        actor: Actor::hub().into(),
        request: Request::NameImage { reference, root },
    });
    let report = |what: &str, took: Duration| println!("{what:<55} {took:?}");
    let hellos: Vec<_> = (0..count).map(|device| bench.hello(device)).collect();
    report("first hello of a device, mean", mean(&hellos));
    report("apply of a DaemonSet over all", bench.apply(Kind::DaemonSet, json!({})));
    let replicas =
        json!({"replicas": count, "strategy": {"rollingUpdate": {"maxUnavailable": "10%"}}});
    report("apply of a Deployment of as many", bench.apply(Kind::Deployment, replicas));
    let ready: Vec<_> = (0..count).map(|device| bench.status(device, Phase::Running)).collect();
    report("status that makes two Pods ready, mean", mean(&ready));
    let same: Vec<_> = (0..count).map(|device| bench.hello(device)).collect();
    report("hello that changes nothing, mean", mean(&same));
    let fails: Vec<_> = (0..1000.min(count))
        .flat_map(|device| {
            [bench.status(device, Phase::Backoff), bench.status(device, Phase::Running)]
        })
        .collect();
    report("status of a Pod that fails or runs again, mean", mean(&fails));
    let twice =
        json!({"replicas": 2 * count, "strategy": {"rollingUpdate": {"maxUnavailable": "10%"}}});
    report("apply of a Deployment of twice as many", bench.apply(Kind::Deployment, twice));
    let kind = FrameKind::Hello;
    report(
        "a frame that does not decode",
        bench.turn(Event::Frame { device: "d00000".to_owned(), kind, bytes: vec![1; 40] }),
    );
}
