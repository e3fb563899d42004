//! A small world around the real engine: a store in memory, a perfect broker, and devices that save, acknowledge and
//! run whatever they are assigned. What it prints is the story that a scenario records.

#![allow(dead_code, reason = "each test program that shares this module uses a part of it")]

mod secrets;
pub mod signer;
pub mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use firmware_compat::{
    capacity::full as capacity,
    frame::{self, Kind as FrameKind, Message, Stamp},
    guard::{Guard, Refusal},
    id::{AgentId, BootId, ClaimId, Generation, Hash, KeyId, PodId},
    keys::{PinnedHub, SigningKeys},
    time::Instant,
    topic::ALL,
    v1::owned::{
        Action, Artefacts, Assignment, AssignmentId, Blob, Command, ContainerState,
        ContainerStatus, Exit, Head, Hello, Label, List, Part, Phase, Pod, PodStatus,
        ProjectedSource, Report, Runtime, RuntimeClass, Status, Storage, Text, Time, VolumeSource,
        Want, WasmSupport,
    },
};
use lichen_hub_core::{
    actor::Actor,
    api::{KINDS, Key, Kind, Object},
    effect::{Action as Changed, Change, Effect, Response},
    engine::{Config, Engine},
    event::{Event, ImageError, ImageRequest, Now, Platform, Request, RequestId},
};
use sha2::{Digest, Sha256};

/// A device that does what it is told.
#[derive(Default)]
pub struct Device {
    online: bool,
    /// What stands before it.
    guard: Option<Guard>,
    session: u32,
    sequence: u32,
    agent: u8,
    arch: String,
    labels: Vec<(String, String)>,
    memory: u64,
    body_room: u32,
    engines: Vec<RuntimeClass>,
    held: Option<AssignmentId>,
    wanted: Option<Head>,
    body: Vec<u8>,
    /// Parts that it has, or that are coming.
    parts: BTreeMap<Hash, Vec<u8>>,
    asked: Vec<Hash>,
    running: BTreeMap<PodId, (String, Hash)>,
    /// Names of the init containers of its Pods, which have all ended well.
    initialized: BTreeMap<PodId, Vec<String>>,
    /// What it held and ran before that.
    before: (Option<AssignmentId>, BTreeMap<PodId, (String, Hash)>),
    /// What it was assigned and does not run yet, and what each of these takes the place of.
    coming: BTreeMap<PodId, (String, Hash, Vec<PodId>)>,
    /// What it was told to stop, and still runs.
    leaving: BTreeMap<PodId, (String, Hash)>,
    /// The reports that it sends are lost.
    pub lossy: bool,
    /// Its report overtakes the hello before it.
    pub overtakes: bool,
    /// It does not answer when it is asked to report.
    pub silent: bool,
    /// It stands still: what it is sent is read when it goes on.
    stalled: Option<Vec<(FrameKind, Vec<u8>)>>,
    /// What it stops goes on until [`World::stopped`].
    pub slow_to_stop: bool,
    /// Pods whose name contains one of these, with `|` between them, never run.
    crashes: Option<String>,
    pub starts: u32,
    /// Pods that have ended for good, and whether well.
    ended: BTreeMap<PodId, bool>,
    /// Claims whose data it has, with the names that they had.
    pub claims: BTreeMap<ClaimId, String>,
    /// The claims of the Pods that it was assigned last.
    mounted: BTreeMap<PodId, Vec<ClaimId>>,
}

impl Device {
    /// Whether it is connected.
    pub fn is_online(&self) -> bool {
        self.online
    }

    /// How many Pods it runs.
    pub fn pods(&self) -> usize {
        self.running.len()
    }
}

pub struct World {
    pub engine: Engine,
    /// Who asks for what is asked.
    pub actor: Arc<Actor>,
    records: BTreeMap<String, Vec<u8>>,
    pub devices: BTreeMap<String, Device>,
    now: u64,
    next_request: u64,
    pub story: String,
    pub saves: usize,
    builds: Vec<String>,
    starts: u8,
    /// The hub's signing keys by their numbers, newest first.
    keys: Vec<u8>,
    /// How far the hub's clock is off, in milliseconds.
    pub clock_off: i64,
    /// It has started with a clock that went back: it may say a time that devices have heard already.
    may_be_behind: bool,
    /// Heads that the broker retains; it outlives the hub.
    retained: BTreeMap<String, Vec<u8>>,
    /// Devices that hold what the hub, since it was restored, does not know of.
    pub ahead: BTreeSet<String>,
    /// Texts that no frame may hold.
    pub secrets: Vec<String>,
    /// Every object as a client knows it that listed once, after the first turn, and watched since.
    told: Option<BTreeMap<Key, Arc<Object>>>,
}

const START_MS: u64 = 1_767_225_600_000;

fn config() -> Config {
    Config { lost_after_s: 300, seal: secrets::seals(), ..Config::default() }
}

