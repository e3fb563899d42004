//! Carrying out what an agent asks for: each piece of work takes its time, and then has happened, or has not.

use std::collections::BTreeMap;

use firmware_compat::{
    id::{Hash, PodId},
    v1::owned::{Artefacts, Blob, Container, Pod},
};
use lichen_agent_core::{
    ContainerId, Effect, Event, PodSpec, SavedAssignment,
    event::{Answer, DISK_FULL, Failure},
    saved::{self, DiskStep},
};

use super::{Artefact, Transfer, Wake, processes::Program};
use crate::{Due, World, canary::Canary};

/// Why a container can't be made.
const UNOPENED: &str = "CreateContainerConfigError";

impl World {
    /// Starts a piece of work, or does it at once where the real shell does.
    pub(super) fn begin_effect(&mut self, board: usize, effect: Effect) {
        let delay = match &effect {
            // The logbook travels beside MQTT, and nothing is decided by it.
            Effect::Note(_) => return,
            Effect::Connect => return self.wants_link(board, true),
            Effect::Disconnect => return self.wants_link(board, false),
            Effect::Send(_) => {
                let Effect::Send(up) = effect else { return };
                return self.send(board, up);
            }
            Effect::CancelFetch { digest } => return self.cancel_fetch(board, *digest),
            // That they are to go is on disk before the next effect is carried out.
            Effect::RemoveClaims(claims) => {
                self.boards[board].condemn(claims);
                return self.sweep_claims(board);
            }
            Effect::CancelCommand { command } => {
                let command = *command;
                return self.feed(board, Event::CommandEnded { command });
            }
            Effect::Quit => return self.agent_quits(board),
            Effect::Stop { pod, container, grace_ms } => {
                let (pod, container, grace_ms) = (*pod, *container, *grace_ms);
                return self.signal(board, pod, container, grace_ms);
            }
            Effect::RaiseTime { unix_ms, save } => {
                self.judge_time(board, *unix_ms);
                self.member_heard(board, *unix_ms);
                if !save {
                    return;
                }
                5 + self.up_to(100)
            }
            Effect::PinHub(hub) => {
                self.judge_keys(board, *hub);
                5 + self.up_to(100)
            }
            Effect::SaveAssignment(_) => 5 + self.up_to(100),
            Effect::Fetch(blob) => self.transfer_time(board, blob),
            Effect::PrepareSandbox { .. }
            | Effect::Prepare { .. }
            | Effect::CleanContainer { .. }
            | Effect::RemoveSandbox { .. } => 5 + self.up_to(500),
            Effect::Start { pod, container, .. } => {
                let program = container.of(pod).map(Program::of);
                let slow = program == Some(Program::Slow);
                5 + if slow { 5000 + self.up_to(55_000) } else { self.up_to(200) }
            }
            Effect::ReadLogs(request) => {
                self.judge_log(board, request.command);
                1 + self.up_to(50)
            }
            Effect::UpdateFiles { .. }
            | Effect::Retain(_)
            | Effect::Probe { .. }
            | Effect::RunHook { .. }
            | Effect::KeepHealth { .. }
            | Effect::KeepFailure { .. } => 1 + self.up_to(50),
        };
        let life = self.boards[board].life;
        self.at(delay, Due::Board { board, life, wake: Wake::Done(Box::new(effect)) });
    }

    fn transfer_time(&mut self, board: usize, blob: &Blob) -> u64 {
        let per_second = match self.boards[board].transfer {
            Transfer::Slow => 20_000,
            _ => 2_000_000,
        };
        20 + blob.size * 1000 / per_second + self.up_to(100)
    }

