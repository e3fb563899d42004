//! A hub that is nothing but a broker, an HTTP server and what the test tells it to say.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use firmware_compat::{
    capacity::full as capacity,
    enrolment::SealingKey,
    frame::{self, Frame, Kind, Message, Stamp},
    id::{Generation, Hash, Lineage, PodId, PublicKey},
    sealed, signed,
    v1::owned::{
        Assignment, AssignmentId, Command, ConfigData, ContainerState, ContainerStatus, Event,
        File, Head, Hello, NodeCondition, Outcome, Part, Phase, Pod, PodStatus, Reply,
        RuntimeClass, Secret, Status, VolumeSource, Want,
    },
};
use lichen_link::{Endpoint, LinkEvent};
use lichen_sealing::Sealer;
use ring::signature::{Ed25519KeyPair, KeyPair};
use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, time::timeout};

use super::{
    endpoint::{self, Door},
    http::Server,
};

/// How long anything may take. Generous: the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// What the hub heard.
#[derive(Debug)]
pub enum Heard {
    Hello(Box<Hello>),
    Status(Status),
    Event(Event),
    Reply(Reply),
    Want(Want),
    Gone,
    Connected,
    Disconnected,
    TakenOver,
}

pub struct Hub {
    pub http: Server,
    pub broker: Endpoint,
    pub broker_address: SocketAddr,
    events: mpsc::Receiver<LinkEvent>,
    device: String,
    lineage: Lineage,
    generation: u64,
    body: Vec<u8>,
    /// The device's connection, by the last frame that was heard.
    session: u32,
    /// By which the device knows the hub.
    key: Ed25519KeyPair,
    /// Every part that it ever made.
    parts: BTreeMap<Hash, Vec<u8>>,
    /// The newest status of every Pod.
    pub pods: BTreeMap<PodId, PodStatus>,
    pub assignment: Option<AssignmentId>,
    /// Everything that the device thought worth telling.
    pub told: Vec<String>,
    /// How the device itself fares.
    pub conditions: Vec<NodeCondition>,
    /// Whether it has a usable runtime for containers.
    pub can_run: bool,
}

impl Hub {
    pub async fn start(device: &str) -> Self {
        let http = Server::start();
        let door = endpoint::open("127.0.0.1:0".parse().unwrap(), device).await;
        let lineage = Lineage([7; 16]);
        let key = key(7);
        http.set_endpoint(&door);
        let Door { endpoint: broker, events, address: broker_address, .. } = door;
        introduce(&http, lineage, &key);
        Self {
            http,
            broker,
            broker_address,
            events,
            device: device.to_owned(),
            lineage,
            generation: 0,
            body: Vec::new(),
            session: 0,
            key,
            parts: BTreeMap::new(),
            pods: BTreeMap::new(),
            assignment: None,
            told: Vec::new(),
            conditions: Vec::new(),
            can_run: false,
        }
    }

    /// Replaces the broker by a new one at the same address that knows nothing.
    pub async fn restart_broker(self) -> Self {
        let Self { broker: old, broker_address, .. } = self;
        old.shutdown().await;
        let door = endpoint::open(broker_address, &self.device).await;
        self.http.set_endpoint(&door);
        let Door { endpoint: broker, events, address: broker_address, .. } = door;
        let hub = Self {
            http: self.http,
            broker,
            broker_address,
            events,
            device: self.device,
            lineage: self.lineage,
            generation: self.generation,
            body: self.body,
            session: self.session,
            key: self.key,
            parts: self.parts,
            pods: self.pods,
            assignment: self.assignment,
            told: self.told,
            conditions: self.conditions,
            can_run: self.can_run,
        };
        hub.publish_head();
        hub
    }

    /// Gives the device a new assignment.
    pub fn assign(&mut self, pods: &[Pod]) {
        self.generation += 1;
        let refs: Vec<Hash> = pods.iter().map(|pod| self.part(pod)).collect();
        let assignment =
            Assignment { pods: refs.try_into().unwrap(), removed_claims: Default::default() };
        self.body = postcard::to_allocvec(&assignment).unwrap();
        self.publish_head();
    }