impl World {
    pub fn new() -> Self {
        let now = Now { instant: Instant(0), unix_ms: START_MS };
        let config = Config { seed: [7; 32], ..config() };
        let engine =
            Engine::load([], config, signer::signer(&[1]), now).expect("an empty store loads");
        let mut world = Self {
            engine,
            actor: Actor::hub().into(),
            records: BTreeMap::new(),
            devices: BTreeMap::new(),
            now: 0,
            next_request: 0,
            story: String::new(),
            saves: 0,
            builds: ["amd64", "arm64", "x86_64"].map(String::from).to_vec(),
            starts: 7,
            keys: vec![1],
            clock_off: 0,
            may_be_behind: false,
            retained: BTreeMap::new(),
            ahead: BTreeSet::new(),
            secrets: Vec::new(),
            told: None,
        };
        world.begin();
        world.event(Event::LinkUp);
        world
    }

    fn clock(&self) -> Now {
        let unix_ms = (START_MS + self.now).saturating_add_signed(self.clock_off);
        Now { instant: Instant(self.now), unix_ms }
    }

    pub fn say(&mut self, line: impl AsRef<str>) {
        let _ = writeln!(self.story, "{}", line.as_ref());
    }

    pub fn event(&mut self, event: Event) -> Vec<(RequestId, Result<Response, String>)> {
        self.engine.handle(event, self.clock());
        self.settle()
    }

    /// The first turn of a hub, before it can be asked.
    fn begin(&mut self) {
        self.told = None;
        self.settle();
        self.told = Some(self.objects());
    }

    /// Carries out effects until none is left.
    fn settle(&mut self) -> Vec<(RequestId, Result<Response, String>)> {
        let mut replies = Vec::new();
        loop {
            let effects = self.engine.drain();
            self.engine.state().check().expect("every index is true");
            if effects.is_empty() {
                self.check_what_was_told();
                return replies;
            }
            for effect in effects {
                match effect {
                    Effect::Save(batch) => {
                        self.saves += 1;
                        for record in batch {
                            match record.value {
                                Some(value) => self.records.insert(record.key, value),
                                None => self.records.remove(&record.key),
                            };
                        }
                    }
                    Effect::Reply { id, result } => {
                        replies.push((id, result.map_err(|failure| failure.to_string())));
                    }
                    Effect::SetHead { device, frame } => {
                        self.on_head(&device, &frame);
                        self.retained.insert(device, frame);
                    }
                    Effect::ClearHead { device } => _ = self.retained.remove(&device),
                    Effect::Send { device, kind, frame } => self.on_sent(&device, kind, &frame),
                    Effect::Supply(need) => self.supply(need),
                    Effect::Changed(change) => self.hear(change),
                    // Its link lets everybody in.
                    Effect::Admit { .. } | Effect::Dismiss { .. } | Effect::Disown { .. } => {}
                    Effect::SendAll { frame, .. } => {
                        let awake = |(_, d): &(&String, &Device)| d.online && d.stalled.is_none();
                        let all = self.devices.iter().filter(awake).map(|(name, _)| name.clone());
                        for name in all.collect::<Vec<_>>() {
                            self.heeds(&name, ALL, &frame);
                        }
                    }
                    Effect::LogPart { .. } => {}
                }
            }
        }
    }

    /// What a client that watches makes of a change.
    fn hear(&mut self, change: Change) {
        let Some(told) = &mut self.told else { return };
        let key = change.object.key();
        let known = match change.action {
            Changed::Added | Changed::Modified => told.insert(key.clone(), change.object),
            Changed::Deleted => told.remove(&key),
        };
        assert_eq!(
            known.is_some(),
            change.action != Changed::Added,
            "{:?} of {key}",
            change.action
        );
    }

    /// Between turns, whoever watches knows what a list would say: the shell answers reads from what it was told.
    fn check_what_was_told(&mut self) {
        if self.told.is_none() {
            return;
        }
        let objects = self.objects();
        let told = self.told.as_ref().expect("checked above");
        for (key, object) in &objects {
            assert_eq!(told.get(key), Some(object), "{key} is not as it was told");
        }
        assert_eq!(told.len(), objects.len(), "an object went without a word");
    }

    /// Every object, asked for.
    fn objects(&mut self) -> BTreeMap<Key, Arc<Object>> {
        let mut objects = BTreeMap::new();
        for kind in KINDS.iter().copied() {
            let request = Request::List { kind, namespace: None };
            self.engine.handle(
                Event::Request { id: RequestId(0), actor: self.actor.clone(), request },
                self.clock(),
            );
            for effect in self.engine.drain() {
                if let Effect::Reply { result: Ok(Response::List(listing)), .. } = effect {
                    objects
                        .extend(listing.objects.into_iter().map(|object| (object.key(), object)));
                }
            }
        }
        objects
    }

    /// Every image has builds for the architectures of `builds`.
    fn supply(&mut self, need: ImageRequest) {
        let blob = Blob { digest: need.root, size: 1 };
        let (word, artefacts) = match &need.target {
            Platform::Container { arch } => {
                (arch.clone(), Artefacts::Image { config: blob, layers: List::default() })
            }
            Platform::Wasm(support) => {
                (support.class.to_string(), Artefacts::Wasm { module: need.root, compiled: blob })
            }
        };
        let result = if self.builds.contains(&word) {
            Ok(artefacts)
        } else {
            Err(ImageError {
                reason: "ImageHasNoBuild".into(),
                message: format!("the image has no build for {word}"),
                retry: false,
            })
        };
        self.engine.handle(Event::Supplied { need, result }, self.clock());
    }

