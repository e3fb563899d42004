//! What must hold for every single effect.

use std::collections::BTreeSet;

use firmware_compat::{
    frame::decode_body,
    id::{Hash, PodId},
    v1::owned::*,
};
use lichen_agent_core::{Effect, Up};

use crate::world::{World, names::*};

/// Work under way, as the effects and answers tell it.
#[derive(Debug, Default)]
pub struct Watch {
    busy: BTreeSet<PodId>,
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
        self.effects += 1;
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
            Effect::Prepare { pod, .. } => {
                self.work(pod.id, is_honest);
                assert!(!world.is_running(&pod.id) || !is_honest, "prepares what runs");
                for blob in artefacts(pod).filter(|_| is_honest) {
                    assert!(world.store.contains(&blob.digest), "lacks {}", label(&blob.digest));
                }
            }
            Effect::Start { pod, .. } => {
                self.work(pod.id, is_honest);
                assert!(!world.is_running(&pod.id) || !is_honest, "starts what runs");
                let is_saved = self.saved(world).iter().any(|saved| saved.identity == pod.identity);
                assert!(is_saved || !is_honest, "starts what is not in force");
                let saved = self.saved(world);
                let now = saved.iter().find(|saved| saved.id == pod.id);
                for id in now.iter().flat_map(|now| now.after.iter()).filter(|_| is_honest) {
                    let runs = world.is_running(id) || self.starting.contains(id);
                    assert!(!runs, "starts beside {}, whose place it takes", id_label(id));
                }
                self.starting.insert(pod.id);
            }
            Effect::Stop { pod, .. } => self.work(*pod, is_honest),
            Effect::UpdateFiles { pod } => self.work(pod.id, is_honest),
            Effect::Clean { pod, .. } => {
                self.work(*pod, is_honest);
                assert!(!world.is_running(pod) || !is_honest, "cleans what runs");
            }
            Effect::ReadLogs(request) => {
                self.reading.insert(request.command);
                assert!(self.reading.len() <= 8 || !is_honest, "reads too many logs");
            }
            Effect::Send(Up::Hello(_)) => self.hellos += 1,
            Effect::Send(_)
            | Effect::Retain(_)
            | Effect::SaveTimeFloor { .. }
            | Effect::Connect
            | Effect::Disconnect
            | Effect::CancelFetch { .. }
            | Effect::CancelCommand { .. }
            | Effect::Quit => {}
        }
    }

    pub fn answered(&mut self, effect: &Effect) {
        match effect {
            Effect::SaveAssignment(_) => self.is_saving = false,
            Effect::Fetch(blob) => _ = self.fetching.remove(&blob.digest),
            Effect::Start { pod, .. } => {
                self.busy.remove(&pod.id);
                self.starting.remove(&pod.id);
            }
            Effect::Prepare { pod, .. } | Effect::UpdateFiles { pod } => {
                _ = self.busy.remove(&pod.id)
            }
            Effect::Stop { pod, .. } | Effect::Clean { pod, .. } => {
                self.busy.remove(pod);
            }
            Effect::ReadLogs(request) => _ = self.reading.remove(&request.command),
            _ => {}
        }
    }

    /// A process ended by itself, which also answers a stop. Work on its files goes on.
    pub fn ended(&mut self, id: &PodId, was_stopping: bool) {
        if was_stopping {
            self.busy.remove(id);
        }
    }

    /// One at a time for each Pod.
    fn work(&mut self, id: PodId, is_honest: bool) {
        let is_free = self.busy.insert(id);
        assert!(is_free || !is_honest, "two things at a time with {}", id_label(&id));
    }

    /// The Pods of the newest saved assignment.
    fn saved(&self, world: &World) -> Vec<Pod> {
        let Some(saved) = world.disk.first() else { return Vec::new() };
        decode_body::<Assignment>(&saved.body).expect("sound").pods.into_vec()
    }
}
