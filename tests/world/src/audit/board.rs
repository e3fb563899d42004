//! Checks of what happens on boards: what an agent remembers, starts, stops and says.

use std::collections::BTreeMap;

use firmware_compat::{
    frame::decode_body,
    id::{Hash, PodId},
    v1::owned::{Assignment, AssignmentId, Phase, Pod},
};
use lichen_agent_core::{ContainerId, PodSpec, SavedAssignment, Up, config::Part};
use lichen_hub_core::api::Kind;

use crate::{
    World,
    board::{Process, Program, RunState, digests},
};

impl World {
    /// An agent has started: it holds what it had acknowledged.
    pub(crate) fn judge_memory(&mut self, board: usize) {
        let it = &self.boards[board];
        let held = it.agent.as_ref().and_then(lichen_agent_core::Agent::assignment);
        let label = it.label.clone();
        let Some(acknowledged) = self.audit.acknowledged.get(&label).copied() else { return };
        if self.audit.damaged.remove(&label) {
            self.audit.acknowledged.remove(&label);
            return;
        }
        let kept = held.is_some_and(|held| {
            held.lineage != acknowledged.lineage || held.generation >= acknowledged.generation
        });
        if !kept {
            let held = held.map(|held| held.generation);
            let what = format!(
                "{label} had acknowledged generation {} and starts with {held:?}",
                acknowledged.generation
            );
            self.fail("acknowledged-is-kept", &what);
        }
    }

    /// An assignment is durable on a board.
    pub(crate) fn judge_save(&mut self, board: usize, saved: &SavedAssignment) {
        let held = self.boards[board].agent.as_ref().and_then(lichen_agent_core::Agent::assignment);
        let label = self.boards[board].label.clone();
        self.tell(&format!("{label} saves generation {}", saved.id.generation));
        self.judge_source(board, saved.id);
        let Some(held) = held else { return };
        if held.lineage == saved.id.lineage && saved.id.generation <= held.generation {
            let what = format!(
                "{label} goes from generation {} to {}",
                held.generation, saved.id.generation
            );
            self.fail("generations-rise", &what);
        }
        if held.lineage != saved.id.lineage && !self.boards[board].adopts {
            let what = format!("{label} follows another hub and nobody allowed it");
            self.fail("generations-rise", &what);
        }
        let name = self.boards[board].name.clone();
        let unknown = self.audit.restored.as_ref().is_some_and(|known| {
            known.get(&name).is_none_or(|known| held.generation > *known)
                && !self.audit.written.contains(&held.hash)
        });
        let by_restored = self.audit.written.contains(&saved.id.hash);
        if unknown && by_restored && !self.audit.resumed.contains(&name) {
            let what = format!(
                "{label} held generation {}, of which the backup knows nothing, and the restored hub moved it to {}",
                held.generation, saved.id.generation
            );
            self.fail("restored-hub-pauses", &what);
        }
    }

    /// An agent starts a process.
    pub(crate) fn judge_start(&mut self, board: usize, pod: &Pod) {
        let (label, name) = (self.boards[board].label.clone(), self.boards[board].name.clone());
        let id = pod.id;
        if !self.audit.assigned.contains(&(name.clone(), id, pod.identity)) {
            let what = format!("{label} starts {}, which the hub never assigned", pod.name);
            return self.fail("runs-only-what-was-assigned", &what);
        }
        self.audit.wire.allow(&name, 8);
        self.judge_name(board, pod);
        let slot = |id: &PodId| {
            let record = self.audit.pods.get(id)?;
            (record.owner_kind == Kind::DaemonSet).then(|| record.owner_uid.clone())
        };
        let Some(own) = slot(&id) else { return };
        let other = self.boards[board]
            .runs
            .iter()
            .find(|(other, run)| {
                **other != id && run.is_running() && slot(other).as_ref() == Some(&own)
            })
            .map(|(_, run)| run.name.clone());
        if let Some(other) = other {
            let what = format!("{label} starts {} while {other} still runs", pod.name);
            self.fail("no-pod-runs-twice", &what);
        }
    }