    /// Whether a device takes a frame for its hub's and for new. One that knows the hub's key must.
    fn heeds(&mut self, name: &str, to: &str, bytes: &[u8]) -> bool {
        let Some(device) = self.devices.get_mut(name) else { return false };
        let Some(guard) = &mut device.guard else { return false };
        let frame = signer::parse(bytes);
        let heeded = match frame.kind {
            FrameKind::Head => guard.open::<Head>(&frame, to).map(drop),
            FrameKind::Command => guard.open::<Command>(&frame, to).map(drop),
            FrameKind::Time => guard.open::<Time>(&frame, to).map(drop),
            FrameKind::Report => guard.open::<Report>(&frame, to).map(drop),
            _ => return true,
        };
        let signs = signer::keys(&self.keys).oldest();
        let knows = guard.hub().is_some_and(|hub| hub.keys.iter().any(|key| *key == signs));
        match heeded {
            Err(Refusal::Old { .. } | Refusal::Late) if self.may_be_behind => {
                self.say(format!(
                    "  {name} has heard later than this {}",
                    frame.kind.topic_level()
                ));
            }
            _ => assert_eq!(heeded.is_ok(), knows, "{name}: {:?}: {heeded:?}", frame.kind),
        }
        heeded.is_ok()
    }

    /// The hub has other keys from now on.
    pub fn change_keys(&mut self, numbers: &[u8]) {
        self.keys = numbers.to_vec();
        self.event(Event::Signer(signer::signer(numbers)));
        while self.engine.has_more() {
            self.event(Event::Timeout);
        }
    }

    fn on_head(&mut self, name: &str, bytes: &[u8]) {
        let Some(device) = self.devices.get_mut(name).filter(|device| device.online) else {
            return;
        };
        if let Some(unread) = &mut device.stalled {
            return unread.push((FrameKind::Head, bytes.to_vec()));
        }
        // What is retained may be of a key that the hub has not any more; it goes with the hello.
        if !self.heeds(name, name, bytes) {
            return;
        }
        let Some(device) = self.devices.get_mut(name) else { return };
        let (_, head): (_, Head) = frame::decode(bytes).expect("the hub's frames decode");
        assert!(bytes.len() < 200, "a head is under 200 bytes");
        let newest = device.held.is_none_or(|held| {
            held.lineage == head.assignment.lineage && held.generation < head.assignment.generation
        });
        // The same head again: an agent asks again after a while, for what it asked may have been lost.
        if newest {
            device.body.clear();
            device.asked.clear();
            let want = Want { hash: head.assignment.hash, offset: 0, also: List::default() };
            device.wanted = Some(head);
            self.device_sends(name, &want);
        }
    }

    fn on_sent(&mut self, name: &str, kind: FrameKind, bytes: &[u8]) {
        self.check_frame(bytes);
        let Some(device) = self.devices.get_mut(name).filter(|device| device.online) else {
            return;
        };
        if let Some(unread) = &mut device.stalled {
            return unread.push((kind, bytes.to_vec()));
        }
        if !self.heeds(name, name, bytes) {
            return;
        }
        let Some(device) = self.devices.get_mut(name) else { return };
        let action = match kind {
            FrameKind::Command => {
                frame::decode(bytes).map(|(_, command): (_, Command)| command.action).ok()
            }
            _ => None,
        };
        if let Some(Action::Keys { keys }) = &action {
            let keys = SigningKeys::new(keys).expect("one or two");
            let guard = device.guard.as_mut().expect("it has heard");
            let lineage = guard.hub().expect("it knows one").lineage;
            guard.pin(PinnedHub { lineage, keys });
            let hello = hello(device);
            let ids: Vec<String> = keys.ids().map(|id| id.0[0].to_string()).collect();
            self.say(format!("  {name} keeps keys {}", ids.join(" ")));
            return self.device_sends(name, &hello);
        }
        if kind == FrameKind::Report || action == Some(Action::Report) {
            let (silent, overtakes, hello) = (device.silent, device.overtakes, hello(device));
            self.say(format!("  {name} is asked to report"));
            if overtakes && !silent {
                // The hello is sent first and arrives last.
                let device = self.devices.get_mut(name).expect("it is there");
                let stamp = Stamp { session: device.session, sequence: device.sequence + 1 };
                device.sequence += 1;
                self.report(name, true, Vec::new());
                let bytes = frame::encode(&hello, stamp).expect("it fits a frame");
                let event = Event::Frame { device: name.into(), kind: FrameKind::Hello, bytes };
                self.engine.handle(event, self.clock());
            } else if !silent {
                self.device_sends(name, &hello);
                self.report(name, true, Vec::new());
            }
            return;
        }
        if kind != FrameKind::Part {
            return;
        }
        let (_, chunk): (_, Part) = frame::decode(bytes).expect("the hub's frames decode");
        let Some(head) = device.wanted else { return };
        let content = if chunk.hash == head.assignment.hash {
            &mut device.body
        } else {
            device.parts.entry(chunk.hash).or_default()
        };
        if chunk.offset as usize != content.len() {
            return;
        }
        content.extend_from_slice(&chunk.bytes);
        if content.len() < chunk.length as usize {
            return;
        }
        assert_eq!(Hash(Sha256::digest(&*content).into()), chunk.hash);
        if device.body.len() < head.length as usize {
            return;
        }
        let assignment: Assignment =
            frame::decode_body(&device.body).expect("the hub's assignments decode");
        let mut missing = device.missing(&assignment);
        if missing.is_empty() {
            device.wanted = None;
            device.asked.clear();
            device.before = (device.held.replace(head.assignment), device.running.clone());
            let pods = device.assigned(&assignment);
            self.look_after_claims(name, &pods, &assignment.removed_claims);
            return self.run(name, &pods, head.assignment.generation);
        }
        // Everything that was asked for is here, and more is needed.
        if device.asked.iter().all(|asked| !missing.contains(asked)) {
            missing.truncate(capacity::WANTED + 1);
            device.asked.clone_from(&missing);
            let first = missing.remove(0);
            device.parts.remove(&first);
            let also = missing.try_into().expect("few");
            self.device_sends(name, &Want { hash: first, offset: 0, also });
        }
    }

