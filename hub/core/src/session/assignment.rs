//! Making each device's assignment and getting it there. The assignment is level-triggered: the head says what is
//! newest, the device asks for what it lacks, and the hub sends it again until it acknowledges.
//!
//! A generation is made only for a device that can be heard: it has said which assignment it holds, and a hub whose
//! store is older than that has noticed it. For a device that is away nothing is counted up; its next assignment is
//! made when it is back, from what is so then. No two hubs with one lineage can so give one number to two contents
//! without seeing it. Nor is a second one made before anything was heard of the device since the first: a connection that
//! broke without a word looks open for a while, and every Pod in a generation that was sent may run on the device.

use alloc::{borrow::ToOwned, collections::BTreeSet, format, vec::Vec};
use core::{cell::Cell, time::Duration};

use firmware_compat::{
    capacity::{WINDOW_BYTES, WINDOW_CHUNKS, full as capacity},
    id::{Generation, Hash, PodId},
    v1::owned::{self as wire, Assignment, AssignmentId, Bytes, Part, Severity, Want},
};
use sha2::{Digest, Sha256};

use crate::{
    api::{Key, Kind},
    controller::draft::too_many_before,
    device::{Conflict, Device, LAST_GENERATION, Told},
    engine::{Engine, Timer},
    parts::{self, Content},
    pod::{Parts, Pod, Sources, TOO_LARGE, Waiting},
};

/// What a Pod takes in the body: the hash of its part.
const LISTED: usize = 32;
/// First wait for an acknowledgement; doubled each time.
const RETRANSMIT_AFTER: Duration = Duration::from_secs(5);
/// Doublings of that wait: the last is about 10 minutes.
const MOST_DOUBLINGS: u32 = 7;

impl Engine {
    /// Makes a device's assignment anew. If it differs from the last, it gets the next generation, is saved, and then
    /// sent.
    pub(crate) fn assign(&mut self, name: &str) {
        let Some((assignment, parts, waiting)) = self.compose(name) else { return };
        let mut included = Vec::new();
        for (id, reason) in waiting {
            included.extend(reason.is_none().then_some(id));
            self.set_waiting(id, reason);
        }
        // An assignment is bounded by construction: encoding it only allocates.
        let Ok(body) = postcard::to_allocvec(&assignment) else { return };
        let hash = Hash(Sha256::digest(&body).into());
        let Some(device) = self.state.fleet.get_mut(name) else { return };
        if device.desired.hash == Some(hash) {
            device.desired.body = body;
            device.desired.parts = parts;
            device.desired.removed_claims = assignment.removed_claims.to_vec();
            if device.told == Told::Withheld {
                device.told = Told::Unheard;
            }
            let generation = device.desired.generation;
            self.set_pending(name, false);
            self.release(name, generation);
            return self.forget_removed_claims(name);
        }
        // A hub that may have forgotten generations makes no new ones until the operator has looked; whether it has is
        // known once the device has said what it holds, and, if that was not made here, what it runs.
        if device.is_held() || !device.online() || device.unfamiliar {
            let pending = !device.is_held();
            return self.set_pending(name, pending);
        }
        if device.told != Told::Heard {
            device.told = Told::Withheld;
            return;
        }
        let acknowledged = device.acknowledged.map_or(Generation(0), |held| held.generation);
        device.desired.advance(hash, body, acknowledged);
        device.desired.parts = parts;
        device.desired.removed_claims = assignment.removed_claims.to_vec();
        device.pending = false;
        device.told = Told::Unheard;
        let generation = device.desired.generation;
        for id in included {
            if self.state.pods.get(id).is_some_and(|pod| !pod.assigned) {
                self.change_pod(id, |pod| pod.assigned = true);
                self.dirty.pods.insert(id);
                self.touch_pod(id);
            }
        }
        self.metrics.assignments += 1;
        self.dirty.devices.insert(name.to_owned());
        self.release(name, generation);
        self.touch_node(name);
        self.publish_head(name);
        self.push_body(name);
        self.schedule_retransmit(name, 0);
        self.watch_liveness(name);
    }

    /// Something was heard of a device: what was withheld from it is told now.
    pub(crate) fn heard(&mut self, name: &str) {
        let Some(device) = self.state.fleet.get_mut(name) else { return };
        device.heard_at = self.now;
        if core::mem::take(&mut device.told) == Told::Withheld {
            self.dirty.assignments.insert(name.to_owned());
        }
    }

