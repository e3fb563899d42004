//! What the shell's answers do to a Pod. An answer that the state does not wait for is late or wrong: it changes
//! nothing.

use alloc::{format, sync::Arc, vec::Vec};
use core::time::Duration;

use firmware_compat::{
    id::Hash,
    time::{Instant, UnixMs},
    v1::owned::{Exit, Text},
};

use super::{
    Container, Holds, Match, Pod,
    container::{State, StopWhy},
    sandbox::{self, Sandbox},
};
use crate::{
    backoff::{RESTART_FOUND, RESTART_RESET, restart_delay},
    effect::Effect,
    event::{Event, Failure, FoundPod},
    journal::or_usual,
    out::{Out, Recorder},
    spec::{ContainerId, PodSpec},
};

impl Pod {
    /// Takes in what an earlier agent left.
    pub fn found(&mut self, found: FoundPod, now: Instant) {
        self.holds = Some(Holds { identity: found.identity, spec: None });
        self.failed = found.failed;
        self.active = Some((now, found.age));
        let containers = found.containers.into_iter();
        self.containers = containers.map(|c| (c.container, Container::found(c, now))).collect();
        let state = if found.sandbox { sandbox::State::Ready } else { sandbox::State::Lost };
        self.sandbox = Sandbox::new(state);
        self.initialized = found.sandbox && self.was_initialized();
    }

    /// Whether the init containers had succeeded in the sandbox that was found: containers are started after them only.
    fn was_initialized(&self) -> bool {
        let main = || self.containers.values().filter(|c| !c.id.is_init());
        let wanted = self.wanted.as_ref();
        let is_sidecar = |id: ContainerId| {
            wanted.and_then(|spec| id.of(spec)).is_some_and(|spec| spec.supervision.sidecar)
        };
        let init = self.containers.values().filter(|c| c.id.is_init());
        main().any(Container::may_run)
            || main().any(|c| c.started)
                && init.filter(|c| !is_sidecar(c.id)).all(Container::has_ended_well)
    }

    /// The shell's answer about the Pod as a whole.
    pub fn answered(&mut self, event: Event, now: Instant, out: &mut Out) {
        let recorder = &mut Recorder { out, now, pod: self.id, container: None };
        match event {
            Event::SandboxReady { .. } => self.sandbox.prepared(),
            Event::SandboxFailed { failure, .. } => {
                self.sandbox.prepare_failed(failure, now, recorder);
            }
            Event::FilesUpdated { .. } => self.files.updated(recorder),
            Event::FilesUpdateFailed { failure, .. } => self.files.update_failed(failure, recorder),
            Event::SandboxRemoved { .. } => self.removed(now),
            Event::SandboxRemoveFailed { failure, .. } => {
                self.sandbox.remove_failed(failure, now, recorder);
            }
            _ => {}
        }
    }

    fn removed(&mut self, now: Instant) {
        match self.sandbox.removed() {
            None => {}
            Some(true) => {
                self.initialized = false;
                self.containers.values_mut().for_each(Container::sandbox_removed);
            }
            Some(false) => {
                let wanted = self.wanted.take();
                let restart = wanted.as_ref().map(|wanted| wanted.restart);
                let eviction = core::mem::take(&mut self.eviction).removed(restart, now);
                *self = Self { wanted, eviction, ..Self::new(self.id) };
            }
        }
    }

    /// The shell's answer about one of its containers. `is_held_back`: none must start now; when it may, it is prepared
    /// again. Returns artefacts that turned out to be missing or damaged.
    pub fn container_answered(
        &mut self,
        id: ContainerId,
        event: Event,
        is_held_back: bool,
        now: Instant,
        out: &mut Out,
    ) -> Vec<Hash> {
        let is_current = self.relation() == Match::Same && !is_held_back && !self.is_over();
        let spec = self.holds.as_ref().and_then(|holds| holds.spec.clone());
        let (pod, has_several) = (self.id, self.has_several());
        let Some(container) = self.containers.get_mut(&id) else { return Vec::new() };
        let name = Arc::clone(&container.name);
        let about = has_several.then_some(&*name);
        let recorder = &mut Recorder { out, now, pod, container: about };
        match event {
            Event::Prepared { .. } => container.prepared(spec.filter(|_| is_current), recorder),
            Event::PrepareFailed { failure, missing, .. } => {
                container.prepare_failed(failure, recorder);
                return missing;
            }
            Event::Started { pid, started_ms, .. } => container.started(pid, started_ms, recorder),
            Event::StartFailed { failure, .. } => container.start_failed(&failure, recorder),
            Event::Exited { exit, .. } => container.exited(exit, now),
            Event::Probed { attempt, purpose, answer, .. } => {
                if let Some(spec) = &spec {
                    container.probed((attempt, purpose), &answer, spec, recorder);
                }
            }
            Event::HookEnded { attempt, moment, failure, .. } => {
                let said = (attempt, moment);
                container.hook_ended(said, failure.as_deref(), spec.as_ref(), recorder);
            }
            Event::ContainerCleaned { .. } => container.cleaned(),
            Event::ContainerCleanFailed { failure, .. } => {
                container.clean_failed(failure, recorder)
            }
            _ => {}
        }
        Vec::new()
    }
}