    /// Makes the data of claims that come with Pods, and removes what is to go. Nothing goes that a Pod there has.
    fn look_after_claims(&mut self, name: &str, pods: &[Pod], removed: &[ClaimId]) {
        let device = self.devices.get_mut(name).expect("it is there");
        let of = |pod: &Pod| {
            let claims = pod.volumes.iter().filter_map(|volume| match &volume.source {
                VolumeSource::Claim(claim) => Some((claim.id, claim.name.to_string())),
                _ => None,
            });
            claims.collect::<Vec<_>>()
        };
        let mut lines = Vec::new();
        let runs = |id: &&PodId| device.running.contains_key(id) || device.leaving.contains_key(id);
        let still: Vec<ClaimId> = device
            .mounted
            .iter()
            .filter(|(id, _)| runs(id))
            .flat_map(|(_, claims)| claims.clone())
            .collect();
        for claim in removed {
            let is_had = pods.iter().flat_map(of).any(|(id, _)| id == *claim);
            assert!(!is_had && !still.contains(claim), "a claim in use is removed\n{}", self.story);
            if let Some(of) = device.claims.remove(claim) {
                lines.push(format!("  {name} removes the data of {of}"));
            }
        }
        for pod in pods {
            let claims = of(pod);
            device.mounted.insert(pod.id, claims.iter().map(|(id, _)| *id).collect());
            for (id, claim) in claims {
                if device.claims.insert(id, claim.clone()).is_none() {
                    lines.push(format!("  {name} makes the data of {claim}"));
                }
            }
        }
        lines.iter().for_each(|line| self.say(line));
    }

    /// No other Pod of a name runs, as far as anyone could know.
    fn check_identity(&self, name: &str, id: PodId, pod: &str) {
        for (other, device) in &self.devices {
            let mut runs = device.running.iter().chain(&device.leaving);
            let twice = runs.any(|(known, (of, _))| of == pod && *known != id);
            assert!(!twice, "{name} starts {pod}, which {other} runs\n{}", self.story);
        }
    }

    fn run(&mut self, name: &str, pods: &[Pod], generation: Generation) {
        assert!(!self.ahead.contains(name), "{name} goes backwards\n{}", self.story);
        self.say(format!("  {name} takes generation {generation}"));
        let Some(device) = self.devices.get_mut(name) else { return };
        let mut lines = Vec::new();
        let init = |pod: &Pod| pod.init_containers.iter().map(|c| c.name.to_string()).collect();
        device.initialized = pods.iter().map(|pod| (pod.id, init(pod))).collect();
        let wanted: BTreeMap<PodId, (String, Hash)> =
            pods.iter().map(|i| (i.id, (i.name.to_string(), i.identity))).collect();
        let gone: Vec<_> = device
            .running
            .iter()
            .filter(|(id, run)| wanted.get(id) != Some(run))
            .map(|(id, run)| (*id, run.0.clone()))
            .collect();
        for (id, pod) in &gone {
            let run = device.running.remove(id);
            lines.push(format!("  {name} stops {pod}"));
            device.leaving.extend(run.filter(|_| device.slow_to_stop).map(|run| (*id, run)));
        }
        let never_began = device.coming.keys().filter(|id| !wanted.contains_key(id)).copied();
        let mut removed: Vec<_> = never_began.collect();
        removed.extend(gone.iter().map(|(id, _)| *id));
        removed.retain(|id| !device.leaving.contains_key(id));
        device.coming = pods
            .iter()
            .filter(|i| !device.running.contains_key(&i.id))
            .map(|i| (i.id, (i.name.to_string(), i.identity, i.after.to_vec())))
            .collect();
        for line in lines {
            self.say(line);
        }
        self.start_what_may(name);
        self.report(name, false, removed);
    }