    /// An agent has a process stopped.
    pub(crate) fn judge_stop(&mut self, board: usize, id: PodId, container: ContainerId) {
        let it = &self.boards[board];
        let Some(run) = it.runs.get(&id) else { return };
        if !it.is_container_running(&id, container) || it.draining {
            return;
        }
        let still_wanted = self
            .wanted(board)
            .is_some_and(|wanted| wanted.iter().any(|w| w.id == id && w.identity == run.identity));
        if still_wanted {
            let what = format!("{} stops {}, which is still assigned", it.label, run.name);
            let check = match self.is_kept_out(board) {
                true => "work-needs-no-certificate",
                false => "no-restart-without-reason",
            };
            self.fail(check, &what);
        }
    }

    /// What the assignment in force on a board says.
    pub(crate) fn wanted(&self, board: usize) -> Option<Vec<PodSpec>> {
        let it = &self.boards[board];
        let held: AssignmentId = it.agent.as_ref()?.assignment()?;
        let saved = it.saved().saved.into_iter().find(|saved| saved.id == held)?;
        let assignment: Assignment = decode_body(&saved.body).ok()?;
        let sealed = saved.parts.iter().filter_map(|(hash, part)| match part {
            Part::Sealed(sealed) => Some((*hash, sealed.clone())),
            Part::Pod(_) | Part::Config(_) => None,
        });
        let sealed: BTreeMap<_, _> = sealed.collect();
        let pod = |hash: &Hash| match saved.parts.get(hash)? {
            Part::Pod(pod) => Some(PodSpec::new(pod.clone(), BTreeMap::new(), sealed.clone())),
            Part::Config(_) | Part::Sealed(_) => None,
        };
        assignment.pods.iter().map(pod).collect()
    }

    /// Two minutes after power on.
    pub(crate) fn judge_boot(&mut self, board: usize, boot: u32, generation: u64) {
        let it = &self.boards[board];
        let calm = it.calm_since + super::BOOT_WITHIN_MS <= self.now;
        if it.boots != boot || !it.powered || !calm || it.firmware.is_some() {
            return;
        }
        let check = if self.is_kept_out(board) {
            "work-needs-no-certificate"
        } else if it.clock_off.unsigned_abs() > 86_400_000 {
            "time-blocks-nothing"
        } else {
            "boots-offline"
        };
        let label = it.label.clone();
        let Some(agent) = &it.agent else {
            return self.fail(check, &format!("{label}'s agent does not run"));
        };
        if agent.assignment().map_or(0, |held| held.generation.0) != generation {
            return;
        }
        let missing = self.wanted(board).unwrap_or_default().into_iter().find(|pod| {
            let whole = |digest: Hash| {
                it.artefacts.get(&digest).is_some_and(|a| a.have == a.size && !a.rotten)
            };
            let startable = pod.containers.iter().all(|c| Program::of(c) != Program::Broken)
                && digests(pod).all(whole)
                && it.secrets(pod).is_ok()
                && it.runtime_works();
            let was_started = |process: &Process| {
                matches!(process.state, RunState::Running { .. } | RunState::Exited(_))
            };
            let run = it.runs.get(&pod.id);
            startable && !run.is_some_and(|run| run.containers.values().any(was_started))
        });
        if let Some(missing) = missing {
            let what = format!("{label} has not started {} two minutes after boot", missing.name);
            self.fail(check, &what);
        }
    }

    /// An agent says something.
    pub(crate) fn judge_up(&mut self, board: usize, up: &Up) {
        let label = self.boards[board].label.clone();
        let holds = match up {
            Up::Hello(hello) => hello.assignment,
            Up::Status(status) => {
                let dumb = status
                    .pods
                    .iter()
                    .find(|i| i.phase != Phase::Running && i.reason.is_empty())
                    .map(|i| i.phase);
                if let Some(phase) = dumb {
                    let what = format!("{label} reports {phase:?} without a reason");
                    self.fail("every-stop-has-a-reason", &what);
                }
                status.assignment
            }
            Up::Event(_) | Up::Reply(_) | Up::Want(_) => return,
        };
        if let Some(holds) = holds {
            self.audit.acknowledged.insert(label, holds);
        }
    }
}
