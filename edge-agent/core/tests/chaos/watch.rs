//! What must hold for every single effect.

use std::collections::BTreeSet;

use firmware_compat::{
    frame::decode_body,
    id::{Hash, PodId},
    v1::owned::*,
};
use lichen_agent_core::{ContainerId, Effect, Up, config::Part as SavedPart};

use crate::world::{World, names::*};

/// Work under way, as the effects and answers tell it.
#[derive(Debug, Default)]
pub struct Watch {
    /// A container, or the Pod as a whole.
    busy: BTreeSet<(PodId, Option<ContainerId>)>,
    starting: BTreeSet<PodId>,
    fetching: BTreeSet<Hash>,
    reading: BTreeSet<u64>,
    is_saving: bool,
    pub effects: usize,
    /// Of them, Hellos that wait for a Head.
    pub hellos: usize,
}

impl Watch {
    pub fn look(&mut self, effect: &Effect, world: &World, is_honest: bool) {
        // Those are no noise.
        self.effects += usize::from(!matches!(effect, Effect::Probe { .. }));
        match effect {
            Effect::SaveAssignment(_) => {
                assert!(!self.is_saving || !is_honest, "saves two at a time");
                self.is_saving = true;
            }
            Effect::Fetch(blob) => {
                let is_new = self.fetching.insert(blob.digest);
                assert!(is_new || !is_honest, "fetches {} twice", label(&blob.digest));
                assert!(self.fetching.len() <= 3 || !is_honest, "fetches too many");
                assert!(!world.store.contains(&blob.digest) || !is_honest, "fetches what is there");
            }
            Effect::Retain(keep) if is_honest => {
                assert!(self.fetching.iter().all(|digest| keep.contains(digest)));
                for blob in self.saved(world).iter().flat_map(artefacts) {
                    assert!(keep.contains(&blob.digest), "gives up {}", label(&blob.digest));
                }
            }
            Effect::PrepareSandbox { pod } => {
                self.work_alone(pod.id, is_honest);
                let stands = world.runs.get(&pod.id).is_some_and(|run| run.sandbox);
                assert!(!stands || !is_honest, "makes a sandbox that stands");
            }
            Effect::Prepare { pod, container, .. } => {
                self.work(pod.id, Some(*container), is_honest);
                let runs = world.is_container_running(&pod.id, *container);
                assert!(!runs || !is_honest, "prepares what runs");
                let stands = world.runs.get(&pod.id).is_some_and(|run| run.sandbox);
                assert!(stands || !is_honest, "prepares without a sandbox");
                let of = container.of(pod).expect("one of the spec");
                for blob in artefacts_of(of).iter().filter(|_| is_honest) {
                    assert!(world.store.contains(&blob.digest), "lacks {}", label(&blob.digest));
                }
            }
            Effect::Start { pod, container, .. } => {
                self.work(pod.id, Some(*container), is_honest);
                let runs = world.is_container_running(&pod.id, *container);
                assert!(!runs || !is_honest, "starts what runs");
                let is_saved = self.saved(world).iter().any(|saved| saved.identity == pod.identity);
                assert!(is_saved || !is_honest, "starts what is not in force");
                let saved = self.saved(world);
                let now = saved.iter().find(|saved| saved.id == pod.id);
                for id in now.iter().flat_map(|now| now.after.iter()).filter(|_| is_honest) {
                    let runs = world.is_running(id) || self.starting.contains(id);
                    assert!(!runs, "starts beside {}, whose place it takes", id_label(id));
                }
                let init_runs = ContainerId::all(pod)
                    .filter(|id| id.is_init() && id < container)
                    .filter(|id| !id.of(pod).expect("its own").supervision.sidecar)
                    .any(|id| world.is_container_running(&pod.id, id));
                assert!(!init_runs || !is_honest, "starts beside an init container");
                self.starting.insert(pod.id);
            }
            // Once more to be quicker.
            Effect::Stop { pod, container, .. } => {
                self.busy.insert((*pod, Some(*container)));
            }
            Effect::Probe { pod, container, .. } | Effect::RunHook { pod, container, .. } => {
                let runs = world.is_container_running(&pod.id, *container);
                assert!(runs || !is_honest, "asks what does not run");
            }
            Effect::UpdateFiles { pod } => self.work(pod.id, None, is_honest),
            Effect::CleanContainer { pod, container } => {
                self.work(*pod, Some(*container), is_honest);
                let runs = world.is_container_running(pod, *container);
                assert!(!runs || !is_honest, "cleans what runs");
            }
            Effect::RemoveSandbox { pod, .. } => {
                self.work_alone(*pod, is_honest);
                assert!(!world.is_running(pod) || !is_honest, "removes what runs");
            }
            Effect::ReadLogs(request) => {
                self.reading.insert(request.command);
                assert!(self.reading.len() <= 8 || !is_honest, "reads too many logs");
            }
            Effect::Send(Up::Hello(_)) => self.hellos += 1,
            Effect::Send(_)
            | Effect::Retain(_)
            | Effect::KeepHealth { .. }
            | Effect::KeepFailure { .. }
            | Effect::RaiseTime { .. }
            | Effect::PinHub(_)
            | Effect::Note(_)
            | Effect::Connect
            | Effect::Disconnect
            | Effect::CancelFetch { .. }
            | Effect::CancelCommand { .. }
            | Effect::RemoveClaims(_)
            | Effect::Quit => {}
        }
    }