    /// Starts what waits for nothing.
    fn start_what_may(&mut self, name: &str) {
        let Some(device) = self.devices.get_mut(name) else { return };
        let mut lines = Vec::new();
        for (id, (pod, identity, after)) in std::mem::take(&mut device.coming) {
            // Wanted again, one that is being stopped starts when it has ended.
            if after.iter().chain([&id]).any(|id| device.leaving.contains_key(id)) {
                lines.push(format!("  {name} holds {pod} back"));
                device.coming.insert(id, (pod, identity, after));
                continue;
            }
            // A DaemonSet's Pods are named after it, with a suffix.
            let owner = pod.rsplit_once('-').map_or("", |(owner, _)| owner);
            let beside =
                device.running.values().chain(device.leaving.values()).any(|(other, _)| {
                    owner.starts_with("daemon-")
                        && other.rsplit_once('-').is_some_and(|o| o.0 == owner)
                });
            assert!(!beside, "{name} starts {pod} beside another Pod\n{}", self.story);
            lines.push(format!("  {name} starts {pod}"));
            device.starts += 1;
            device.ended.remove(&id);
            device.running.insert(id, (pod, identity));
        }
        let started: Vec<(PodId, String)> =
            device.running.iter().map(|(id, (pod, _))| (*id, pod.clone())).collect();
        for (id, pod) in started {
            self.check_identity(name, id, &pod);
        }
        for line in lines {
            self.say(line);
        }
    }

    /// What a device was told to stop has ended.
    pub fn stopped(&mut self, name: &str) {
        let Some(device) = self.devices.get_mut(name) else { return };
        let gone: Vec<_> = std::mem::take(&mut device.leaving).into_keys().collect();
        if gone.is_empty() {
            return;
        }
        self.start_what_may(name);
        let device = &self.devices[name];
        let gone: Vec<_> = gone.into_iter().filter(|id| !device.running.contains_key(id)).collect();
        if device.online {
            self.report(name, false, gone);
            self.settle();
        }
    }

    /// Reports everything in parts of one Pod, of which one is lost on the way.
    pub fn report_in_parts(&mut self, name: &str, lost: usize) {
        let statuses = self.statuses(name);
        let count = statuses.len();
        for (index, status) in statuses.into_iter().enumerate() {
            let held = self.devices[name].held;
            let part = Status {
                assignment: held,
                full: true,
                more: index + 1 < count,
                pods: vec![status].try_into().expect("one"),
                removed: List::default(),
            };
            if index == lost {
                self.devices.get_mut(name).expect("it is there").sequence += 1;
            } else {
                self.device_sends(name, &part);
            }
        }
        self.settle();
    }

    /// Hashes of what a device was sent of its assignment.
    pub fn hashes_of(&self, name: &str) -> Vec<Hash> {
        let device = &self.devices[name];
        device.held.iter().map(|held| held.hash).chain(device.parts.keys().copied()).collect()
    }

    /// How many chunks a device gets that asks for what has this hash.
    pub fn parts_for(&mut self, name: &str, hash: Hash) -> usize {
        self.device_sends(name, &Want { hash, offset: 0, also: List::default() });
        let to_it = |effect: &Effect| matches!(effect, Effect::Send { device, kind: FrameKind::Part, .. } if device == name);
        self.engine.drain().iter().filter(|effect| to_it(effect)).count()
    }

    /// A device's frame arrives with other bytes than it was sent: `index` is given this value.
    pub fn garble(&mut self, name: &str, kind: FrameKind, index: usize, value: u8) {
        let hello = self.devices.get(name).map(hello);
        let nothing = Want { hash: Hash([0; 32]), offset: 0, also: List::default() };
        let mut bytes = match (kind, hello) {
            (FrameKind::Hello, Some(hello)) => frame::encode(&hello, Stamp::default()),
            _ => frame::encode(&nothing, Stamp::default()),
        }
        .expect("it fits a frame");
        let end = bytes.len().saturating_sub(1);
        bytes[index.min(end)] = value;
        self.event(Event::Frame { device: name.into(), kind, bytes });
    }

    /// What an agent sends a while after its last report, in case that was lost.
    pub fn last_word(&mut self, name: &str) {
        let Some(device) = self.devices.get(name).filter(|device| device.online) else { return };
        let word = Status {
            assignment: device.held,
            full: false,
            more: false,
            pods: List::default(),
            removed: List::default(),
        };
        self.device_sends(name, &word);
        self.settle();
    }

    /// Begins a new session without the hello, which is lost, and sends a status.
    pub fn reconnect_unheard(&mut self, name: &str) {
        let device = self.devices.get_mut(name).expect("it is there");
        (device.session, device.sequence) = (device.session + 1, 1);
        device.guard.as_mut().expect("it has joined").connected(device.session);
        self.report(name, true, Vec::new());
        self.settle();
    }

