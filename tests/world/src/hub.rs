//! A hub's shell: the real engine, a store that survives or fails, the link, and a supplier of images.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use firmware_compat::{
    id::Hash,
    keys::PinnedHub,
    time::Instant,
    v1::owned::{Artefacts, Blob, Layer, List, Packing},
};
use lichen_agent_core::membership::upkeep::{Outcome, Step};
use lichen_hub_core::{
    actor::Actor,
    api::ApiError,
    effect::{Effect, Record, Response},
    engine::{Config, Engine},
    event::{Event, ImageError, ImageRequest, Now, Platform, Request, RequestId},
    record,
};
use sha2::{Digest, Sha256};

use crate::{
    Due, EPOCH_MS, World,
    broker::LinkEvent,
    canary::Canary,
    door::{Door, Vault},
    member::{Answer, Identity},
    trust::{self, Signer},
};

/// Requests of the world itself carry numbers from here on; what they are for is in [`Hub::asked`].
const FIRST_REQUEST: u64 = 1;

/// One hub: a store, and an engine while it runs.
#[derive(Debug, Default)]
pub struct Hub {
    pub engine: Option<Engine>,
    /// Counts its starts; what was meant for an earlier one is void.
    pub life: u32,
    pub records: BTreeMap<String, Vec<u8>>,
    /// When this life began on the world's clock.
    born: u64,
    link_up: bool,
    linked_at: u64,
    inbox: VecDeque<Event>,
    asked: BTreeMap<RequestId, Asked>,
    next_request: u64,
    /// The next commit goes wrong in this way.
    pub crash: Option<Crash>,
    /// Commits of this life and before.
    pub commits: u64,
    /// Backups, oldest first.
    pub backups: Vec<Backup>,
    /// Its disk takes nothing more.
    pub disk_full: bool,
    /// How far its clock is off, in milliseconds.
    pub clock_off: i64,
    /// Its signing keys by their numbers, newest first. They lie beside its store, and a backup holds them, too.
    pub keys: Vec<u64>,
    /// When the newest of them was made.
    pub keys_since: u64,
    /// When any of them came or went.
    pub keys_changed: u64,
    /// Commits of nothing but a time that was said, once a day.
    pub time_commits: u64,
    /// Its endpoint.
    pub door: Door,
    /// What it has of CAs.
    pub vault: Vault,
}

/// Why a request was made, for its answer.
#[derive(Debug)]
pub enum Asked {
    /// An operator's change; its index in the declared model.
    Change(u64),
    /// A board asks who holds the session of its name.
    Holder { board: usize, life: u32 },
    /// A board joins (no step), or renews.
    Member { board: usize, life: u32, step: Option<Step> },
    /// Its certificate is issued.
    Certified { board: usize, life: u32, step: Option<Step>, identity: Box<Identity> },
}

/// A copy of a store, and of what the operators had been promised by then.
#[derive(Clone, Debug)]
pub struct Backup {
    pub records: BTreeMap<String, Vec<u8>>,
    pub declared: crate::declared::Declared,
}

/// Where in a turn a hub dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Nothing of the turn is durable, nothing has left.
    BeforeCommit,
    /// The turn is durable and nothing of it has left.
    AfterCommit,
    /// The turn is durable and a part of it has left.
    Midway,
}

/// What can wake a hub.
#[derive(Debug)]
pub enum HubWake {
    /// Take what waits into a turn.
    Turn,
    Link(LinkEvent),
    Supplied {
        need: ImageRequest,
        result: Result<Artefacts, ImageError>,
    },
    Connect,
    /// A CA may have to end.
    Authorities,
}

impl Hub {
    pub fn wants_waking(&self) -> Option<u64> {
        let at = self.engine.as_ref()?.poll_timeout()?;
        Some(self.born + at.0)
    }

    /// Since when it hears devices, if it does.
    pub fn linked_since(&self) -> Option<u64> {
        (self.engine.is_some() && self.link_up).then_some(self.linked_at)
    }

    /// Nothing more goes wrong with its store.
    pub fn is_well(&mut self) {
        (self.crash, self.disk_full) = (None, false);
    }

    /// What its clock shows.
    pub fn unix_ms(&self, now: u64) -> u64 {
        (EPOCH_MS + now).saturating_add_signed(self.clock_off)
    }

    fn now(&self, now: u64) -> Now {
        Now { instant: Instant(now - self.born), unix_ms: self.believed_ms(now) }
    }
}

