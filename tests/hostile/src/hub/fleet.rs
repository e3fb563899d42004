//! A store, a broker and three devices around the hub's engine. Every turn's effects are checked before they are
//! carried out.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::OnceLock,
};

use firmware_compat::{
    capacity::full as capacity,
    frame::{self, Kind as FrameKind, Message, Stamp},
    id::{AgentId, BootId, Generation, Hash, PodId},
    sealed::about,
    time::Instant,
    topic,
    v1::owned::{
        Action, Artefacts, Assignment, AssignmentId, Blob, Command, ContainerState,
        ContainerStatus, Head, Hello, Layer, List, Packing, Part, Phase, Pod, PodStatus, Runtime,
        RuntimeClass, Sealed, Status, Text, Want, WasmSupport,
    },
};
use lichen_hub_core::{
    actor::Actor,
    api::{Kind, Object},
    device::LAST_GENERATION,
    effect::{Effect, Response},
    engine::{Config, Engine},
    event::{Event, ImageError, ImageRequest, Now, Platform, Request, RequestId},
    record::{self, LoadError},
};

use super::seals;
use crate::hub_key;

/// Three devices, and two that can't be.
pub const NAMES: [&str; 5] = ["board-1", "board-2", "board-3", "Board", "all"];
/// Effects of one turn: objects, events and frames for each of a few devices and Pods.
const MOST_EFFECTS: usize = 4096;
const START_MS: u64 = 1_767_225_600_000;

/// What the store holds: value by key.
pub type Records = BTreeMap<String, Vec<u8>>;

pub struct Fleet {
    engine: Engine,
    records: Records,
    starts: u8,
    now: u64,
    devices: Vec<Device>,
    needs: VecDeque<ImageRequest>,
    requests: u64,
    log: Option<RequestId>,
    command: Option<u64>,
    log_parts: usize,
}

#[derive(Default)]
struct Device {
    session: u32,
    sequence: u32,
    /// The newest assignment that the hub published.
    newest: Option<AssignmentId>,
    body: BTreeMap<u32, Vec<u8>>,
    /// Parts that it was sent, whole or not.
    parts: BTreeMap<Hash, BTreeMap<u32, Vec<u8>>>,
    held: Option<AssignmentId>,
    pods: Vec<(PodId, Hash)>,
}

impl Fleet {
    /// A hub with two workloads and two devices that have taken their assignment.
    pub fn new() -> Self {
        Self::open(Self::beginning()).expect("the hub loads what it saved")
    }

    /// The records of [`Self::new`]; made once.
    pub fn beginning() -> Records {
        static BEGINNING: OnceLock<Records> = OnceLock::new();
        let made = BEGINNING.get_or_init(|| {
            let mut fleet = Self::open(Records::new()).expect("an empty store loads");
            fleet.set_up();
            fleet.records
        });
        made.clone()
    }

    /// A hub that loads these records.
    pub fn open(records: Records) -> Result<Self, LoadError> {
        let now = Now { instant: Instant(0), unix_ms: START_MS };
        let starts = if records.is_empty() { 1 } else { 2 };
        let engine = start(&records, starts, now)?;
        let devices = NAMES.map(|_| Device::default()).into();
        let (needs, log) = (VecDeque::new(), None);
        let mut fleet = Self {
            engine,
            records,
            starts,
            now: 0,
            devices,
            needs,
            requests: 0,
            log,
            command: None,
            log_parts: 0,
        };
        fleet.event(Event::LinkUp);
        Ok(fleet)
    }

    fn set_up(&mut self) {
        for (reference, root) in [("app:1", 1), ("module:1", 2)] {
            let root = Hash([root; 32]);
            let named = self.request(Request::NameImage { reference: reference.to_owned(), root });
            named.expect("an image can be named");
        }
        for which in 0..4 {
            self.ask(which, 2);
        }
        for (which, how) in [(13, 1), (14, 0), (14, 1)] {
            self.ask(which, how);
        }
        for device in 0..2 {
            self.hello(device, 0);
            while !self.needs.is_empty() {
                self.supply(0);
            }
            // What was supplied after the first generation is told once something was heard of the device.
            for _ in 0..2 {
                self.report(device, 3, 0);
            }
            assert!(!self.devices[device].pods.is_empty(), "something runs");
        }
    }

    fn clock(&self) -> Now {
        Now { instant: Instant(self.now), unix_ms: START_MS + self.now }
    }

