//! The core and everything around it, owned by the loop: takes messages in. `effects` carries out what follows.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::AtomicBool},
};

use firmware_compat::{
    id::{Hash, PodId},
    time::{Instant, UnixMs},
    v1::owned::Reply,
};
use lichen_agent_core::{Agent, ContainerId, Event, Up};
use tokio::{
    sync::{Semaphore, oneshot},
    task::AbortHandle,
};

use super::{clock::Clock, work};
use crate::{
    asking,
    known_time::KnownTime,
    link::Link,
    logbook::{book::Happened, keeper::Keeper},
    logs::Cancel,
    message::{Message, Sender},
    probe,
    runtime::{Containers, Launcher, Ready},
    state::StateDir,
    supervise::{Watch, Watcher},
};

/// How far a clock moves that is worth a note.
const JUMP_MS: u64 = 3_600_000;
/// Artefacts that are fetched at a time: one more than one, so that a small one need not wait for a large one.
const FETCHES: usize = 2;

/// Sandboxes that are made at a time, apart from containers: or all sandboxes would come before the first container.
const SANDBOXES: usize = 2;
/// Containers that are made ready at a time: enough for one slow image not to hold the others up, and few enough for the
/// first to be started while the last still waits.
const PREPARATIONS: usize = 3;
/// Containers and Pods of which the rest is removed at a time.
const CLEANINGS: usize = 3;

/// Work of which only so much is done at a time, so that threads are left for starting what is ready.
pub(super) struct Slots {
    pub(super) fetch: Arc<Semaphore>,
    pub(super) sandbox: Arc<Semaphore>,
    pub(super) prepare: Arc<Semaphore>,
    pub(super) clean: Arc<Semaphore>,
    pub(super) ask: Arc<Semaphore>,
}

impl Slots {
    fn new() -> Self {
        let of = |permits| Arc::new(Semaphore::new(permits));
        Self {
            fetch: of(FETCHES),
            sandbox: of(SANDBOXES),
            prepare: of(PREPARATIONS),
            clean: of(CLEANINGS),
            ask: of(asking::AT_ONCE),
        }
    }
}

/// A container of a Pod.
pub(super) type Key = (PodId, ContainerId);

/// The core and everything that it moves. Owned by the loop.
pub(super) struct Shell {
    pub(super) agent: Agent,
    pub(super) clock: Clock,
    pub(super) launcher: Arc<Launcher>,
    pub(super) state: Arc<StateDir>,
    /// What certificates are judged by.
    pub(super) known_time: KnownTime,
    pub(super) link: Link,
    pub(super) messages: Sender,
    /// The runtime that the operator named.
    runtime: Option<String>,
    pub(super) containers: Arc<Containers>,
    /// The core wants the link, which waits for the first probe: one Hello that says it all, instead of two.
    pub(super) waiting_to_connect: bool,
    pub(super) probed: bool,
    pub(super) prepared: BTreeMap<Key, Box<Ready>>,
    pub(super) watchers: BTreeMap<Key, Watcher>,
    pub(super) fetches: BTreeMap<Hash, Arc<AtomicBool>>,
    pub(super) slots: Slots,
    pub(super) commands: BTreeMap<u64, Cancel>,
    stalled: VecDeque<(Reply, oneshot::Sender<bool>)>,
    pub(super) name_poll: Option<AbortHandle>,
    pub(super) done: bool,
    logbook: Keeper,
}

/// What it is made of.
pub(super) struct Parts {
    pub(super) agent: Agent,
    pub(super) link: Link,
    pub(super) known_time: KnownTime,
    pub(super) launcher: Launcher,
    pub(super) state: Arc<StateDir>,
    pub(super) messages: Sender,
    pub(super) runtime: Option<String>,
    pub(super) logbook: Keeper,
}