    fn statuses(&self, name: &str) -> Vec<PodStatus> {
        let device = &self.devices[name];
        let crashes = |pod: &str| {
            let mut patterns = device.crashes.iter().flat_map(|all| all.split('|'));
            patterns.any(|pattern| pod.contains(pattern))
        };
        let running = device.running.iter().map(|(id, (pod, identity))| {
            let phase = match device.ended.get(id) {
                Some(true) => Phase::Succeeded,
                Some(false) => Phase::Failed,
                None if crashes(pod) => Phase::Backoff,
                None => Phase::Running,
            };
            (id, identity, phase, "")
        });
        let leaving = device.leaving.iter().map(|(id, run)| (id, &run.1, Phase::Stopping, ""));
        let coming = device
            .coming
            .iter()
            .map(|(id, run)| (id, &run.1, Phase::Waiting, "WaitingForPredecessor"));
        running
            .chain(leaving)
            .chain(coming)
            .map(|(id, identity, phase, reason)| PodStatus {
                id: *id,
                identity: *identity,
                phase,
                reason: Text::cut(reason),
                message: Text::default(),
                init_containers: init_containers(device, *id),
                containers: vec![container(phase)].try_into().expect("one"),
            })
            .collect()
    }

    fn report(&mut self, name: &str, full: bool, removed: Vec<PodId>) {
        let pods = self.statuses(name);
        let Some(device) = self.devices.get(name) else { return };
        let status = Status {
            assignment: device.held,
            full,
            more: false,
            pods: pods.try_into().expect("few pods"),
            removed: removed.try_into().expect("few pods"),
        };
        self.device_sends(name, &status);
    }

    fn device_sends<M: Message>(&mut self, name: &str, message: &M) {
        let Some(device) = self.devices.get_mut(name) else { return };
        device.sequence += 1;
        if device.lossy && M::KIND == FrameKind::Status {
            return;
        }
        let stamp = Stamp { session: device.session, sequence: device.sequence };
        let bytes = frame::encode(message, stamp).expect("it fits a frame");
        let event = Event::Frame { device: name.into(), kind: M::KIND, bytes };
        self.engine.handle(event, self.clock());
    }

    pub fn join(&mut self, name: &str, settings: &[&str]) {
        let (lineage, keys) = (self.engine.lineage(), self.keys.clone());
        let agent = u8::try_from(self.devices.len() % 255).unwrap_or(0) + 1;
        let device = self.devices.entry(name.into()).or_insert_with(|| Device {
            agent,
            arch: "amd64".into(),
            memory: 1 << 30,
            body_room: 4 << 20,
            parts: BTreeMap::new(),
            asked: Vec::new(),
            engines: vec![RuntimeClass::Container, RuntimeClass::Wasm],
            ..Device::default()
        });
        for setting in settings {
            match setting.split_once('=') {
                Some(("arch", arch)) => device.arch = arch.into(),
                Some(("memory-mi", mi)) => {
                    device.memory = mi.parse::<u64>().expect("a number") << 20
                }
                Some(("body-kib", kib)) => {
                    device.body_room = kib.parse::<u32>().expect("a number") << 10
                }
                Some(("agent", id)) => device.agent = id.parse().expect("a number"),
                // It knows its hub by another key, or was never told of any.
                Some(("key", number)) => {
                    let number = number.parse().expect("a number");
                    device.guard = Some(signer::guard(lineage, &[number]));
                }
                Some(("keys", "none")) => device.guard = Some(signer::nobody()),
                Some((key, value)) => device.labels.push((key.into(), value.into())),
                None if *setting == "slow-to-stop" => device.slow_to_stop = true,
                None if *setting == "no-wasm" => device.engines = vec![RuntimeClass::Container],
                None if *setting == "fresh" => {
                    device.held = None;
                    device.running.clear();
                    device.leaving.clear();
                    device.coming.clear();
                }
                None => panic!("unknown setting {setting}"),
            }
        }
        device.online = true;
        device.session += 1;
        let guard = device.guard.get_or_insert_with(|| signer::guard(lineage, &keys));
        guard.connected(device.session);
        device.sequence = 0;
        device.wanted = None;
        let hello = hello(device);
        self.device_sends(name, &hello);
        if let Some(frame) = self.retained.get(name).cloned() {
            self.on_head(name, &frame);
        }
        self.report(name, true, Vec::new());
        self.settle();
    }

    /// A cold boot on which the saved assignment can't be read, so that the one before is in force.
    pub fn fall_back(&mut self, name: &str) {
        let device = self.devices.get_mut(name).expect("it is there");
        (device.held, device.running) = std::mem::take(&mut device.before);
        device.leaving.clear();
        device.coming.clear();
        self.join(name, &[]);
    }

    /// Its agent stands still, with its connection open.
    pub fn stall(&mut self, name: &str) {
        self.devices.get_mut(name).expect("it is there").stalled = Some(Vec::new());
    }

    /// Its agent goes on, and reads what came meanwhile.
    pub fn go_on(&mut self, name: &str) {
        let unread = self.devices.get_mut(name).and_then(|device| device.stalled.take());
        for (kind, frame) in unread.unwrap_or_default() {
            match kind {
                FrameKind::Head => self.on_head(name, &frame),
                _ => self.on_sent(name, kind, &frame),
            }
            self.settle();
        }
    }

    pub fn leave(&mut self, name: &str) {
        if let Some(device) = self.devices.get_mut(name) {
            device.online = false;
            device.stalled = None;
        }
        self.event(Event::Disconnected { device: name.into() });
    }