    pub fn event(&mut self, event: Event) -> Vec<(RequestId, Result<Response, String>)> {
        self.engine.handle(event, self.clock());
        let mut replies = Vec::new();
        loop {
            let effects = self.engine.drain();
            if effects.is_empty() {
                return replies;
            }
            assert!(effects.len() <= MOST_EFFECTS, "{} effects at once", effects.len());
            for (index, effect) in effects.into_iter().enumerate() {
                if matches!(effect, Effect::Save(_)) {
                    assert_eq!(index, 0, "what must be durable comes first");
                }
                match effect {
                    Effect::Reply { id, result } => {
                        replies.push((id, result.map_err(|failure| failure.to_string())));
                    }
                    other => self.carry_out(other),
                }
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Save(batch) => {
                for record in batch {
                    let shown = record.value.as_deref().is_some_and(seals::shows);
                    assert!(!shown || record::is_confidential(&record.key), "stored in clear");
                    match record.value {
                        Some(value) => self.records.insert(record.key, value),
                        None => self.records.remove(&record.key),
                    };
                }
            }
            Effect::SetHead { device, frame } => self.on_head(&device, &frame),
            Effect::Send { device, kind, frame } => self.on_sent(&device, kind, &frame),
            Effect::SendAll { kind, frame } => {
                assert!(matches!(kind, FrameKind::Report | FrameKind::Time));
                assert_eq!(frame::Frame::parse(&frame).expect("the hub's frames parse").kind, kind);
                assert!(hub_key::is_signed(&frame, topic::ALL), "devices believe nothing else");
            }
            Effect::Supply(need) => {
                assert!(!self.needs.contains(&need), "asks twice for {need:?}");
                self.needs.push_back(need);
            }
            Effect::ClearHead { device }
            | Effect::Admit { device, .. }
            | Effect::Dismiss { device, .. }
            | Effect::Disown { device } => assert!(topic::is_device_name(&device)),
            Effect::Changed(change) => assert!(change.resource_version > 0),
            Effect::LogPart { .. } => self.log_parts += 1,
            Effect::Reply { .. } => {}
        }
    }

    fn on_head(&mut self, name: &str, bytes: &[u8]) {
        assert!(bytes.len() < 200, "a head is under 200 bytes");
        assert!(!seals::shows(bytes), "a head shows a Secret");
        assert!(hub_key::is_signed(bytes, name), "devices believe nothing else");
        let (_, head): (_, Head) = frame::decode(bytes).expect("the hub's heads decode");
        let Some(device) = self.device(name) else { return };
        if let Some(newest) = device.newest.filter(|n| n.lineage == head.assignment.lineage) {
            assert!(head.assignment.generation >= newest.generation, "a generation never falls");
            if head.assignment.generation == newest.generation {
                assert_eq!(head.assignment.hash, newest.hash, "one generation, one assignment");
            }
        }
        if device.newest != Some(head.assignment) {
            device.newest = Some(head.assignment);
            device.body.clear();
        }
    }

    fn on_sent(&mut self, name: &str, kind: FrameKind, bytes: &[u8]) {
        assert!(topic::is_device_name(name), "a frame for {name:?}");
        assert!(!seals::shows(bytes), "a frame for {name} shows a Secret");
        assert_eq!(frame::Frame::parse(bytes).expect("the hub's frames parse").kind, kind);
        assert_eq!(kind.direction(), topic::Direction::Down);
        assert!(hub_key::is_signed(bytes, name), "devices believe nothing else");
        if kind == FrameKind::Command {
            let (_, command): (_, Command) =
                frame::decode(bytes).expect("the hub's commands decode");
            if matches!(command.action, Action::Logs { .. }) {
                self.command = Some(command.id);
            }
        }
        if kind == FrameKind::Part {
            let (_, part): (_, Part) = frame::decode(bytes).expect("the hub's parts decode");
            assert!(part.offset as usize + part.bytes.len() <= part.length as usize);
            let Some(device) = self.device(name) else { return };
            if device.newest.is_some_and(|newest| newest.hash == part.hash) {
                assert!(part.length as usize <= capacity::BODY_BYTES);
                device.body.insert(part.offset, part.bytes.to_vec());
            } else {
                assert!(part.length as usize <= capacity::SEALED_PART_BYTES);
                let chunks = device.parts.entry(part.hash).or_default();
                chunks.insert(part.offset, part.bytes.to_vec());
            }
        }
    }

    fn device(&mut self, name: &str) -> Option<&mut Device> {
        let index = NAMES.iter().position(|known| *known == name)?;
        self.devices.get_mut(index)
    }

    /// A frame as it is.
    pub fn hear(&mut self, name: &str, kind: FrameKind, bytes: Vec<u8>) {
        self.event(Event::Frame { device: name.to_owned(), kind, bytes });
    }

    /// A body in the device's session.
    pub fn send(&mut self, device: usize, kind: FrameKind, body: &[u8]) {
        let sender = &mut self.devices[device];
        sender.sequence += 1;
        let mut bytes = vec![frame::VERSION, kind as u8];
        bytes.extend(sender.session.to_le_bytes());
        bytes.extend(sender.sequence.to_le_bytes());
        bytes.extend(body);
        self.hear(NAMES[device], kind, bytes);
    }

    /// A message in the device's session.
    pub fn say<M: Message>(&mut self, device: usize, message: &M) {
        let framed = frame::encode(message, Stamp::default()).expect("it fits a frame");
        self.send(device, M::KIND, &framed[frame::HEADER_BYTES..]);
    }

    pub fn hello(&mut self, device: usize, way: u8) {
        self.devices[device].session += 1;
        self.devices[device].sequence = 0;
        let held = match way & 3 {
            0 | 1 => self.devices[device].held,
            2 => None,
            _ => self.devices[device].held.map(|held| AssignmentId {
                // None that a hub counted up to; the last that one takes over; the next; one that this hub forgot.
                generation: Generation(match way >> 6 {
                    0 => u64::MAX,
                    1 => LAST_GENERATION.0,
                    2 => LAST_GENERATION.0 + 1,
                    _ => held.generation.0.saturating_add(5),
                }),
                ..held
            }),
        };
        self.say(device, &hello(device, way, held));
    }

    /// The device takes what it was told and says how each Pod does.
    pub fn report(&mut self, device: usize, phase: u8, way: u8) {
        if way & 1 == 0
            && let Some(newest) = self.devices[device].newest
            && let also = self.devices[device].missing(newest.hash)
            && (!also.is_empty() || self.devices[device].assembled(newest.hash).is_none())
        {
            self.say(device, &Want { hash: newest.hash, offset: 0, also });
        }
        let reporter = &mut self.devices[device];
        if way & 1 == 0
            && let Some(newest) = reporter.newest
            && let Some(pods) = reporter.assembled(newest.hash)
        {
            reporter.held = Some(newest);
            reporter.pods = pods.iter().map(|i| (i.id, i.identity)).collect();
        }
        let phases = [
            Phase::Waiting,
            Phase::Fetching,
            Phase::Starting,
            Phase::Running,
            Phase::Backoff,
            Phase::Stopping,
            Phase::Succeeded,
            Phase::Failed,
        ];
        let phase = phases[usize::from(phase) % phases.len()];
        let statuses: Vec<_> =
            reporter.pods.iter().map(|(id, identity)| status(*id, *identity, phase)).collect();
        let report = Status {
            assignment: reporter.held,
            full: way & 2 == 0,
            more: way & 4 != 0,
            pods: statuses
                .into_iter()
                .take(capacity::STATUS_PODS)
                .collect::<Vec<_>>()
                .try_into()
                .expect("taken"),
            removed: List::default(),
        };
        self.say(device, &report);
    }

    pub fn pass(&mut self, millis: u64) {
        self.now += millis;
        self.event(Event::Timeout);
        assert!(self.engine.poll_timeout().is_none_or(|at| at.0 > self.now), "a timer is stuck");
    }

    pub fn wake(&mut self) {
        if let Some(at) = self.engine.poll_timeout() {
            self.pass(at.0.saturating_sub(self.now));
        }
    }

    pub fn supply(&mut self, way: u8) {
        let Some(need) = self.needs.pop_front() else { return };
        let blob = Blob { digest: need.root, size: 1 };
        let result = match (way % 4, &need.target) {
            (2 | 3, _) => Err(ImageError {
                reason: "ImageHasNoBuild".to_owned(),
                message: "there is none".to_owned(),
                retry: way % 4 == 3,
            }),
            (_, Platform::Container { .. }) => {
                let layer = Layer { blob, packing: Packing::TarGzip };
                Ok(Artefacts::Image { config: blob, layers: vec![layer].try_into().expect("one") })
            }
            (_, Platform::Wasm(_)) => Ok(Artefacts::Wasm { module: need.root, compiled: blob }),
        };
        self.event(Event::Supplied { need, result });
    }

    /// The hub is killed and starts again: nothing that it accepted is missing, and devices hear of no older generation.
    pub fn restart(&mut self) {
        let before = self.everything();
        self.starts = self.starts.wrapping_add(1);
        self.engine =
            start(&self.records, self.starts, self.clock()).expect("the hub loads what it saved");
        self.needs.clear();
        self.log = None;
        self.event(Event::LinkUp);
        assert_eq!(self.everything(), before, "a restart changes nothing that was accepted");
    }

    fn everything(&mut self) -> Vec<String> {
        let kinds = [
            Kind::Namespace,
            Kind::ConfigMap,
            Kind::Secret,
            Kind::Deployment,
            Kind::DaemonSet,
            Kind::Job,
            Kind::Node,
            Kind::Pod,
        ];
        let objects = kinds.into_iter().flat_map(|kind| self.list(kind));
        objects.map(|object| object.key().to_string()).collect()
    }

    pub fn list(&mut self, kind: Kind) -> Vec<Object> {
        match self.request(Request::List { kind, namespace: None }) {
            Ok(Response::List(list)) => list.objects.iter().map(|o| o.as_ref().clone()).collect(),
            other => panic!("a list was asked for, not {other:?}"),
        }
    }

    pub fn request(&mut self, request: Request) -> Result<Response, String> {
        self.requests += 1;
        let id = RequestId(self.requests);
        let replies = self.event(Event::Request { id, actor: Actor::hub().into(), request });
        let [(of, result)] = <[_; 1]>::try_from(replies).expect("every request has one answer");
        assert_eq!(of, id);
        if let Err(message) = &result {
            assert!(!message.is_empty(), "a refusal says why");
        }
        result
    }

    /// Request `which` of a table.
    pub fn ask(&mut self, which: u8, how: u8) {
        let replace = |kind, json: String| {
            let object = Object::from_json(kind, json.as_bytes()).expect("our own JSON");
            Request::Replace { object, create: true }
        };
        let device = NAMES[usize::from(how) % NAMES.len()].to_owned();
        let (kind, name) = match how % 3 {
            0 => (Kind::Deployment, "web".to_owned()),
            1 => (Kind::DaemonSet, "agent".to_owned()),
            _ => (Kind::ConfigMap, "settings".to_owned()),
        };
        let namespace = "default".to_owned();
        let pod = self.list(Kind::Pod).get(usize::from(how)).map(|pod| pod.meta().name.clone());
        let request = match which % 17 {
            0 => replace(Kind::ConfigMap, config_map(how)),
            1 | 2 => replace(Kind::Deployment, deployment(how)),
            3 => replace(Kind::DaemonSet, daemon_set(how)),
            4 => Request::Delete { kind: Kind::Node, namespace: String::new(), name: device },
            5 => Request::Resume { device },
            6 => Request::Delete { kind, namespace, name },
            7 => Request::Explain { kind, namespace, name },
            8 => Request::NameImage { reference: "app:2".to_owned(), root: Hash([how; 32]) },
            9 => Request::ForgetImage { reference: "app:2".to_owned() },
            10 => Request::Logs {
                namespace,
                name: pod.unwrap_or_default(),
                container: None,
                follow: true,
                tail: None,
                previous: false,
                timestamps: false,
            },
            11 => Request::CancelLogs(self.log.take().unwrap_or(RequestId(0))),
            13 => seals::change(how),
            15 => replace(Kind::Job, job(how)),
            16 => replace(Kind::Pod, pod_alone(how)),
            14 => {
                for request in seals::admit(how) {
                    let _ = self.request(request);
                }
                return;
            }
            _ => Request::Delete { kind: Kind::Pod, namespace, name: pod.unwrap_or_default() },
        };
        if let Request::Logs { .. } = request {
            self.log = Some(RequestId(self.requests + 1));
        }
        let _ = self.request(request);
    }

    /// What devices were sent of Secrets they can read. Gives to which keys.
    pub fn sealed_to(&self) -> Vec<[u8; 32]> {
        let mut keys = Vec::new();
        for (device, name) in self.devices.iter().zip(NAMES) {
            let newest = device.newest.and_then(|newest| device.assembled(newest.hash));
            for pod in newest.unwrap_or_default() {
                for secret in &pod.secrets {
                    let chunks = device.parts.get(&secret.data);
                    let sealed: Option<Sealed> = chunks.and_then(|of| whole(of, secret.data));
                    let Some(sealed) = sealed else { continue };
                    let about = about(name, &pod.namespace, &secret.name).expect("short");
                    assert!(!seals::open(&about, &sealed).files.is_empty());
                    keys.push(sealed.encapsulated_key);
                }
            }
        }
        keys
    }

    /// Every Pod that does not run says why, in all that shows it; and what is stored loads again.
    pub fn check_in_the_end(&mut self) {
        self.sealed_to();
        for object in self.list(Kind::Pod) {
            let Object::Pod(pod) = object else { panic!("not a Pod") };
            if pod.status.phase != "Running"
                || pod.status.conditions.iter().any(|c| c.status == "False")
            {
                assert!(!pod.status.reason.is_empty(), "no reason: {pod:?}");
                assert!(!pod.status.message.is_empty(), "no message: {pod:?}");
            }
        }
        for object in self.list(Kind::Node) {
            let name = object.meta().name.clone();
            assert!(topic::is_device_name(&name), "registered as {name:?}");
            let why = Request::Explain { kind: Kind::Node, namespace: String::new(), name };
            assert!(
                matches!(self.request(why), Ok(Response::Explanation(lines)) if !lines.is_empty())
            );
        }
        self.restart();
    }

    pub fn newest(&self, device: usize) -> Option<AssignmentId> {
        self.devices[device].newest
    }

    /// Every Pod that any device was told of, with its identity.
    pub fn pods(&self) -> Vec<(PodId, Hash)> {
        self.devices.iter().flat_map(|device| device.pods.clone()).collect()
    }

    /// The last command that a device was given.
    pub fn command(&self) -> Option<u64> {
        self.command
    }

    /// How many pieces of logs were shown.
    pub fn log_parts(&self) -> usize {
        self.log_parts
    }
}

impl Device {
    /// The Pods of an assignment, once its body and all of them are here.
    fn assembled(&self, hash: Hash) -> Option<Vec<Pod>> {
        let assignment: Assignment = whole(&self.body, hash)?;
        assignment.pods.iter().map(|part| whole(self.parts.get(part)?, *part)).collect()
    }