impl Shell {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { agent, link, known_time, launcher, state, messages, runtime, logbook } = parts;
        Self {
            logbook,
            agent,
            clock: Clock::start(),
            launcher: Arc::new(launcher),
            state,
            known_time,
            link,
            messages,
            runtime,
            containers: Arc::default(),
            waiting_to_connect: false,
            probed: false,
            prepared: BTreeMap::new(),
            watchers: BTreeMap::new(),
            fetches: BTreeMap::new(),
            slots: Slots::new(),
            commands: BTreeMap::new(),
            stalled: VecDeque::new(),
            name_poll: None,
            done: false,
        }
    }

    /// Whether the core is done.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Tells the core what happened.
    pub(super) fn handle(&mut self, event: Event) {
        let now = self.clock.now();
        self.tell_clock(now);
        self.agent.handle(event, now);
    }

    /// Tells the core that time has passed.
    pub(super) fn wake(&mut self) {
        let now = self.clock.now();
        self.tell_clock(now);
        self.agent.handle_timeout(now);
    }

    /// Tells the core about the wall clock, if there is news.
    pub(super) fn tell_clock(&mut self, now: Instant) {
        let before = self.clock.wall(now);
        if let Some(unix_ms) = self.clock.news(now) {
            if let Some(before) = before.filter(|before| before.abs_diff(unix_ms) > JUMP_MS) {
                let message = format!("the clock was set from {before} to {unix_ms} ms since 1970");
                self.note(None, "ClockSet", &message, unix_ms);
            }
            self.agent.handle(Event::Clock { unix_ms }, now);
        }
    }

    /// Watches a container that was found running.
    pub(super) fn adopt(&mut self, watch: Watch) {
        self.watchers.insert((watch.pod, watch.container), watch.adopt());
    }

    /// Looks for container runtimes, in the background.
    pub(super) fn probe(&self) {
        let search = probe::search(self.runtime.clone(), self.state.path());
        work::probe(search, self.messages.clone());
    }

    /// Says goodbye to the hub. Pods run on.
    pub(super) async fn leave(mut self) {
        let at_ms = self.wall_ms();
        self.note(None, "AgentEnded", "the agent ends", at_ms);
        self.logbook.finish().await;
        self.link.leave().await;
    }

    /// Takes in what a task says.
    pub(super) fn take(&mut self, message: Message) {
        match message {
            Message::Happened(event) => self.happened(event),
            Message::LinkUp { client, session } => {
                if self.link.up(client, session) {
                    self.logbook.link(true);
                    tracing::info!("connected");
                    self.handle(Event::LinkUp { session });
                }
            }
            Message::LinkDown { client, taken_over, refused, why } => {
                self.link_down(client, taken_over, refused, &why)
            }
            Message::MembershipChanged => self.membership_changed(),
            Message::Probed(containers) => self.probed(containers),
            Message::ProbeIsSlow => self.connect_now(),
            Message::Prepared { pod, container, ready } => {
                self.prepared.insert((pod, container), ready);
                self.handle(Event::Prepared { pod, container });
            }
            Message::Reply { reply, sent } => {
                self.stalled.push_back((reply, sent));
                self.retry_stalled();
            }
        }
    }

    /// The core hears whom to believe: the operator may have let another hub take over.
    fn membership_changed(&mut self) {
        let at_ms = self.wall_ms();
        self.note(
            None,
            "MembershipChanged",
            "the certificate was renewed, or what is known of the hub has changed",
            at_ms,
        );
        if let Some(config) = self.link.config() {
            self.handle(Event::HubPinned(config.membership.pinned()));
            // By which time it is judged goes with it.
            work::save_time_floor(self.state.clone(), self.known_time.clone());
        }
        self.link.hurry();
    }

    /// Has something noted in the logbook.
    pub(super) fn note(&mut self, pod: Option<PodId>, reason: &str, message: &str, at_ms: UnixMs) {
        let (reason, message) = (reason.to_owned(), message.to_owned());
        let known_ms = self.known_time.now_unix_ms();
        self.logbook.note(Happened { at_ms, known_ms, pod, reason, message });
    }

    /// Has it noted if the hub says that it is much later than was known.
    pub(super) fn note_jump(&mut self, unix_ms: UnixMs) {
        let known_ms = self.known_time.now_unix_ms();
        if unix_ms > known_ms.saturating_add(JUMP_MS) {
            let message = format!(
                "the hub says that it is {unix_ms} ms since 1970, and {known_ms} was known"
            );
            let at_ms = self.wall_ms();
            self.note(None, "TimeRaised", &message, at_ms);
        }
    }

    fn wall_ms(&self) -> UnixMs {
        self.clock.wall(self.clock.now()).unwrap_or(0)
    }

    fn happened(&mut self, event: Event) {
        match &event {
            Event::Exited { pod, container, .. } | Event::StartFailed { pod, container, .. } => {
                self.watchers.remove(&(*pod, *container));
            }
            Event::Fetched { digest } | Event::FetchFailed { digest, .. } => {
                self.fetches.remove(digest);
            }
            Event::CommandEnded { command } => {
                self.commands.remove(command);
            }
            _ => {}
        }
        self.handle(event);
    }

    fn link_down(&mut self, client: u32, taken_over: bool, refused: bool, why: &str) {
        let was_up = self.link.is_up();
        if !self.link.down(client, refused) {
            return;
        }
        self.logbook.link(false);
        if refused {
            let at_ms = self.wall_ms();
            self.note(None, "Refused", why, at_ms);
        }
        match () {
            () if refused => tracing::warn!(why, "not connected; pods run on"),
            () if was_up || taken_over => tracing::info!(why, "disconnected"),
            () => tracing::debug!(why, "not connected"),
        }
        self.retry_stalled();
        self.handle(if taken_over { Event::TakenOver } else { Event::LinkDown });
    }

    fn probed(&mut self, containers: Containers) {
        match containers.best() {
            Some(best) => {
                tracing::info!(runtime = best.name, version = best.version, "containers can run");
            }
            None => tracing::info!(why = containers.why_none(), "containers can't run"),
        }
        let runtimes = probe::runtimes(Some(&containers));
        self.containers = Arc::new(containers);
        self.handle(Event::Runtimes { runtimes, wasm: Some(probe::wasm_support()) });
        self.connect_now();
    }

    fn connect_now(&mut self) {
        self.probed = true;
        if std::mem::take(&mut self.waiting_to_connect) {
            self.link.connect();
        }
    }

    /// Whether replies wait for room on the link.
    pub(super) fn has_stalled(&self) -> bool {
        !self.stalled.is_empty()
    }

    /// Sends replies that wait, as far as the link has room; refuses them if there is no link.
    pub(super) fn retry_stalled(&mut self) {
        while !self.link.is_up() || self.link.has_room() {
            let Some((reply, sent)) = self.stalled.pop_front() else { return };
            let accepted = self.link.send(&Up::Reply(reply));
            // A command that has ended does not care.
            let _ = sent.send(accepted);
        }
    }
}