impl Container {
    /// `spec`: what it is to run, if it may start now.
    fn prepared(&mut self, spec: Option<Arc<PodSpec>>, recorder: &mut Recorder<'_>) {
        if !matches!(self.state, State::Preparing) {
            return;
        }
        self.state = State::Absent;
        self.failures.clear();
        let Some(pod) = spec else { return };
        (self.kept, self.health) = (None, None);
        self.restarts = self.next_attempt();
        self.started = true;
        self.state = State::Starting { ended: None };
        recorder.out.push(Effect::Start { pod, container: self.id, attempt: self.restarts });
    }

    fn prepare_failed(&mut self, failure: Failure, recorder: &mut Recorder<'_>) {
        if matches!(self.state, State::Preparing) {
            let delay = self.failures.count("PrepareFailed", failure, recorder);
            self.state = State::Unprepared { until: recorder.now + delay };
        }
    }

    fn started(&mut self, pid: u32, started_ms: UnixMs, recorder: &mut Recorder<'_>) {
        let State::Starting { ended } = &mut self.state else { return };
        let ended = ended.take();
        self.state = State::Running { pid, started_ms, since: recorder.now };
        recorder.normal("Started", &format!("started with process id {pid}"));
        if let Some(exit) = ended {
            self.exited(exit, recorder.now);
        }
    }

    /// A start that failed counts as a run that ended at once.
    fn start_failed(&mut self, failure: &Failure, recorder: &Recorder<'_>) {
        if matches!(self.state, State::Starting { .. }) {
            let exit = Exit {
                code: START_ERROR,
                reason: Text::cut(&or_usual(&failure.reason, "StartError")),
                message: Text::cut(&failure.message),
                started_ms: 0,
                at_ms: recorder.out.unix_ms(recorder.now),
            };
            self.end(exit, Duration::ZERO, recorder.now);
        }
    }

    fn exited(&mut self, exit: Exit, now: Instant) {
        match &mut self.state {
            State::Running { since, .. } => {
                let ran = now.since(*since);
                self.end(exit, ran, now);
            }
            State::Starting { ended } => *ended = Some(exit),
            State::Stopping { why: StopWhy::Unhealthy, since, .. } => {
                let ran = now.since(*since);
                self.end(exit, ran, now);
            }
            State::Stopping { why, .. } => {
                let is_over = *why == StopWhy::Over;
                self.exit_before = self.last_exit.replace(exit);
                self.state = if is_over { State::Done } else { State::Lost };
            }
            State::Absent
            | State::Preparing
            | State::Unprepared { .. }
            | State::Ended { .. }
            | State::Backoff { .. }
            | State::Done
            | State::Lost
            | State::Cleaning
            | State::Unclean { .. } => {}
        }
    }

    fn cleaned(&mut self) {
        if matches!(self.state, State::Cleaning) {
            self.failures.clear();
            self.state = State::Absent;
        }
    }

    fn clean_failed(&mut self, failure: Failure, recorder: &mut Recorder<'_>) {
        if matches!(self.state, State::Cleaning) {
            let delay = self.failures.count("CleanFailed", failure, recorder);
            self.state = State::Unclean { until: recorder.now + delay };
        }
    }

    fn end(&mut self, exit: Exit, ran: Duration, now: Instant) {
        self.ends = if ran >= RESTART_RESET { 1 } else { self.ends.saturating_add(1) };
        self.exit_before = self.last_exit.replace(exit);
        let earliest = self.found_at.map_or(now, |found_at| found_at + RESTART_FOUND);
        let delay = restart_delay(self.ends).max(earliest.since(now));
        self.state = State::Ended { at: now, delay };
    }
}

/// Kubernetes' exit code of a container that could not be started.
const START_ERROR: i32 = 128;