    /// Parts that are not here.
    fn missing(&self, hash: Hash) -> List<Hash, { capacity::WANTED }> {
        let assignment: Option<Assignment> = whole(&self.body, hash);
        let pods = assignment.map(|assignment| assignment.pods.into_vec()).unwrap_or_default();
        let is_here = |part: &Hash| self.parts.get(part).is_some_and(|of| is_whole(of, *part));
        let here = self.assembled(hash).unwrap_or_default();
        let sealed = here.iter().flat_map(|pod| pod.secrets.iter().map(|secret| secret.data));
        let parts = pods.into_iter().chain(sealed.collect::<Vec<_>>());
        let missing = parts.filter(|part| !is_here(part)).take(capacity::WANTED);
        List::try_from(missing.collect::<Vec<_>>()).expect("as many as may be")
    }
}

fn is_whole(chunks: &BTreeMap<u32, Vec<u8>>, hash: Hash) -> bool {
    use sha2::Digest;
    let bytes: Vec<u8> = chunks.values().flatten().copied().collect();
    Hash(sha2::Sha256::digest(&bytes).into()) == hash
}

fn whole<T: serde::de::DeserializeOwned>(chunks: &BTreeMap<u32, Vec<u8>>, hash: Hash) -> Option<T> {
    let bytes: Vec<u8> = chunks.values().flatten().copied().collect();
    let decoded = || frame::decode_body(&bytes).expect("what the hub sends decodes");
    is_whole(chunks, hash).then(decoded)
}

/// Ids are drawn from the seed, so no two starts of one store may have the same.
fn start(records: &Records, starts: u8, now: Now) -> Result<Engine, LoadError> {
    let config = Config { seed: [starts; 32], lost_after_s: 300, seal: seals::seals() };
    Engine::load(records.clone(), config, hub_key::signer(), now)
}

fn container(phase: Phase) -> ContainerStatus {
    let state = match phase {
        Phase::Running => ContainerState::Running { pid: 1, started_ms: START_MS },
        _ => ContainerState::Waiting { reason: Text::default(), message: Text::default() },
    };
    let (last_exit, restarts, image) = (None, 0, Hash([0; 32]));
    let ready = phase == Phase::Running;
    ContainerStatus {
        name: Text::cut("main"),
        state,
        last_exit,
        restarts,
        ready,
        started: ready,
        image,
    }
}

fn status(id: PodId, identity: Hash, phase: Phase) -> PodStatus {
    PodStatus {
        id,
        identity,
        phase,
        reason: Text::default(),
        message: Text::default(),
        init_containers: List::default(),
        containers: List::try_from(vec![container(phase)]).expect("one"),
    }
}

fn hello(device: usize, way: u8, held: Option<AssignmentId>) -> Hello {
    let engines = [(RuntimeClass::Container, "crun"), (RuntimeClass::Wasm, "wasmtime")];
    let runtimes = engines.map(|(runtime_class, name)| Runtime {
        runtime_class,
        name: Text::cut(name),
        version: Text::cut("1"),
        usable: way & 4 == 0,
        limits_enforced: true,
        reason: Text::default(),
    });
    Hello {
        agent: AgentId([u8::try_from(device).expect("five") + (way >> 3 & 1); 16]),
        boot: BootId([1; 16]),
        version: Text::cut("0.1.0"),
        arch: Text::cut(if way & 16 == 0 { "amd64" } else { "arm64" }),
        os: Text::cut("linux"),
        kernel: Text::cut("6.1"),
        cpu_features: List::default(),
        cpu_milli: 2000,
        memory_bytes: 1 << 30,
        disk_bytes: 1 << 30,
        storage: Default::default(),
        runtimes: runtimes.to_vec().try_into().expect("two"),
        wasm: Some(WasmSupport { class: Text::cut("x86_64"), compatibility: Text::cut("c1") }),
        labels: List::default(),
        assignment: held,
        clock_ms: 0,
        max_assignment_bytes: if way & 32 == 0 { 1 << 20 } else { 64 },
        keys: hub_key::signer().keys().ids().collect::<Vec<_>>().try_into().expect("one"),
        conditions: Default::default(),
    }
}

fn config_map(how: u8) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"settings","namespace":"default"}},"data":{{"a":"{how}"}}}}"#
    )
}