    /// The files of a ConfigMap, for a volume of a Pod.
    pub fn config(&mut self, files: Vec<File>) -> VolumeSource {
        let files = files.try_into().unwrap();
        VolumeSource::ConfigMap { data: self.part(&ConfigData { files }) }
    }

    /// Files that are sealed to a device, or to whoever has another key.
    pub fn secret(&mut self, name: &str, key: &SealingKey, files: Vec<File>) -> Secret {
        let data = ConfigData { files: files.try_into().unwrap() };
        let plain = postcard::to_allocvec(&data).unwrap();
        let about = sealed::about(&self.device, "default", name).unwrap();
        let sealed = Sealer::new(&[3; 32]).seal(&key.0, &about, &plain).unwrap();
        Secret { name: name.try_into().unwrap(), data: self.part(&sealed) }
    }

    /// Keeps a part for when the device asks for it.
    fn part(&mut self, part: &impl serde::Serialize) -> Hash {
        let bytes = postcard::to_allocvec(part).unwrap();
        let hash = Hash(Sha256::digest(&bytes).into());
        self.parts.insert(hash, bytes);
        hash
    }

    pub fn id(&self) -> AssignmentId {
        AssignmentId {
            lineage: self.lineage,
            generation: Generation(self.generation),
            hash: Hash(Sha256::digest(&self.body).into()),
        }
    }

    fn publish_head(&self) {
        self.broker.set_head(&self.device, self.frame(&self.head(), &self.key));
    }

    /// The newest head.
    pub fn head(&self) -> Head {
        Head { assignment: self.id(), length: self.body.len() as u32 }
    }

    /// A frame for the device, signed with a key if its kind is signed.
    pub fn frame<M: Message>(&self, message: &M, key: &Ed25519KeyPair) -> Vec<u8> {
        let session = if M::KIND == Kind::Command { self.session } else { 0 };
        let mut frame = frame::encode(message, Stamp { session, sequence: 1 }).unwrap();
        if M::KIND.is_signed() {
            let sign = |message: &[u8]| key.sign(message).as_ref().try_into().unwrap();
            signed::sign(&mut frame, &self.device, sign).unwrap();
        }
        frame
    }

    pub fn send<M: Message>(&self, message: &M) {
        let frame = self.frame(message, &self.key);
        self.broker.send(&self.device, M::KIND, frame);
    }

    pub fn command(&self, id: u64, action: firmware_compat::v1::owned::Action) {
        self.send(&Command { lineage: self.lineage, id, action });
    }

    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    fn answer(&self, want: &Want) {
        let first = std::iter::once((want.hash, want.offset as usize));
        for (hash, from) in first.chain(want.also.iter().map(|hash| (*hash, 0))) {
            let content =
                if hash == self.id().hash { Some(&self.body) } else { self.parts.get(&hash) };
            let Some(content) = content else { continue };
            for offset in (from..content.len()).step_by(capacity::CHUNK) {
                let end = content.len().min(offset + capacity::CHUNK);
                let bytes = content[offset..end].to_vec().try_into().unwrap();
                let (length, offset) = (content.len() as u32, offset as u32);
                self.send(&Part { hash, length, offset, bytes });
            }
        }
    }

    /// The next thing that was heard; bodies are sent and statuses noted on the way.
    pub async fn next(&mut self) -> Heard {
        loop {
            let event = timeout(DEADLINE, self.events.recv()).await;
            let event =
                event.unwrap_or_else(|_| panic!("the device should say something; {self:?}"));
            let heard = match event.unwrap() {
                LinkEvent::Connected { device } if device == self.device => Heard::Connected,
                LinkEvent::Disconnected { device } if device == self.device => Heard::Disconnected,
                LinkEvent::TakenOver { .. } => Heard::TakenOver,
                LinkEvent::Frame { kind, bytes, .. } => {
                    self.session = Frame::parse(&bytes).unwrap().stamp.session;
                    decode(kind, &bytes)
                }
                _ => continue,
            };
            match &heard {
                Heard::Want(want) => self.answer(want),
                Heard::Status(status) => self.note(status),
                Heard::Hello(hello) => {
                    self.conditions = hello.conditions.to_vec();
                    self.can_run = hello.runtimes.iter().any(|runtime| {
                        runtime.usable && runtime.runtime_class == RuntimeClass::Container
                    });
                }
                Heard::Event(event) => {
                    self.told.push(format!("{}: {}", event.reason, event.message));
                }
                _ => {}
            }
            return heard;
        }
    }

