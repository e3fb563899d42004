//! Carries the core's effects out. What takes time goes to `work`, which answers with one message.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use firmware_compat::{
    id::PodId,
    v1::owned::{Exit, Text},
};
use lichen_agent_core::{Effect, Event, event::Failure};

use super::{shell::Shell, work};
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
            Effect::SaveTimeFloor { unix_ms } => work::save_time_floor(self.state.clone(), unix_ms),
            Effect::Connect => self.connect(),
            Effect::Disconnect => self.disconnect(),
            Effect::Send(up) => {
                if !self.link.send(&up) {
                    self.handle(Event::SendFailed(up));
                }
            }
            Effect::Fetch(blob) => {
                let cancelled = Arc::new(AtomicBool::new(false));
                self.fetches.insert(blob.digest, cancelled.clone());
                let job = work::Fetch {
                    hub: self.link.hub().clone(),
                    blob,
                    content: self.launcher.content.clone(),
                    cancelled,
                };
                work::fetch(job, self.fetch_slots.clone(), self.messages.clone());
            }
            Effect::CancelFetch { digest } => {
                if let Some(cancelled) = self.fetches.get(&digest) {
                    cancelled.store(true, Relaxed);
                }
            }
            Effect::Retain(keep) => work::retain(self.launcher.content.clone(), keep),
            Effect::Prepare { pod, attempt } => {
                self.prepared.remove(&pod.id);
                let containers = self.containers.clone();
                let launcher = self.launcher.clone();
                work::prepare(launcher, containers, pod, attempt, self.messages.clone());
            }
            Effect::Start { pod, attempt } => self.start(pod.id, attempt),
            Effect::Stop { pod, grace_ms } => self.stop(pod, grace_ms),
            Effect::UpdateFiles { pod } => {
                work::update_files(self.launcher.clone(), pod, self.messages.clone());
            }
            Effect::Clean { pod, keep_volumes } => {
                self.prepared.remove(&pod);
                let messages = self.messages.clone();
                work::clean(self.launcher.clone(), pod, keep_volumes, messages);
            }
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
        let poll = link::poll_name(self.link.config(), self.messages.clone());
        if let Some(before) = self.name_poll.replace(poll) {
            before.abort();
        }
    }

    fn start(&mut self, pod: PodId, attempt: u32) {
        let Some(spec) = self.prepared.remove(&pod) else {
            let failure =
                Failure { reason: String::new(), message: "it was not prepared".to_owned() };
            return self.handle(Event::StartFailed { pod, failure });
        };
        let watcher = work::start(self.launcher.clone(), pod, attempt, spec, self.messages.clone());
        self.watchers.insert(pod, watcher);
    }

    fn stop(&mut self, pod: PodId, grace_ms: u32) {
        match self.watchers.get(&pod) {
            Some(watcher) => watcher.stop(grace_ms),
            // Nothing runs, as far as this agent knows.
            None => self.handle(Event::Exited {
                pod,
                exit: Exit {
                    code: lichen_shim::Outcome::Lost.exit_code(),
                    reason: Text::cut("Lost"),
                    message: Text::default(),
                    at_ms: 0,
                },
            }),
        }
    }
}