    pub fn crash(&mut self, pattern: Option<String>) {
        for device in self.devices.values_mut() {
            device.crashes.clone_from(&pattern);
        }
        let names: Vec<String> =
            self.devices.iter().filter(|(_, d)| d.online).map(|(n, _)| n.clone()).collect();
        for name in names {
            self.report(&name, false, Vec::new());
        }
        self.settle();
    }

    /// Time passes; the engine is woken when it asks to be.
    pub fn pass(&mut self, seconds: u64) {
        let until = self.now + seconds * 1000;
        while let Some(at) = self.engine.poll_timeout().filter(|at| at.0 <= until) {
            self.now = self.now.max(at.0);
            self.event(Event::Timeout);
        }
        self.now = until;
        self.event(Event::Timeout);
    }

    /// The hub ends without warning and starts again from its store; devices find it again.
    pub fn restart(&mut self) {
        let records: Vec<_> = self.records.clone().into_iter().collect();
        self.load(records);
    }

    fn load(&mut self, records: Vec<(String, Vec<u8>)>) {
        self.now += 1000;
        self.starts += 1;
        self.may_be_behind = self.clock_off < 0;
        let config = Config { seed: [self.starts; 32], ..config() };
        let signer = signer::signer(&self.keys);
        self.engine =
            Engine::load(records, config, signer, self.clock()).expect("its own store loads");
        self.begin();
        self.event(Event::LinkUp);
        let online: Vec<String> =
            self.devices.iter().filter(|(_, d)| d.online).map(|(n, _)| n.clone()).collect();
        for name in online {
            self.join(&name, &[]);
        }
    }

    pub fn backup(&self) -> Vec<(String, Vec<u8>)> {
        self.records.clone().into_iter().collect()
    }

    pub fn restore(&mut self, backup: Vec<(String, Vec<u8>)>) {
        self.records = backup.iter().cloned().collect();
        self.ahead = self.devices.keys().filter(|name| self.is_ahead(name)).cloned().collect();
        self.load(backup);
    }

    /// Whether a device holds a newer generation than the hub's store.
    fn is_ahead(&self, name: &str) -> bool {
        let known = || {
            let record = self.records.get(&format!("device/{name}"))?;
            let record: serde_json::Value = serde_json::from_slice(&record[1..]).expect("JSON");
            record["generation"].as_u64()
        };
        let held = self.devices.get(name).and_then(|device| device.held);
        held.is_some_and(|held| held.generation.0 > known().unwrap_or(0))
    }

    /// Whether a conflict pauses a device.
    pub fn is_paused(&mut self, name: &str) -> bool {
        let paused = |object: &Object| match object {
            Object::Node(node) if node.metadata.name == name => {
                node.status.conditions.iter().any(|c| c.kind == "Paused")
            }
            _ => false,
        };
        self.list(Kind::Node).iter().any(paused)
    }

    /// The operator lets the hub take a device over.
    pub fn resume(&mut self, name: &str) -> Result<Response, String> {
        self.ahead.remove(name);
        let answer = self.request(Request::Resume { device: name.into() });
        // A device that is away may hold still newer ones than the hub could know.
        if self.is_ahead(name) {
            self.ahead.insert(name.into());
        }
        answer
    }

    pub fn request(&mut self, request: Request) -> Result<Response, String> {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        let replies = self.event(Event::Request { id, actor: self.actor.clone(), request });
        let mut answers: Vec<_> = replies.into_iter().filter(|(of, _)| *of == id).collect();
        assert_eq!(answers.len(), 1, "every request has one answer");
        answers.remove(0).1
    }

    /// Deletes an object and declares it again, in one turn.
    pub fn replace(&mut self, kind: Kind, json: &serde_json::Value) {
        let object = Object::from_json(kind, json.to_string().as_bytes()).expect("valid JSON");
        let name = object.meta().name.clone();
        let delete = Request::Delete { kind, namespace: "default".into(), name };
        for request in [delete, Request::Create(object)] {
            self.next_request += 1;
            let id = RequestId(self.next_request);
            self.engine
                .handle(Event::Request { id, actor: self.actor.clone(), request }, self.clock());
        }
        for (_, reply) in self.settle() {
            reply.expect("both are taken");
        }
    }

    pub fn apply(&mut self, kind: Kind, json: &serde_json::Value) -> Result<Response, String> {
        let object = Object::from_json(kind, json.to_string().as_bytes()).expect("valid JSON");
        self.request(Request::Replace { object, create: true })
    }

    pub fn list(&mut self, kind: Kind) -> Vec<Object> {
        match self.request(Request::List { kind, namespace: None }) {
            Ok(Response::List(list)) => list.objects.iter().map(|o| o.as_ref().clone()).collect(),
            other => panic!("a list was asked for, not {other:?}"),
        }
    }

    pub fn push_image(&mut self, reference: &str, content: &str) {
        let root = Hash(Sha256::digest(content).into());
        let request = Request::NameImage { reference: reference.into(), root };
        self.request(request).expect("an image can be named");
    }
}