impl World {
    /// Starts a hub on its store. One that can't read its store says why and stays down.
    pub(crate) fn start_hub(&mut self, hub: usize) {
        if self.hubs[hub].engine.is_some() {
            return;
        }
        let mut seed = [0; 32];
        self.dice.fill(&mut seed);
        let it = &mut self.hubs[hub];
        it.life += 1;
        it.born = self.now;
        it.door = Door::default();
        it.vault.restart(self.now);
        let records: Vec<_> = it.records.clone().into_iter().collect();
        let clock = it.now(self.now);
        let signer = Arc::new(Signer::new(&it.keys));
        let config = Config { seed, lost_after_s: 300, seal: Arc::new(self.seals()) };
        let it = &mut self.hubs[hub];
        match Engine::load(records, config, signer, clock) {
            Ok(engine) => {
                it.engine = Some(engine);
                it.inbox.clear();
                it.asked.clear();
                self.tell(&format!("hub {hub} starts"));
                self.note_identity(hub);
                self.audit.forget_boards(hub);
                self.hub_turn(hub, Vec::new());
                self.look_at_authorities();
                let delay = self.up_to(300);
                let life = self.hubs[hub].life;
                self.at(delay, Due::Hub { hub, life, wake: HubWake::Connect });
            }
            Err(error) => {
                self.tell(&format!("hub {hub} refuses to start: {error}"));
                self.audit.refused_start(hub, error.to_string());
            }
        }
    }

    /// Who a hub says that it is, if it can be asked.
    pub(crate) fn identity(&self, hub: usize) -> Option<PinnedHub> {
        let it = &self.hubs[hub];
        let lineage = it.engine.as_ref()?.lineage();
        Some(PinnedHub { lineage, keys: trust::keys(&it.keys) })
    }

    fn note_identity(&mut self, hub: usize) {
        if let Some(identity) = self.identity(hub) {
            self.note_keys(identity);
        }
    }

    /// The operator changes a hub's signing keys.
    pub(crate) fn set_keys(&mut self, hub: usize, keys: Vec<u64>) {
        if self.hubs[hub].keys.first() != keys.first() {
            self.hubs[hub].keys_since = self.now;
        }
        self.hubs[hub].keys_changed = self.now;
        self.hubs[hub].keys = keys;
        if self.hubs[hub].engine.is_some() {
            self.note_identity(hub);
            let signer = Arc::new(Signer::new(&self.hubs[hub].keys));
            self.hub_event(hub, Event::Signer(signer));
        }
    }

    /// A hub ends without warning.
    pub(crate) fn kill_hub(&mut self, hub: usize) {
        if self.hubs[hub].engine.take().is_none() {
            return;
        }
        self.tell(&format!("hub {hub} is killed"));
        self.hubs[hub].link_up = false;
        let asked = std::mem::take(&mut self.hubs[hub].asked);
        for (_, asked) in asked {
            match asked {
                Asked::Change(change) => self.declared.unknown(change),
                Asked::Holder { .. } => {}
                Asked::Member { board, life, step }
                | Asked::Certified { board, life, step, .. } => {
                    let nothing = (Outcome::InVain, "the hub ended".to_owned());
                    self.answer_member(board, life, step, Err(nothing));
                }
            }
        }
        if self.broker.hub == Some(hub) {
            self.broker.hub = None;
        }
        self.all_absent(hub);
        if !self.broker.external && hub == 0 {
            self.drop_all_sessions();
            self.forget_retained();
        }
    }

    pub(crate) fn wake_hub(&mut self, hub: usize, life: u32, wake: HubWake) {
        if self.hubs[hub].life != life {
            return;
        }
        match wake {
            _ if self.hubs[hub].engine.is_none() => {}
            HubWake::Turn => {
                let events = self.hubs[hub].inbox.drain(..).collect();
                self.hub_turn(hub, events);
            }
            HubWake::Link(event) => self.hub_hears(hub, event),
            HubWake::Supplied { need, result } => {
                self.hub_event(hub, Event::Supplied { need, result });
            }
            HubWake::Connect => self.hub_connects(hub),
            HubWake::Authorities => self.look_at_authorities(),
        }
    }

    /// Puts an event in a hub's queue; a turn takes what is there by then.
    pub(crate) fn hub_event(&mut self, hub: usize, event: Event) {
        self.hubs[hub].inbox.push_back(event);
        if self.hubs[hub].inbox.len() == 1 {
            let delay = self.up_to(5);
            let life = self.hubs[hub].life;
            self.at(delay, Due::Hub { hub, life, wake: HubWake::Turn });
        }
    }

    fn hub_connects(&mut self, hub: usize) {
        if self.hubs[hub].link_up {
            return;
        }
        if !self.broker.up {
            return self.hub_connects_later(hub);
        }
        // One session per client id: a second hub of this name pushes the first one out.
        if let Some(old) = self.broker.hub.replace(hub)
            && old != hub
        {
            self.hub_link_down(old);
        }
        (self.hubs[hub].link_up, self.hubs[hub].linked_at) = (true, self.now);
        self.hub_event(hub, Event::LinkUp);
        (0..self.boards.len()).for_each(|board| self.enrol(board));
    }