    /// A fetch that is under way ends early, and says so.
    fn cancel_fetch(&mut self, board: usize, digest: Hash) {
        let life = self.boards[board].life;
        let key = self.queue.iter().find_map(|(key, due)| match due {
            Due::Board { board: b, life: l, wake: Wake::Done(effect) }
                if *b == board && *l == life =>
            {
                matches!(&**effect, Effect::Fetch(blob) if blob.digest == digest).then_some(*key)
            }
            _ => None,
        });
        if key.and_then(|key| self.queue.remove(&key)).is_some() {
            let failure = failure("Cancelled", "nobody needs it");
            self.feed(board, Event::FetchFailed { digest, failure });
        }
    }

    fn agent_quits(&mut self, board: usize) {
        let label = self.boards[board].label.clone();
        self.tell(&format!("{label}'s agent ends"));
        self.end_agent(board);
    }

    /// An agent dies with work under way: each piece of it has happened, or has not, and nobody says so.
    pub(super) fn finish_or_forget(&mut self, board: usize, power: bool) {
        let life = self.boards[board].life;
        let under_way: Vec<_> = self
            .queue
            .iter()
            .filter(|(_, due)| {
                matches!(due, Due::Board { board: b, life: l, wake: Wake::Done(_) } if *b == board && *l == life)
            })
            .map(|(key, _)| *key)
            .collect();
        for key in under_way {
            let Some(Due::Board { wake: Wake::Done(effect), .. }) = self.queue.remove(&key) else {
                continue;
            };
            if self.chance(50) {
                if let Effect::SaveAssignment(saved) = &*effect {
                    let steps = usize::try_from(self.up_to(5)).unwrap_or(0);
                    let _died = self.save(board, saved, Some(steps));
                } else if !power {
                    let _nobody_hears = self.perform(board, *effect);
                }
            }
        }
    }

    pub(super) fn finish_effect(&mut self, board: usize, effect: Effect) {
        if let Effect::SaveAssignment(saved) = &effect
            && let Some((steps, power)) = self.boards[board].dies_in_save.take()
        {
            let _died = self.save(board, saved, Some(steps));
            return if power {
                self.power_off(board);
            } else {
                self.kill_agent(board, Some(2000));
            };
        }
        if let Some(event) = self.perform(board, effect) {
            self.feed(board, event);
        }
    }