impl Device {
    /// Parts that an assignment refers to and that it does not have.
    fn missing(&self, assignment: &Assignment) -> Vec<Hash> {
        let has = |hash: &Hash| {
            self.parts.get(hash).is_some_and(|part| Hash(Sha256::digest(part).into()) == *hash)
        };
        let mut missing: Vec<Hash> =
            assignment.pods.iter().filter(|hash| !has(hash)).copied().collect();
        let here = assignment.pods.iter().filter(|hash| has(hash));
        for pod in here.map(|hash| decode::<Pod>(&self.parts[hash])) {
            let maps = pod.volumes.iter().flat_map(|volume| match &volume.source {
                VolumeSource::ConfigMap { data } => vec![*data],
                VolumeSource::Projected { sources } => {
                    let files = sources.iter().filter_map(|source| match source {
                        ProjectedSource::Files { data } => Some(*data),
                        ProjectedSource::Secret { .. } | ProjectedSource::Fact { .. } => None,
                    });
                    files.collect()
                }
                VolumeSource::EmptyDir { .. }
                | VolumeSource::HostPath { .. }
                | VolumeSource::Secret { .. }
                | VolumeSource::Claim(_) => Vec::new(),
            });
            let all = maps.chain(pod.secrets.iter().map(|secret| secret.data));
            missing.extend(all.filter(|data| !has(data)));
        }
        missing.sort();
        missing.dedup();
        missing
    }

    fn assigned(&self, assignment: &Assignment) -> Vec<Pod> {
        assignment.pods.iter().map(|hash| decode(&self.parts[hash])).collect()
    }
}

fn decode<T: serde::de::DeserializeOwned>(part: &[u8]) -> T {
    frame::decode_body(part).expect("the hub's parts decode")
}

fn init_containers<const N: usize>(device: &Device, pod: PodId) -> List<ContainerStatus, N> {
    let ended = |name: &String| ContainerStatus {
        name: Text::cut(name),
        state: ContainerState::Terminated(Exit {
            code: 0,
            reason: Text::cut("Completed"),
            message: Text::default(),
            started_ms: START_MS,
            at_ms: START_MS,
        }),
        last_exit: None,
        restarts: 0,
        ready: true,
        started: false,
        image: Hash([0; 32]),
    };
    let names = device.initialized.get(&pod).into_iter().flatten();
    names.map(ended).collect::<Vec<_>>().try_into().expect("few")
}

fn container(phase: Phase) -> ContainerStatus {
    let runs = matches!(phase, Phase::Running | Phase::Stopping);
    ContainerStatus {
        name: Text::cut("main"),
        state: match runs {
            _ if matches!(phase, Phase::Succeeded | Phase::Failed) => {
                ContainerState::Terminated(work::exit(phase))
            }
            true => ContainerState::Running { pid: 1, started_ms: START_MS },
            false => ContainerState::Waiting { reason: Text::default(), message: Text::default() },
        },
        last_exit: (phase == Phase::Backoff).then(|| Exit {
            code: 1,
            reason: Text::cut("Error"),
            message: Text::default(),
            started_ms: START_MS,
            at_ms: START_MS,
        }),
        restarts: 0,
        ready: phase == Phase::Running,
        started: phase == Phase::Running,
        image: Hash([0; 32]),
    }
}

fn hello(device: &Device) -> Hello {
    let hub = device.guard.as_ref().and_then(Guard::hub);
    let keys: Vec<KeyId> = hub.iter().flat_map(|hub| hub.keys.ids()).collect();
    let text = |s: &str| Text::try_from(s).expect("short");
    let runtimes: Vec<_> = device
        .engines
        .iter()
        .map(|engine| Runtime {
            runtime_class: *engine,
            name: Text::cut(if *engine == RuntimeClass::Wasm { "wasmtime" } else { "crun" }),
            version: Text::cut("1"),
            usable: true,
            limits_enforced: true,
            reason: Text::default(),
        })
        .collect();
    let labels: Vec<_> = device
        .labels
        .iter()
        .map(|(key, value)| Label {
            key: Text::try_from(key.as_str()).expect("short"),
            value: Text::try_from(value.as_str()).expect("short"),
        })
        .collect();
    Hello {
        agent: AgentId([device.agent; 16]),
        boot: BootId([1; 16]),
        version: Text::cut("0.1.0"),
        arch: text(&device.arch),
        os: text("linux"),
        kernel: Text::cut("6.1"),
        cpu_features: List::default(),
        cpu_milli: 2000,
        memory_bytes: device.memory,
        disk_bytes: 1 << 30,
        storage: Storage { claims: Text::cut("/var/lib/lichen/claims"), sizes_enforced: false },
        runtimes: runtimes.try_into().expect("few"),
        wasm: device.engines.contains(&RuntimeClass::Wasm).then(|| WasmSupport {
            class: text(if device.arch == "amd64" { "x86_64" } else { "aarch64" }),
            compatibility: text("c1"),
        }),
        labels: labels.try_into().expect("few"),
        assignment: device.held,
        clock_ms: 0,
        max_assignment_bytes: device.body_room,
        keys: keys.try_into().expect("at most two"),
        conditions: List::default(),
    }
}
