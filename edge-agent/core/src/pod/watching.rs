//! Watching over containers that run: their hooks, and what their probes lead to. When to ask and what a row of answers
//! means is in `health`.

use alloc::{format, sync::Arc};

use firmware_compat::{
    time::Instant,
    v1::owned::{Moment, Purpose, RestartPolicy},
};

use super::{
    Container, Pod,
    container::{State, Stop, StopWhy, hook_of},
    health::Health,
};
use crate::{
    effect::Effect,
    event::Answer,
    out::{Out, Recorder},
    spec::PodSpec,
};

impl Pod {
    /// Begins to watch over what has begun to run.
    pub(super) fn watch(&mut self, now: Instant, out: &mut Out) {
        let Some(spec) = self.holds.as_ref().and_then(|holds| holds.spec.clone()) else { return };
        for container in self.containers.values_mut() {
            container.watch(&spec, now, out);
        }
    }

    /// Asks what is to be asked.
    pub(super) fn ask(&mut self, now: Instant, out: &mut Out) {
        let Some(spec) = self.holds.as_ref().and_then(|holds| holds.spec.clone()) else { return };
        for container in self.containers.values_mut() {
            let (id, attempt) = (container.id, container.restarts);
            let Some(health) = container.watched() else { continue };
            for purpose in health.due(now) {
                let pod = Arc::clone(&spec);
                out.push(Effect::Probe { pod, container: id, attempt, purpose });
            }
        }
    }
}

impl Container {
    /// Whether it runs and has come up.
    pub(super) fn is_started(&self) -> bool {
        self.known().is_some_and(|known| known.started)
    }

    /// Whether it runs and is of use.
    pub(super) fn is_ready(&self) -> bool {
        self.known().is_some_and(|known| known.ready)
    }

    fn known(&self) -> Option<crate::event::Health> {
        let State::Running { .. } = self.state else { return None };
        // Without an assignment nobody knows what is asked of one that was found.
        let found = || self.kept.map(|(kept, _)| kept.unwrap_or(UNASKED));
        self.health.as_ref().map(|health| health.kept).or_else(found)
    }

    /// Whether others wait for its hook after the start: Kubernetes starts one container after the other's hook.
    pub(super) fn holds_up(&self, spec: &PodSpec) -> bool {
        let is_on_its_way = match self.state {
            State::Preparing | State::Starting { .. } => true,
            State::Running { .. } => self.health.as_ref().is_none_or(|health| !health.kept.hooked),
            _ => false,
        };
        is_on_its_way && hook_of(self.id, spec, Moment::PostStart)
    }

    fn watched(&mut self) -> Option<&mut Health> {
        self.health.as_mut().filter(|_| matches!(self.state, State::Running { .. }))
    }

    fn watch(&mut self, spec: &Arc<PodSpec>, now: Instant, out: &mut Out) {
        let (State::Running { since, .. }, None) = (&self.state, &self.health) else { return };
        let Some(own) = self.id.of(spec) else { return };
        let health = match self.kept {
            Some((kept, age)) => Health::adopt(&own.supervision, kept, age, now, &mut out.rng),
            None => Health::begin(&own.supervision, *since),
        };
        if !health.kept.hooked {
            // Of one that was found nobody knows whether it was done: at least once is Kubernetes' promise.
            out.push(Effect::RunHook {
                pod: Arc::clone(spec),
                container: self.id,
                attempt: self.restarts,
                moment: Moment::PostStart,
                timeout_ms: None,
            });
        }
        self.health = Some(health);
    }

    /// The shell's answer.
    pub(super) fn probed(
        &mut self,
        (attempt, purpose): (u32, Purpose),
        answer: &Answer,
        spec: &Arc<PodSpec>,
        recorder: &mut Recorder<'_>,
    ) {
        let (id, now) = (self.id, recorder.now);
        let (Some(own), true) = (id.of(spec), attempt == self.restarts) else { return };
        let Some(health) = self.watched() else { return };
        let before = health.kept;
        let verdict = health.answered(purpose, answer, own, now);
        let after = health.kept;
        if let Some(message) = verdict.unhealthy {
            recorder.warn("Unhealthy", &message);
        }
        if before != after {
            self.keep_health(recorder);
        }
        if let Some((probe, grace_ms)) = verdict.end {
            let again = match self.sidecar || spec.restart != RestartPolicy::Never {
                true => ", will be restarted",
                false => "",
            };
            let message = format!("Container {} failed {probe} probe{again}", self.name);
            self.end_unwell(&message, grace_ms, spec, recorder);
        }
    }

    /// The shell's answer.
    pub(super) fn hook_ended(
        &mut self,
        (attempt, moment): (u32, Moment),
        failure: Option<&str>,
        spec: Option<&Arc<PodSpec>>,
        recorder: &mut Recorder<'_>,
    ) {
        if attempt != self.restarts {
            return;
        }
        match (moment, failure) {
            (Moment::PreStop, failure) => {
                let State::Stopping { hook: true, .. } = self.state else { return };
                if let Some(cause) = failure {
                    recorder.warn("FailedPreStopHook", &format!("PreStopHook failed: {cause}"));
                }
                self.hook_is_over(recorder.pod, recorder.now, recorder.out);
            }
            (Moment::PostStart, None) => {
                let Some(health) = self.watched() else { return };
                health.hooked();
                self.keep_health(recorder);
            }
            (Moment::PostStart, Some(cause)) => {
                let Some(spec) = spec.filter(|_| self.watched().is_some()) else { return };
                recorder.warn("FailedPostStartHook", &format!("PostStartHook failed: {cause}"));
                self.end_unwell("FailedPostStartHook", 0, spec, recorder);
            }
        }
    }

    /// Ends it, and leaves what follows to the restart policy. `grace_ms`: 0 for the Pod's.
    fn end_unwell(
        &mut self,
        message: &str,
        grace_ms: u32,
        spec: &Arc<PodSpec>,
        recorder: &mut Recorder<'_>,
    ) {
        recorder.out.normal(recorder.now, Some(recorder.pod), "Killing", message);
        let grace_ms = if grace_ms == 0 { spec.grace_ms } else { grace_ms };
        let (pod, why) = (recorder.pod, StopWhy::Unhealthy);
        let order = Stop { pod, spec: Some(spec), grace_ms, why };
        self.stop(&order, recorder.now, recorder.out);
    }

    fn keep_health(&mut self, recorder: &mut Recorder<'_>) {
        let (pod, container, attempt) = (recorder.pod, self.id, self.restarts);
        if let Some(health) = self.watched().map(|health| health.kept) {
            recorder.out.push(Effect::KeepHealth { pod, container, attempt, health });
        }
    }
}

/// Of a container of which nothing is asked.
const UNASKED: crate::event::Health =
    crate::event::Health { hooked: true, started: true, ready: true };