    fn set_pending(&mut self, name: &str, pending: bool) {
        let Some(device) = self.state.fleet.get_mut(name) else { return };
        if core::mem::replace(&mut device.pending, pending) != pending {
            self.touch_node(name);
        }
    }

    /// What a device should run, and why the rest of what is placed on it waits.
    #[expect(
        clippy::type_complexity,
        reason = "two lists that are used up at once by the only caller"
    )]
    fn compose(
        &mut self,
        name: &str,
    ) -> Option<(Assignment, Parts, Vec<(PodId, Option<Waiting>)>)> {
        let device = self.state.fleet.get(name)?;
        let sources = Sources {
            objects: &self.state.objects,
            cache: &self.parts,
            seal: self.config.seal.as_ref(),
            device: name,
            key: self.sealing_key(name),
            known: &device.desired.parts,
            spent: Cell::new(0),
        };
        let room = capacity::ASSIGNMENT_BYTES.min(device.facts.max_assignment_bytes as usize);
        let (mut used, mut pods, mut waiting) = (LISTED, Vec::new(), Vec::new());
        let mut parts = Parts::new();
        let mut wanted: Vec<_> = self
            .state
            .pods
            .pods_on(name)
            .filter(|pod| pod.deleting.is_none() && pod.supply.is_some())
            .collect();
        // Where the room is short, the newest go without: what runs is not pushed out by what comes.
        wanted.sort_by_key(|pod| (pod.created_ms, pod.id));
        for pod in wanted {
            let id = &pod.id;
            match pod.wire(&sources) {
                Ok((mut wire, files)) => {
                    let known = pod.owner.kind != Kind::DaemonSet
                        || follow(&mut wire, &device.unknown_pods)
                        || pod.report.is_some();
                    if !known {
                        let count = device.unknown_pods.len();
                        waiting.push((*id, Some(too_many_before(name, count))));
                        continue;
                    }
                    // A part is bounded by construction: encoding it only allocates.
                    let content: Content = postcard::to_allocvec(&wire).unwrap_or_default().into();
                    let new = files.iter().filter(|(hash, _)| !parts.contains_key(*hash));
                    let size = content.len() + new.map(|(_, part)| part.length()).sum::<usize>();
                    if used + size + LISTED > room || pods.len() == capacity::PODS {
                        waiting.push((*id, Some(too_large(name, room, used, content.len(), size))));
                        continue;
                    }
                    if content.len() > capacity::POD_BYTES {
                        waiting.push((*id, Some(too_long(content.len()))));
                        continue;
                    }
                    used += size + LISTED;
                    let hash = parts::hash(&content);
                    pods.push((*id, hash));
                    parts.insert(hash, parts::Part::Clear(content));
                    parts.extend(files);
                    waiting.push((*id, None));
                }
                Err(reason) => waiting.push((*id, Some(reason))),
            }
        }
        self.seals_left = self.seals_left.saturating_sub(sources.spent.get());
        pods.sort();
        let pods = pods.into_iter().map(|(_, part)| part).collect::<Vec<_>>();
        let removed_claims = self.state.objects.volumes().condemned_on(name).try_into().ok()?;
        Some((Assignment { pods: pods.try_into().ok()?, removed_claims }, parts, waiting))
    }

    /// Marks the generation that is the first without the Pods that are to go, and forgets those that the device
    /// has never heard of or no longer has.
    fn release(&mut self, name: &str, generation: Generation) {
        let unreleased = |pod: &&Pod| pod.deleting.is_some_and(|d| d.released.is_none());
        let going: Vec<PodId> =
            self.state.pods.pods_on(name).filter(unreleased).map(|pod| pod.id).collect();
        for id in going {
            self.change_pod(id, |pod| {
                if let Some(deleting) = pod.deleting.as_mut() {
                    deleting.released = Some(generation);
                }
            });
            self.dirty.pods.insert(id);
        }
        self.forget_released(name);
    }

    /// Forgets Pods that are not in the assignment that the device holds, and of which it reports nothing. Only if
    /// all that it reports was heard: else it may still run one of them, and the next full report tells.
    pub(crate) fn forget_released(&mut self, name: &str) {
        let Some(device) = self.state.fleet.get(name).filter(|device| device.heard_whole) else {
            return;
        };
        let held = device.acknowledged.map_or(Generation(0), |held| held.generation);
        let gone: Vec<_> = self
            .state
            .pods
            .pods_on(name)
            .filter(|pod| pod.report.is_none())
            .filter(|pod| {
                let released = pod.deleting.and_then(|deleting| deleting.released);
                released.is_some_and(|released| released <= held)
            })
            .map(|pod| pod.id)
            .collect();
        for id in gone {
            self.remove_pod(id);
        }
    }

    /// Sends a device's newest body, behind its head: it is short. Parts are sent as they are asked for.
    fn push_body(&mut self, name: &str) {
        let known = |device: &&Device| device.online() && !device.is_held();
        let Some(device) = self.state.fleet.get(name).filter(known) else { return };
        let Some(hash) = device.desired.hash else { return };
        let body: Vec<_> = chunks(hash, &device.desired.body, 0).collect();
        for chunk in body {
            self.send(name, &chunk);
        }
    }

    /// Answers with as much of what is wanted as a window holds, or with the head if this hub has nothing of it.
    pub(crate) fn on_want(&mut self, name: &str, want: &Want) {
        let known = |device: &&Device| device.online() && !device.is_held();
        let Some(device) = self.state.fleet.get(name).filter(known) else { return };
        let desired = &device.desired;
        let content = |hash: &Hash| match desired.hash {
            Some(body) if body == *hash => Some(Content::from(&desired.body[..])),
            _ => desired.parts.get(hash)?.bytes(name, self.config.seal.as_ref()),
        };
        let first = core::iter::once((want.hash, want.offset as usize));
        let wanted = first.chain(want.also.iter().map(|hash| (*hash, 0)));
        let (mut answer, mut room, mut is_outdated) = (Vec::new(), WINDOW_BYTES, false);
        for (hash, offset) in wanted {
            let Some(content) = content(&hash) else {
                is_outdated = true;
                continue;
            };
            for chunk in chunks(hash, &content, offset) {
                if room == 0 || answer.len() == WINDOW_CHUNKS {
                    break;
                }
                room = room.saturating_sub(chunk.bytes.len());
                answer.push(chunk);
            }
        }
        for chunk in answer {
            self.send(name, &chunk);
        }
        if is_outdated {
            self.publish_head(name);
        }
    }

    /// A device says which assignment it has saved.
    pub(crate) fn acknowledge(&mut self, name: &str, holds: Option<AssignmentId>) {
        let lineage = self.lineage;
        let Some(device) = self.state.fleet.get_mut(name) else { return };
        let ours = holds.filter(|holds| holds.lineage == lineage);
        if device.acknowledged == ours {
            return;
        }
        device.acknowledged = ours;
        // Not only a hello may tell of a conflict: a device whose disk was full saves what it was sent when there is
        // room again, and the hub may have been restored meanwhile.
        let found = super::hello::conflict(device, holds, lineage);
        let news = found.filter(|_| device.conflict != found);
        let joins = ours.is_some()
            && found.is_none()
            && matches!(device.conflict, Some(Conflict::Foreign(_)));
        device.conflict = news.or(device.conflict);
        if found.is_some() {
            // A hub that starts again pauses the device by its record, before that is back.
            self.dirty.devices.insert(name.to_owned());
        } else {
            self.dirty.reports.devices.insert(name.to_owned());
            self.save_reports_soon();
        }
        self.touch_node(name);
        self.forget_removed_claims(name);
        if news.is_some() {
            self.touch_pods_on(name);
        }
        if joins {
            self.adopted(name);
        }
        if let Some(conflict) = news {
            let key = Key::new(Kind::Node, "", name);
            let message = conflict.message(name);
            self.record(&key, Severity::Warning, "AssignmentConflict", message);
        }
    }

    /// A device that followed another hub has taken an assignment of this one.
    fn adopted(&mut self, name: &str) {
        let Some(device) = self.state.fleet.get_mut(name) else { return };
        device.conflict = None;
        self.touch_pods_on(name);
        self.dirty.assignments.insert(name.to_owned());
        self.dirty_device(name);
        let key = Key::new(Kind::Node, "", name);
        self.record(&key, Severity::Normal, "Adopted", format!("{name} follows this hub now"));
    }

    pub(super) fn is_converged(&self, name: &str) -> bool {
        self.state.fleet.get(name).is_none_or(|device| {
            !device.online()
                || device.conflict.is_some()
                || device.desired.hash.is_none()
                || device.acknowledged.is_some_and(|held| {
                    held.generation == device.desired.generation
                        && Some(held.hash) == device.desired.hash
                })
        })
    }

    /// Wakes the engine when a device should have acknowledged; at most one such timer per device.
    pub(crate) fn schedule_retransmit(&mut self, name: &str, attempt: u32) {
        let converged = self.is_converged(name);
        let Some(device) = self.state.fleet.get_mut(name) else { return };
        if let Some((at, attempt)) = device.retransmit.take() {
            self.timers.remove(&(at, Timer::Retransmit(name.to_owned(), attempt)));
        }
        if !converged {
            let at = self.now + RETRANSMIT_AFTER * 2u32.pow(attempt.min(MOST_DOUBLINGS));
            device.retransmit = Some((at, attempt));
            self.timers.insert((at, Timer::Retransmit(name.to_owned(), attempt)));
        }
    }

    pub(crate) fn retransmit(&mut self, name: &str, attempt: u32) {
        if !self.is_converged(name) {
            self.publish_head(name);
            // It may be there all the same, and have nothing to say to a generation that it can't save.
            if self.state.fleet.get(name).is_some_and(|device| device.told == Told::Withheld) {
                self.ask_for_report(name);
            }
            self.schedule_retransmit(name, attempt + 1);
        }
    }

    /// Lets this hub take over a device that holds a newer assignment of its lineage.
    pub(crate) fn resume(&mut self, name: &str) -> Result<(), crate::api::ApiError> {
        use crate::api::ApiError;
        let key = Key::new(Kind::Node, "", name);
        let device =
            self.state.fleet.get_mut(name).ok_or_else(|| ApiError::NotFound(key.clone()))?;
        match device.conflict {
            None => Ok(()),
            Some(conflict @ Conflict::Foreign(_)) => {
                Err(ApiError::Forbidden(conflict.message(name)))
            }
            // The device refuses whatever is not newer, and behind this too little can be.
            Some(Conflict::Newer(generation)) if generation > LAST_GENERATION => {
                Err(ApiError::Forbidden(format!(
                    "{name} claims to hold generation {generation}, which no hub has made; empty the state directory of its agent"
                )))
            }
            Some(Conflict::Newer(held)) => {
                device.conflict = None;
                let generation = device.desired.generation.max(held);
                device.desired.generation = generation;
                // What another hand made under the same numbers is accepted from here on.
                device.desired.recent.clear();
                // No body has this hash: the next generation is made whatever is in it.
                device.desired.hash = Some(Hash([0; 32]));
                device.desired.body.clear();
                self.dirty.devices.insert(name.to_owned());
                self.touch_pods_on(name);
                self.dirty.assignments.insert(name.to_owned());
                self.dirty_device(name);
                self.record(
                    &key,
                    Severity::Normal,
                    "Resumed",
                    format!("{name} follows this hub again, from generation {}", generation.0 + 1),
                );
                Ok(())
            }
        }
    }
}

