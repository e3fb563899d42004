//! Carries the core's effects out. What takes time goes to `work`, which answers with one message.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use firmware_compat::{
    id::{ClaimId, Hash},
    keys::PinnedHub,
    v1::owned::{Exit, Severity, Text},
};
use lichen_agent_core::{Effect, Event, Up, event::Failure};

use super::{
    pods,
    shell::{Key, Shell},
    work,
};
use crate::{link, logs};

impl Shell {
    /// Carries out everything that the core wants done.
    pub(super) fn carry_out(&mut self) {
        loop {
            let effects: Vec<Effect> = self.agent.drain().collect();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.carry_out_one(effect);
            }
        }
    }

    fn carry_out_one(&mut self, effect: Effect) {
        tracing::trace!(?effect);
        match effect {
            Effect::SaveAssignment(assignment) => {
                work::save_assignment(self.state.clone(), assignment, self.messages.clone());
            }
            Effect::RaiseTime { unix_ms, save } => {
                self.note_jump(unix_ms);
                self.known_time.raise(unix_ms);
                if save {
                    work::save_time_floor(self.state.clone(), self.known_time.clone());
                }
            }
            Effect::Note(event) => {
                let (reason, message) = (event.reason.as_str(), event.message.as_str());
                self.note(event.pod, reason, message, event.at_ms);
            }
            Effect::PinHub(hub) => self.pin_hub(hub),
            Effect::Connect => self.connect(),
            Effect::Disconnect => self.disconnect(),
            Effect::Send(up) => {
                log_warning(&up);
                if !self.link.send(&up) {
                    self.handle(Event::SendFailed(up));
                }
            }
            Effect::Fetch(blob) => {
                let Some(hub) = self.link.hub() else { return self.cannot_fetch(blob.digest) };
                let cancelled = Arc::new(AtomicBool::new(false));
                self.fetches.insert(blob.digest, cancelled.clone());
                let job =
                    work::Fetch { hub, blob, content: self.launcher.content.clone(), cancelled };
                work::fetch(job, self.slots.fetch.clone(), self.messages.clone());
            }
            Effect::CancelFetch { digest } => {
                if let Some(cancelled) = self.fetches.get(&digest) {
                    cancelled.store(true, Relaxed);
                }
            }
            Effect::Retain(keep) => work::retain(self.launcher.content.clone(), keep),
            Effect::PrepareSandbox { pod } => {
                let slots = self.slots.sandbox.clone();
                pods::make_sandbox(self.launcher.clone(), pod, slots, self.messages.clone());
            }
            Effect::Prepare { pod, container, attempt } => {
                self.prepared.remove(&(pod.id, container));
                let (launcher, containers) = (self.launcher.clone(), self.containers.clone());
                let job = pods::Prepare { launcher, containers, pod, container, attempt };
                pods::prepare(job, self.slots.prepare.clone(), self.messages.clone());
            }
            Effect::Start { pod, container, attempt } => self.start((pod.id, container), attempt),
            Effect::Probe { pod, container, attempt, purpose } => {
                let of = pods::Of { pod, container, attempt };
                pods::probe(&self.launcher, of, purpose, &self.slots.ask, &self.messages);
            }
            Effect::RunHook { pod, container, attempt, moment, timeout_ms } => {
                let of = pods::Of { pod, container, attempt };
                pods::run_hook(&self.launcher, of, moment, timeout_ms, &self.messages);
            }
            Effect::KeepHealth { pod, container, attempt, health } => {
                pods::keep_health(&self.launcher, (pod, container), attempt, health);
            }
            Effect::KeepFailure { pod, failure } => {
                pods::keep_failure(&self.launcher, pod, &failure);
            }
            Effect::Stop { pod, container, grace_ms } => self.stop((pod, container), grace_ms),
            Effect::UpdateFiles { pod } => {
                pods::update_files(self.launcher.clone(), pod, self.messages.clone());
            }
            Effect::CleanContainer { pod, container } => {
                self.prepared.remove(&(pod, container));
                let (slots, messages) = (self.slots.clean.clone(), self.messages.clone());
                pods::clean_container(self.launcher.clone(), pod, container, slots, messages);
            }
            Effect::RemoveSandbox { pod, keep_volumes } => {
                self.prepared.retain(|(other, _), _| *other != pod);
                let (slots, messages) = (self.slots.clean.clone(), self.messages.clone());
                let launcher = self.launcher.clone();
                pods::remove_sandbox(launcher, pod, keep_volumes, slots, messages);
            }
            Effect::RemoveClaims(removed) => self.remove_claims(&removed),
            Effect::ReadLogs(request) => {
                let command = request.command;
                let cancel = logs::serve(&self.launcher.run, request, self.messages.clone());
                self.commands.insert(command, cancel);
            }
            Effect::CancelCommand { command } => drop(self.commands.remove(&command)),
            Effect::Quit => self.done = true,
        }
    }

    fn connect(&mut self) {
        if let Some(poll) = self.name_poll.take() {
            poll.abort();
        }
        match self.probed {
            true => self.link.connect(),
            false => self.waiting_to_connect = true,
        }
    }

    fn disconnect(&mut self) {
        self.waiting_to_connect = false;
        self.link.disconnect();
        self.retry_stalled();
        let Some(config) = self.link.config() else { return };
        let poll = link::poll_name(config, self.messages.clone());
        if let Some(before) = self.name_poll.replace(poll) {
            before.abort();
        }
    }

    /// What is on disk at once is that they are to go.
    fn remove_claims(&mut self, removed: &[ClaimId]) {
        if let Err(error) = self.launcher.claims.condemn(removed) {
            tracing::warn!("the data of a deleted claim stays: {error}");
        }
        pods::sweep_claims(self.launcher.clone());
    }

    fn pin_hub(&mut self, hub: PinnedHub) {
        // Without a membership there is no link over which keys could have come.
        let Some(config) = self.link.config() else { return };
        work::pin_hub(config.membership.clone(), hub, self.messages.clone());
    }

    fn cannot_fetch(&mut self, digest: Hash) {
        let message = "this device's identity is damaged, so no hub gives it anything; its log says what to do";
        let failure = Failure { reason: "NoIdentity".to_owned(), message: message.to_owned() };
        self.handle(Event::FetchFailed { digest, failure });
    }

    fn start(&mut self, key: Key, attempt: u32) {
        let Some(ready) = self.prepared.remove(&key) else {
            let failure =
                Failure { reason: String::new(), message: "it was not prepared".to_owned() };
            let (pod, container) = key;
            return self.handle(Event::StartFailed { pod, container, failure });
        };
        let (launcher, messages) = (self.launcher.clone(), self.messages.clone());
        let watcher = pods::start(launcher, key, attempt, ready, messages);
        self.watchers.insert(key, watcher);
    }

    fn stop(&mut self, key: Key, grace_ms: u32) {
        match self.watchers.get(&key) {
            Some(watcher) => watcher.stop(grace_ms),
            // Nothing runs, as far as this agent knows.
            None => self.handle(Event::Exited {
                pod: key.0,
                container: key.1,
                exit: Exit {
                    code: lichen_shim::Outcome::Lost.exit_code(),
                    reason: Text::cut("Lost"),
                    message: Text::default(),
                    started_ms: 0,
                    at_ms: 0,
                },
            }),
        }
    }
}

/// What the hub is told about the device itself is worth a line to whoever looks after it there.
fn log_warning(up: &Up) {
    if let Up::Event(event) = up
        && event.severity == Severity::Warning
        && event.pod.is_none()
    {
        tracing::warn!(reason = event.reason.as_str(), "{}", event.message);
    }
}