    fn hub_connects_later(&mut self, hub: usize) {
        let delay = 200 + self.up_to(20_000);
        let life = self.hubs[hub].life;
        self.at(delay, Due::Hub { hub, life, wake: HubWake::Connect });
    }

    /// A hub's link to the broker breaks, and it tries again.
    pub(crate) fn hub_link_down(&mut self, hub: usize) {
        if self.hubs[hub].engine.is_none() || !self.hubs[hub].link_up {
            return;
        }
        self.hubs[hub].link_up = false;
        self.all_absent(hub);
        self.hub_event(hub, Event::LinkDown { reason: "the broker closed the connection".into() });
        self.hub_connects_later(hub);
    }

    /// A hub that hears nothing can't tell who is there.
    fn all_absent(&mut self, hub: usize) {
        if hub == 0 {
            let names: Vec<String> = self.boards.iter().map(|b| b.name.clone()).collect();
            names.iter().for_each(|name| self.audit.goes_absent(name, self.now));
        }
    }

    fn hub_hears(&mut self, hub: usize, event: LinkEvent) {
        if hub == 0
            && let LinkEvent::Frame { device, kind: firmware_compat::frame::Kind::Hello, .. } =
                &event
        {
            self.audit.is_heard(device);
        }
        let event = match event {
            LinkEvent::Frame { device, kind, bytes } => Event::Frame { device, kind, bytes },
            LinkEvent::Disconnected { device } => Event::Disconnected { device },
            LinkEvent::TakenOver { device } => Event::TakenOver { device },
        };
        self.hub_event(hub, event);
    }

    /// Asks a hub something and remembers what for. False if it can't be asked.
    pub(crate) fn ask_hub(&mut self, hub: usize, request: Request, asked: Asked) -> bool {
        let it = &mut self.hubs[hub];
        if it.engine.is_none() {
            return false;
        }
        it.next_request += 1;
        let id = RequestId(FIRST_REQUEST + it.next_request);
        it.asked.insert(id, asked);
        self.hub_event(hub, Event::Request { id, actor: Actor::hub().into(), request });
        true
    }

    /// Reads from a hub at once, without a turn's delay: the eyes of checks and scenarios.
    pub(crate) fn read_hub(
        &mut self,
        hub: usize,
        request: Request,
    ) -> Option<Result<Response, ApiError>> {
        self.hubs[hub].known_s(self.now);
        let now = self.hubs[hub].now(self.now);
        let it = &mut self.hubs[hub];
        let engine = it.engine.as_mut()?;
        it.next_request += 1;
        let id = RequestId(FIRST_REQUEST + it.next_request);
        engine.handle(Event::Request { id, actor: Actor::hub().into(), request }, now);
        let mut answer = None;
        for effect in engine.drain() {
            match effect {
                Effect::Reply { id: of, result } if of == id => answer = Some(result),
                other => self.carry_out_for_hub(hub, other),
            }
        }
        answer
    }

    /// One turn: events in, one commit, then what leaves.
    pub(crate) fn hub_turn(&mut self, hub: usize, events: Vec<Event>) {
        self.hubs[hub].known_s(self.now);
        let now = self.hubs[hub].now(self.now);
        let Some(engine) = self.hubs[hub].engine.as_mut() else { return };
        for event in events {
            engine.handle(event, now);
        }
        loop {
            let Some(engine) = self.hubs[hub].engine.as_mut() else { return };
            let effects = engine.drain();
            if effects.is_empty() {
                return;
            }
            self.audit.bound("effects of one hub turn", effects.len(), 5000);
            let mut left_before_death = usize::MAX;
            for (index, effect) in effects.into_iter().enumerate() {
                if index >= left_before_death {
                    return self.kill_hub(hub);
                }
                if let Effect::Save(records) = effect {
                    match self.commit(hub, &records) {
                        Ok(None) => {}
                        Ok(Some(leaves)) => left_before_death = index + 1 + leaves,
                        Err(()) => return self.kill_hub(hub),
                    }
                } else {
                    self.carry_out_for_hub(hub, effect);
                }
            }
            if left_before_death != usize::MAX {
                return self.kill_hub(hub);
            }
        }
    }