/// Pods that the hub does not know may be of the same DaemonSet: it starts after their end. False if they are too many
/// to name.
fn follow(wire: &mut wire::Pod, unknown_pods: &BTreeSet<PodId>) -> bool {
    unknown_pods.iter().all(|id| wire.after.contains(id) || wire.after.push(*id).is_ok())
}

/// Content in chunks, from an offset.
fn chunks(hash: Hash, content: &[u8], offset: usize) -> impl Iterator<Item = Part> + '_ {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    let rest = content.get(offset..).unwrap_or_default().chunks(capacity::CHUNK);
    rest.enumerate().filter_map(move |(index, bytes)| {
        let offset = u32::try_from(offset + index * capacity::CHUNK).ok()?;
        Some(Part { hash, length, offset, bytes: Bytes::try_from(bytes.to_vec()).ok()? })
    })
}

fn too_long(length: usize) -> Waiting {
    let message = format!(
        "it is {length} bytes long in an assignment, a device takes {} of one Pod; move data into ConfigMaps",
        capacity::POD_BYTES
    );
    Waiting::new("TooLarge", message)
}

/// `used`: what the Pods before it take. `own`: of this one's spec. `with_configs`: of the spec and of the ConfigMaps
/// that no Pod before it mounts.
fn too_large(device: &str, room: usize, used: usize, own: usize, with_configs: usize) -> Waiting {
    let message = format!(
        "the assignment of {device} takes {room} bytes, of which its other Pods use {used}; this Pod needs {own} for its containers (environment, arguments, mounts) and {} for ConfigMaps that no other Pod there mounts: make the larger of these smaller, or place it on another device",
        with_configs.saturating_sub(own)
    );
    Waiting::new(TOO_LARGE, message)
}
