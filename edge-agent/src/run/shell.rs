//! The core and everything around it, owned by the loop: takes messages in. `effects` carries out what follows.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use firmware_compat::{
    id::{Hash, PodId},
    time::{Instant, UnixMs},
    v1::owned::{ConditionKind, NodeCondition, Reply, Text},
};
use lichen_agent_core::{Agent, ContainerId, Event, LocalPod, Up, event::Measured};
use tokio::{
    sync::{Semaphore, oneshot},
    task::AbortHandle,
};

use super::{clock::Clock, work};
use crate::{
    asking,
    known_time::KnownTime,
    link::Link,
    local::{self, Question},
    logbook::{book::Happened, keeper::Keeper},
    logs::Cancel,
    measure::{self, Places},
    message::{Message, Sender},
    pod_dir::{ContainerDir, PodDir},
    probe,
    runtime::{Containers, Launcher, Ready},
    state::StateDir,
    supervise::{Watch, Watcher},
};

/// How far a clock moves that is worth a note.
const JUMP_MS: u64 = 3_600_000;
/// Artefacts that are fetched at a time: one more than one, so that a small one need not wait for a large one.
const FETCHES: usize = 2;

/// How often it is looked how much is left of the device: the kubelet's.
const MEASURE_INTERVAL: Duration = Duration::from_secs(10);
/// A look that takes long comes round again only after so many times as long.
const MEASURE_REST: u32 = 10;

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
    /// Somebody looks how much is left of the device.
    pub(super) is_measuring: bool,
    /// When somebody does next.
    pub(super) measure_at: tokio::time::Instant,
    is_read_only: bool,
    /// For whoever asks on the device.
    recent: VecDeque<local::Event>,
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
            is_measuring: false,
            measure_at: tokio::time::Instant::now() + MEASURE_INTERVAL,
            is_read_only: false,
            recent: VecDeque::new(),
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

    /// Looks for container runtimes, in the background. One that worked in an earlier boot is used at once.
    pub(super) fn probe(&mut self) {
        let search = probe::search(self.runtime.clone(), self.state.path());
        let last = self.state.last_runtime(&search);
        work::probe(search, last.is_some(), self.state.clone(), self.messages.clone());
        if let Some(last) = last {
            self.probed(last);
        }
    }

    /// Verifies what is stored, in the background.
    pub(super) fn scrub(&self) {
        work::scrub(self.launcher.content.clone(), self.messages.clone());
    }

    fn answer(&self, question: &Question) -> String {
        match question {
            Question::Status => {
                let name = self.link.config().map(|config| config.name.clone()).unwrap_or_default();
                local::status(&self.agent, &name, self.link.is_up())
            }
            Question::Events => local::events(&self.recent),
            Question::Log { pod, container, previous } => {
                self.log_of(pod, container, *previous).unwrap_or_else(|why| format!("!{why}\n"))
            }
        }
    }

    /// The run directory of the log that somebody asks for, by names that people use.
    fn log_of(&self, pod: &str, container: &str, previous: bool) -> Result<String, String> {
        let pods = self.agent.local_pods();
        let is_meant = |own: &&LocalPod| {
            own.label == pod || own.label.split_once('/').is_some_and(|(_, name)| name == pod)
        };
        let own = match pods.iter().filter(is_meant).collect::<Vec<_>>()[..] {
            [own] => own,
            [] => {
                return Err(format!(
                    "this device has no pod {pod}; `lichen-agent status` lists those that it has"
                ));
            }
            [..] => return Err(format!("several pods are called {pod}: say NAMESPACE/{pod}")),
        };
        let dir = PodDir::new(&self.launcher.run, own.id);
        let all = dir.containers().map_err(|error| error.to_string())?;
        let name = |own: &ContainerDir| own.record().ok().flatten().map(|record| record.name);
        let found = match container {
            // The first that is no init container, as the hub takes it.
            "" => all.iter().find(|(id, _)| !id.is_init()).or(all.first()),
            wanted => all.iter().find(|(_, own)| name(own).as_deref() == Some(wanted)),
        };
        let (_, own) = found.ok_or("there is no such container, or it was never started")?;
        let runs = own.runs().map_err(|error| error.to_string())?;
        let run = runs.get(usize::from(previous)).ok_or("it has no such run")?;
        Ok(format!("{}\n", own.attempt(*run).display()))
    }

    /// Listens for who asks on the device itself, for as long as the answer is kept.
    pub(super) fn listen(&self) -> Option<local::Socket> {
        local::listen(self.state.path(), self.messages.clone())
            .inspect_err(
                |error| tracing::warn!(%error, "`lichen-agent status` can't ask this agent"),
            )
            .ok()
    }

    /// Looks how much is left of the device, apart from what Pods hold.
    pub(super) fn measure_device(&mut self, now: Instant) {
        let measured = measure::measure(&self.places(), &[]);
        self.tell_whether_read_only(now);
        self.agent.handle(Event::Measured(measured), now);
    }

    /// Looks how much is left of the device, and what Pods hold of it, in the background.
    pub(super) fn measure(&mut self) {
        self.is_measuring = true;
        let (places, pods) = (self.places(), self.agent.to_measure());
        work::answer(self.messages.clone(), move || {
            let began = std::time::Instant::now();
            let measured = measure::measure(&places, &pods);
            Message::Measured { measured, took: began.elapsed() }
        });
    }

    fn measured(&mut self, measured: Measured, took: Duration) {
        self.is_measuring = false;
        let rest = MEASURE_INTERVAL.max(took.saturating_mul(MEASURE_REST));
        self.measure_at = tokio::time::Instant::now() + rest;
        self.tell_whether_read_only(self.clock.now());
        let state = self.state.clone();
        tokio::task::spawn_blocking(move || state.keep_reserve());
        self.handle(Event::Measured(measured));
    }

    fn tell_whether_read_only(&mut self, now: Instant) {
        let is_true = self.state.is_read_only() || measure::is_read_only(self.state.path());
        if is_true == std::mem::replace(&mut self.is_read_only, is_true) {
            return;
        }
        let (reason, message) = match is_true {
            true => (
                "FilesystemIsReadOnly",
                "the file system of the state directory is mounted to be read only, as the kernel does after errors of a \
                 disk: what is saved runs, and nothing new can be kept",
            ),
            false => ("FilesystemIsNotReadOnly", "the state directory can be written"),
        };
        let kind = ConditionKind::ReadonlyFilesystem;
        let (reason, message) = (Text::cut(reason), Text::cut(message));
        self.agent.handle(Event::Condition(NodeCondition { kind, is_true, reason, message }), now);
    }

    fn places(&self) -> Places {
        Places {
            state: self.state.path().to_owned(),
            run: self.launcher.run.clone(),
            agent: self.launcher.agent,
        }
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
            Message::Measured { measured, took } => self.measured(measured, took),
            Message::Asked { question, answer } => {
                // Who asked may have gone.
                let _ = answer.send(self.answer(&question));
            }
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
        let label = pod.map(|pod| self.agent.label(pod)).unwrap_or_default();
        tracing::info!(reason, pod = label, "{message}");
        if self.recent.len() >= local::RECENT {
            self.recent.pop_front();
        }
        let (told, said) = (reason.clone(), message.clone());
        self.recent.push_back(local::Event { at_ms, reason: told, pod: label, message: said });
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
        if let Some(best) = containers.best() {
            self.tell_limits(best.limits_problem.as_deref());
        }
        self.containers = Arc::new(containers);
        self.handle(Event::Runtimes { runtimes, wasm: Some(probe::wasm_support()) });
        self.connect_now();
    }

    /// `problem`: with those of containers that can't be enforced.
    fn tell_limits(&mut self, problem: Option<&str>) {
        if let Some(why) = problem {
            tracing::warn!(why, "not every limit of containers is enforced");
        }
        let reason = if problem.is_some() { "LimitsNotEnforced" } else { "LimitsEnforced" };
        let condition = NodeCondition {
            kind: ConditionKind::LimitsNotEnforced,
            is_true: problem.is_some(),
            reason: Text::cut(reason),
            message: Text::cut(
                problem.unwrap_or("limits of memory, processor and processes are enforced"),
            ),
        };
        self.handle(Event::Condition(condition));
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