    fn note(&mut self, status: &Status) {
        if status.full {
            self.pods.clear();
        }
        self.assignment = status.assignment;
        for pod in &status.pods {
            self.pods.insert(pod.id, pod.clone());
        }
        for gone in &status.removed {
            self.pods.remove(gone);
        }
    }

    /// Waits until what is known satisfies `is_met`.
    pub async fn until(&mut self, what: &str, is_met: impl Fn(&Self) -> bool) {
        let wait = async {
            while !is_met(self) {
                self.next().await;
            }
        };
        if timeout(DEADLINE, wait).await.is_err() {
            panic!("{what}: {self:?}");
        }
    }

    /// Waits until every container of a Pod runs; returns what the first of them does.
    pub async fn until_running(&mut self, id: PodId) -> Running {
        let running = |hub: &Self| {
            hub.pods
                .get(&id)
                .is_some_and(|pod| pod.phase == Phase::Running && pid(&pod.containers[0]) != 0)
        };
        self.until("it should run", running).await;
        let first = &self.pods[&id].containers[0];
        Running { pid: pid(first), restarts: first.restarts }
    }

    /// What is known of a container or init container.
    pub fn container(&self, id: PodId, name: &str) -> Option<&ContainerStatus> {
        let pod = self.pods.get(&id)?;
        let mut all = pod.init_containers.iter().chain(&pod.containers);
        all.find(|container| container.name.as_str() == name)
    }

    /// Process ids and restart counts of the containers of a Pod, in the spec's order.
    pub fn all_running(&self, id: PodId) -> Vec<Running> {
        let all = self.pods[&id].containers.iter();
        all.map(|own| Running { pid: pid(own), restarts: own.restarts }).collect()
    }

    pub async fn until_gone(&mut self, id: PodId) {
        self.until("it should be gone", |hub| !hub.pods.contains_key(&id)).await;
    }

    /// The whole text of an answer, up to its end or to `enough`.
    pub async fn reply(
        &mut self,
        command: u64,
        enough: impl Fn(&str) -> bool,
    ) -> (String, Option<Outcome>) {
        let mut text = String::new();
        loop {
            let Heard::Reply(reply) = self.next().await else { continue };
            if reply.command != command {
                continue;
            }
            match reply.outcome {
                Outcome::Data(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
                end => return (text, Some(end)),
            }
            if enough(&text) {
                return (text, None);
            }
        }
    }
}

/// What a container that runs does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    pub pid: u32,
    pub restarts: u32,
}

/// 0 if it does not run.
pub fn pid(container: &ContainerStatus) -> u32 {
    match container.state {
        ContainerState::Running { pid, .. } => pid,
        _ => 0,
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pods {:#?}, told {:#?}", self.pods, self.told)
    }
}

/// The hub's key with this seed.
pub fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

/// Has the hub say that it is this one.
pub fn introduce(http: &Server, lineage: Lineage, key: &Ed25519KeyPair) {
    let public = PublicKey(key.public_key().as_ref().try_into().unwrap());
    http.change_facts(|facts| {
        facts.lineage = lineage;
        facts.signing_keys = vec![public].try_into().unwrap();
    });
}

fn decode(kind: Kind, bytes: &[u8]) -> Heard {
    let frame = Frame::parse(bytes).unwrap();
    assert_eq!(frame.kind, kind);
    match kind {
        Kind::Hello => Heard::Hello(Box::new(frame.message().unwrap())),
        Kind::Status => Heard::Status(frame.message().unwrap()),
        Kind::Event => Heard::Event(frame.message().unwrap()),
        Kind::Reply => Heard::Reply(frame.message().unwrap()),
        Kind::Want => Heard::Want(frame.message().unwrap()),
        Kind::Gone => Heard::Gone,
        other => panic!("a device does not send {other:?}"),
    }
}