    /// What a piece of work does to the board, and its answer.
    fn perform(&mut self, board: usize, effect: Effect) -> Option<Event> {
        Some(match effect {
            Effect::SaveAssignment(saved) => {
                let generation = saved.id.generation;
                match self.save(board, &saved, None) {
                    Ok(()) => Event::Saved { generation },
                    Err(why) => Event::SaveFailed { generation, failure: failure(DISK_FULL, why) },
                }
            }
            Effect::PinHub(hub) => {
                let bytes = crate::trust::to_bytes(hub);
                match self.boards[board].disk.replace("pinned-hub", &bytes) {
                    Ok(()) => Event::HubPinned(hub),
                    Err(why) => Event::PinFailed { message: why.to_owned() },
                }
            }
            Effect::RaiseTime { unix_ms, .. } => {
                let it = &mut self.boards[board];
                let bytes = unix_ms.to_le_bytes();
                if it.disk.replace("time-floor", &bytes).is_ok() {
                    it.floor_bytes += bytes.len() as u64;
                }
                return None;
            }
            Effect::Fetch(blob) => self.fetch(board, blob),
            Effect::Retain(keep) => {
                self.boards[board].artefacts.retain(|digest, _| keep.contains(digest));
                return None;
            }
            Effect::PrepareSandbox { pod } => self.prepare_sandbox(board, &pod),
            Effect::Prepare { pod, container, .. } => self.prepare(board, &pod, container),
            Effect::Start { pod, container, attempt } => {
                if self.is(Canary::ShellStartsAnother) {
                    let other = Pod { identity: Hash([6; 32]), ..(**pod).clone() };
                    let other = PodSpec::new(other.into(), BTreeMap::new(), BTreeMap::new());
                    return self.start(board, &other, container, attempt);
                }
                if self.is(Canary::ShellStartsTwice) {
                    self.start(board, &pod, container, attempt);
                }
                let started = self.start(board, &pod, container, attempt)?;
                if self.is(Canary::InitEndsAreMadeUp) && container.is_init() {
                    self.feed(board, started);
                    let exit = super::exit(0, "Completed", 0);
                    return Some(Event::Exited { pod: pod.id, container, exit });
                }
                started
            }
            Effect::Probe { pod, container, attempt, purpose } => {
                let runs = self.boards[board].is_container_running(&pod.id, container);
                let answer = match runs {
                    true => Answer::Good,
                    false => Answer::Bad("connection refused".to_owned()),
                };
                Event::Probed { pod: pod.id, container, attempt, purpose, answer }
            }
            Effect::RunHook { pod, container, attempt, moment, .. } => {
                Event::HookEnded { pod: pod.id, container, attempt, moment, failure: None }
            }
            Effect::KeepHealth { pod, container, attempt, health } => {
                self.boards[board].keep_health(pod, container, attempt, health);
                return None;
            }
            Effect::KeepFailure { pod, failure } => {
                self.boards[board].keep_failure(pod, failure);
                return None;
            }
            Effect::UpdateFiles { pod } => {
                let id = pod.id;
                if let Err(why) = self.boards[board].secrets(&pod) {
                    let failure = failure(UNOPENED, &why);
                    return Some(Event::FilesUpdateFailed { pod: id, failure });
                }
                if self.boards[board].disk.full {
                    let failure = failure("", "no space left on device");
                    Event::FilesUpdateFailed { pod: id, failure }
                } else {
                    Event::FilesUpdated { pod: id }
                }
            }
            Effect::CleanContainer { pod, container } => {
                if self.boards[board].is_container_running(&pod, container) {
                    self.fail("no-restart-without-reason", "an agent cleans away what runs");
                }
                Event::ContainerCleaned { pod, container }
            }
            Effect::RemoveSandbox { pod, keep_volumes } => {
                self.remove_sandbox(board, pod, keep_volumes)
            }
            Effect::ReadLogs(request) => Event::CommandEnded { command: request.command },
            Effect::Note(_)
            | Effect::Connect
            | Effect::Disconnect
            | Effect::Send(_)
            | Effect::CancelFetch { .. }
            | Effect::CancelCommand { .. }
            | Effect::RemoveClaims(_)
            | Effect::Stop { .. }
            | Effect::Quit => return None,
        })
    }