    /// Commits a turn's records: all or none. `Ok(Some(n))`: the hub dies after `n` more effects.
    pub(crate) fn commit(&mut self, hub: usize, records: &[Record]) -> Result<Option<usize>, ()> {
        let crash = self.hubs[hub].crash.take();
        if crash == Some(Crash::BeforeCommit) {
            return Err(());
        }
        if self.hubs[hub].disk_full {
            self.tell(&format!("hub {hub} can't commit: its disk is full"));
            return Err(());
        }
        self.judge_records(records);
        match records {
            [one] if one.key == record::TIME => self.hubs[hub].time_commits += 1,
            _ => self.hubs[hub].commits += 1,
        }
        if hub == 0 {
            self.judge_commit(records);
        } else {
            self.note_assigned(records);
        }
        let forgets = self.is(Canary::HubForgetsSaves) && self.chance(20);
        if !forgets {
            for record in records {
                match &record.value {
                    Some(value) => {
                        self.hubs[hub].records.insert(record.key.clone(), value.clone());
                    }
                    None => {
                        self.hubs[hub].records.remove(&record.key);
                    }
                }
            }
        }
        Ok(match crash {
            Some(Crash::AfterCommit) => Some(0),
            Some(Crash::Midway) => Some(usize::try_from(self.up_to(4)).unwrap_or(0)),
            Some(Crash::BeforeCommit) | None => None,
        })
    }

    fn carry_out_for_hub(&mut self, hub: usize, effect: Effect) {
        match effect {
            Effect::Save(records) => {
                if self.commit(hub, &records).is_err() {
                    self.kill_hub(hub);
                }
            }
            Effect::Reply { id, result } => self.hub_replies(hub, id, result),
            Effect::SetHead { device, frame } => {
                let frame = self.sabotage_head(frame);
                if hub == 0 {
                    self.judge_head(&device, &frame);
                }
                let times = if self.is(Canary::HubRepeatsItself) { 100 } else { 1 };
                for _ in 0..times {
                    self.send_down(hub, &device, firmware_compat::frame::Kind::Head, &frame);
                }
            }
            Effect::ClearHead { device } => self.clear_retained(hub, &device),
            Effect::Admit { .. } | Effect::Dismiss { .. } | Effect::Disown { .. } => {
                self.door_learns(hub, effect);
            }
            Effect::Send { device, kind, frame } => self.send_down(hub, &device, kind, &frame),
            Effect::SendAll { kind, frame } => self.send_all(hub, kind, &frame),
            Effect::Supply(need) => {
                let result = supply(&need);
                let delay = 5 + self.up_to(2000);
                let life = self.hubs[hub].life;
                let wake = HubWake::Supplied { need, result };
                self.at(delay, Due::Hub { hub, life, wake });
            }
            Effect::Changed(_) | Effect::LogPart { .. } => {}
        }
    }

    fn hub_replies(&mut self, hub: usize, id: RequestId, result: Result<Response, ApiError>) {
        match self.hubs[hub].asked.remove(&id) {
            Some(Asked::Change(change)) => {
                let refused = result.as_ref().err().map(ToString::to_string);
                if let Some(refused) = &refused {
                    self.tell(&format!("the hub refuses: {refused}"));
                }
                self.declared.answered(change, refused.is_none());
            }
            Some(Asked::Holder { board, life }) => {
                let holder = match result {
                    Ok(Response::Session(holder)) => holder.map(|(agent, _)| agent),
                    _ => None,
                };
                let another = holder.is_some_and(|agent| agent != self.boards[board].agent_id());
                self.holder_answers(board, life, another);
            }
            Some(Asked::Member { board, life, step }) => {
                self.engine_answers(board, life, step, result);
            }
            Some(Asked::Certified { board, life, step, identity }) => {
                let answer = match result {
                    Ok(_) => Ok(Answer::Identity(*identity)),
                    Err(error) => Err((Outcome::InVain, error.to_string())),
                };
                self.answer_member(board, life, step, answer);
            }
            None => {}
        }
    }
}

/// Whether an image has a build: one in eight has none for arm64.
pub fn has_build(root: Hash, target: &Platform) -> bool {
    !matches!(target, Platform::Container { arch } if arch == "arm64" && root.0[1].is_multiple_of(8))
}

/// What a device needs of an image: made up from its digest, the same every time.
fn supply(need: &ImageRequest) -> Result<Artefacts, ImageError> {
    let blob = |part: &str, size: u64| {
        let mut hasher = Sha256::new();
        hasher.update(need.root.0);
        hasher.update(part);
        Blob { digest: Hash(hasher.finalize().into()), size }
    };
    let size = 1000 + u64::from(need.root.0[0]) * 4000;
    if !has_build(need.root, &need.target) {
        return Err(ImageError {
            reason: "ImageHasNoBuild".into(),
            message: "the image has no build for this device".into(),
            retry: false,
        });
    }
    match &need.target {
        Platform::Container { arch } => {
            let layer = Layer { blob: blob(arch, size), packing: Packing::TarGzip };
            let layers = List::try_from(vec![layer]).unwrap_or_default();
            Ok(Artefacts::Image { config: blob("config", 400), layers })
        }
        Platform::Wasm(support) => {
            Ok(Artefacts::Wasm { module: need.root, compiled: blob(&support.class, size) })
        }
    }
}