fn deployment(how: u8) -> String {
    let (replicas, image) = (how % 8, 1 + how / 8 % 3);
    format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"web","namespace":"default"}},"spec":{{"replicas":{replicas},"selector":{{"matchLabels":{{"app":"web"}}}},"template":{{"metadata":{{"labels":{{"app":"web"}}}},"spec":{{"containers":[{{"name":"main","image":"app:{image}","volumeMounts":[{{"name":"s","mountPath":"/s"}},{{"name":"t","mountPath":"/t"}}]}}],"volumes":[{{"name":"s","configMap":{{"name":"settings"}}}},{{"name":"t","secret":{{"secretName":"token","optional":true}}}}]}}}}}}}}"#
    )
}

fn job(how: u8) -> String {
    let (parallelism, suspend) = (how % 4, how >= 128);
    format!(
        r#"{{"apiVersion":"batch/v1","kind":"Job","metadata":{{"name":"crunch","namespace":"default"}},"spec":{{"completions":3,"parallelism":{parallelism},"suspend":{suspend},"completionMode":"Indexed","template":{{"spec":{{"restartPolicy":"Never","containers":[{{"name":"main","image":"app:1"}}]}}}}}}}}"#
    )
}

fn pod_alone(how: u8) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"alone","namespace":"default","labels":{{"n":"{how}"}}}},"spec":{{"restartPolicy":"OnFailure","containers":[{{"name":"main","image":"app:1"}}]}}}}"#
    )
}

fn daemon_set(how: u8) -> String {
    let request = if how >= 128 { "4Gi" } else { "1Mi" };
    format!(
        r#"{{"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{{"name":"agent","namespace":"default"}},"spec":{{"selector":{{"matchLabels":{{"app":"agent"}}}},"template":{{"metadata":{{"labels":{{"app":"agent"}}}},"spec":{{"runtimeClassName":"wasm","containers":[{{"name":"main","image":"module:1","env":[{{"name":"TOKEN","valueFrom":{{"secretKeyRef":{{"name":"token","key":"token"}}}}}}],"resources":{{"requests":{{"memory":"{request}"}}}}}}]}}}}}}}}"#
    )
}