    pub fn answered(&mut self, effect: &Effect) {
        match effect {
            Effect::SaveAssignment(_) => self.is_saving = false,
            Effect::Fetch(blob) => _ = self.fetching.remove(&blob.digest),
            Effect::Start { pod, container, .. } => {
                self.busy.remove(&(pod.id, Some(*container)));
                self.starting.remove(&pod.id);
            }
            Effect::Prepare { pod, container, .. } => {
                self.busy.remove(&(pod.id, Some(*container)));
            }
            Effect::PrepareSandbox { pod } | Effect::UpdateFiles { pod } => {
                self.busy.remove(&(pod.id, None));
            }
            Effect::Stop { pod, container, .. } | Effect::CleanContainer { pod, container } => {
                self.busy.remove(&(*pod, Some(*container)));
            }
            Effect::RemoveSandbox { pod, .. } => _ = self.busy.remove(&(*pod, None)),
            Effect::ReadLogs(request) => _ = self.reading.remove(&request.command),
            _ => {}
        }
    }

    /// A process ended by itself, which also answers a stop. Work on its Pod's files goes on.
    pub fn ended(&mut self, pod: PodId, container: ContainerId, was_stopping: bool) {
        if was_stopping {
            self.busy.remove(&(pod, Some(container)));
        }
    }

    /// One at a time for each container, and for each Pod as a whole.
    fn work(&mut self, pod: PodId, container: Option<ContainerId>, is_honest: bool) {
        let is_free = self.busy.insert((pod, container));
        assert!(
            is_free || !is_honest,
            "two things at a time with {} {container:?}",
            id_label(&pod)
        );
    }

    /// Nothing else is done to the Pod meanwhile.
    fn work_alone(&mut self, pod: PodId, is_honest: bool) {
        let is_free = self.busy.iter().all(|(busy, _)| *busy != pod);
        assert!(is_free || !is_honest, "{} is worked on", id_label(&pod));
        self.work(pod, None, is_honest);
    }

    /// The Pods of the newest saved assignment.
    fn saved(&self, world: &World) -> Vec<Pod> {
        let Some(saved) = world.disk.first() else { return Vec::new() };
        let assignment: Assignment = decode_body(&saved.body).expect("sound");
        let pods = assignment.pods.iter().map(|hash| match &saved.parts[hash] {
            SavedPart::Pod(pod) => (**pod).clone(),
            SavedPart::Config(_) | SavedPart::Sealed(_) => panic!("a Pod is expected"),
        });
        pods.collect()
    }
}