    /// Saves an assignment step by step; with `steps`, only so many are carried out.
    fn save(
        &mut self,
        board: usize,
        saved: &SavedAssignment,
        steps: Option<usize>,
    ) -> Result<(), &'static str> {
        let all = saved::save_steps(&self.boards[board].disk.saved(), saved);
        let count = steps.unwrap_or(all.len()).min(all.len());
        let lazy = self.is(Canary::AgentSavesWithoutSync);
        for step in &all[..count] {
            if lazy && matches!(step, DiskStep::Sync { .. } | DiskStep::SyncDir) {
                continue;
            }
            self.boards[board].disk.step(step)?;
        }
        if count < all.len() {
            return Err("the agent died");
        }
        self.judge_save(board, saved);
        Ok(())
    }

    fn fetch(&mut self, board: usize, blob: Blob) -> Event {
        let digest = blob.digest;
        let fails = |reason: &str, message: &str| Event::FetchFailed {
            digest,
            failure: failure(reason, message),
        };
        let reachable = self.boards[board].is_on_the_network() && self.hubs[0].engine.is_some();
        let cut = self.up_to(blob.size.saturating_sub(1));
        let it = &mut self.boards[board];
        let old = it.artefacts.get(&digest).copied();
        if old.is_some_and(|old| old.have == old.size) {
            return Event::Fetched { digest };
        }
        if !reachable {
            return fails("", "connection refused");
        }
        if it.disk.full {
            return fails(DISK_FULL, "no space left on device");
        }
        let have = match it.transfer {
            Transfer::Good | Transfer::Slow => blob.size,
            Transfer::CutOff => old.map_or(0, |old| old.have).max(cut),
            Transfer::Corrupted => {
                it.artefacts.remove(&digest);
                return fails("DigestMismatch", "the bytes are not what the digest says");
            }
        };
        it.artefacts.insert(digest, Artefact { have, size: blob.size, rotten: false });
        it.disk.written += have - old.map_or(0, |old| old.have).min(have);
        if have == blob.size {
            Event::Fetched { digest }
        } else {
            fails("", "the connection ended early")
        }
    }

    fn prepare_sandbox(&mut self, board: usize, pod: &Pod) -> Event {
        let id = pod.id;
        let it = &mut self.boards[board];
        if it.disk.full {
            let failure = failure(DISK_FULL, "no space left on device");
            return Event::SandboxFailed { pod: id, failure };
        }
        if let Err(why) = it.make_claims(pod) {
            return Event::SandboxFailed { pod: id, failure: failure("VolumeLost", why) };
        }
        let run = it.note_sandbox(pod);
        run.identity = pod.identity;
        run.sandbox = true;
        Event::SandboxReady { pod: id }
    }

    fn prepare(&mut self, board: usize, spec: &PodSpec, container: ContainerId) -> Event {
        let pod = spec.id;
        let it = &mut self.boards[board];
        let missing: Vec<Hash> = container
            .of(spec)
            .into_iter()
            .flat_map(digests_of)
            .filter(|digest| it.artefacts.get(digest).is_none_or(|a| a.rotten || a.have < a.size))
            .collect();
        for digest in &missing {
            it.artefacts.remove(digest);
        }
        it.note_prepared(spec, container);
        if !missing.is_empty() {
            let failure = failure("ArtefactDamaged", "an artefact is not whole");
            return Event::PrepareFailed { pod, container, failure, missing };
        }
        if it.disk.full {
            let failure = failure(DISK_FULL, "no space left on device");
            return Event::PrepareFailed { pod, container, failure, missing };
        }
        if let Err(why) = it.secrets(spec) {
            let failure = failure(UNOPENED, &why);
            return Event::PrepareFailed { pod, container, failure, missing };
        }
        Event::Prepared { pod, container }
    }

    fn remove_sandbox(&mut self, board: usize, pod: PodId, keep_volumes: bool) -> Event {
        if self.boards[board].is_running(&pod) {
            self.fail("no-restart-without-reason", "an agent cleans away what runs");
        }
        if self.chance(5) && self.weather.loss > 0 {
            let failure = failure("", "device or resource busy");
            return Event::SandboxRemoveFailed { pod, failure };
        }
        match self.boards[board].runs.get_mut(&pod) {
            Some(run) if keep_volumes => run.lose_sandbox(),
            _ => {
                let run = self.boards[board].runs.remove(&pod);
                if let Some(run) = run.filter(|_| self.is(Canary::ClaimsGoWithPods)) {
                    self.boards[board].condemn(&run.claims);
                }
            }
        }
        self.sweep_claims(board);
        Event::SandboxRemoved { pod }
    }
}

/// Digests of everything that a Pod needs.
pub fn digests(pod: &Pod) -> impl Iterator<Item = Hash> + '_ {
    pod.init_containers.iter().chain(&pod.containers).flat_map(digests_of)
}

fn digests_of(container: &Container) -> Vec<Hash> {
    match &container.artefacts {
        Artefacts::Image { config, layers } => {
            let mut all = vec![config.digest];
            all.extend(layers.iter().map(|layer| layer.blob.digest));
            all
        }
        Artefacts::Wasm { compiled, .. } => vec![compiled.digest],
        Artefacts::Firmware { image } => vec![image.digest],
    }
}

pub(super) fn failure(reason: &str, message: &str) -> Failure {
    Failure { reason: reason.to_owned(), message: message.to_owned() }
}
