//! From a head to an assignment in force. `gather` decides which heads count and brings their bodies and parts
//! together; here they are saved and put in force. Nothing is acted on or acknowledged before the shell says that it is saved.

mod assemble;
mod check;
mod gather;
mod incoming;
pub(crate) mod parts;
pub mod saved;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use firmware_compat::{
    capacity::full as capacity,
    id::{ClaimId, Generation, Hash},
    time::Instant,
    v1::owned::{AssignmentId, Head},
};
use sha2::{Digest, Sha256};

use crate::{
    backoff::SAVE,
    config::SavedAssignment,
    effect::{Effect, Up, WakeReason},
    event::Failure,
    journal::or_usual,
    out::Out,
    spec::PodSpec,
};
use incoming::Incoming;
use parts::{AssembleError, BodyError, PartError, Parts};

/// Which assignment is in force and which one is on its way.
#[derive(Debug)]
pub struct Assign {
    in_force: Option<Held>,
    /// The one before the one in force: an undo brings it back.
    previous: Option<Held>,
    saving: Saving,
    /// Checked while another was being saved.
    next: Option<Candidate>,
    incoming: Option<Incoming>,
    refused: Option<Refused>,
    /// Of a hub that did not write the assignment in force.
    foreign: Option<Head>,
    adopt: bool,
    max_bytes: usize,
    /// Parts that were found on disk and are of neither, by hash: what is left of a save that was cut short.
    spare: BTreeMap<Hash, Vec<u8>>,
}

/// One that is saved.
#[derive(Debug)]
struct Held {
    id: AssignmentId,
    artefacts: BTreeSet<Hash>,
    removed_claims: Vec<ClaimId>,
    /// Every part of it: the next assignment is likely to have most of them, too.
    parts: Parts,
}

/// Sound, and not yet saved.
#[derive(Debug)]
struct Candidate {
    saved: Arc<SavedAssignment>,
    pods: Vec<PodSpec>,
}

/// Can't be followed; not asked for again.
#[derive(Clone, Copy, Debug)]
struct Refused {
    id: AssignmentId,
    /// Not before then, if it is not certain.
    until: Option<Instant>,
}

impl Refused {
    fn counts(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

#[derive(Debug)]
enum Saving {
    Idle,
    UnderWay { candidate: Candidate, failures: u32 },
    Resting { candidate: Candidate, failures: u32, until: Instant },
}

/// What became of the saved assignments.
#[derive(Debug)]
pub struct Restored {
    /// To be run.
    pub pods: Vec<PodSpec>,
    /// These are what is left of an assignment that is not in force.
    pub in_part: bool,
    /// What was wrong with those that are not sound.
    pub faults: Vec<String>,
}

/// Why a body is refused.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("it is {length} bytes long, this device takes 1 to {max}")]
    Length { length: usize, max: usize },
    #[error("what comes of it says that it is {length} bytes long, this device takes 1 to {max}")]
    Claim { length: usize, max: usize },
    #[error("{0}")]
    Body(#[from] BodyError),
    #[error("part {0}: {1}")]
    Part(Hash, PartError),
    #[error("{0}")]
    Assemble(#[from] AssembleError),
}

impl Assign {
    pub fn new(max_assignment_bytes: u32) -> Self {
        let max_bytes = usize::try_from(max_assignment_bytes).unwrap_or(usize::MAX);
        Self {
            in_force: None,
            previous: None,
            saving: Saving::Idle,
            next: None,
            incoming: None,
            refused: None,
            foreign: None,
            adopt: false,
            max_bytes: max_bytes.min(capacity::ASSIGNMENT_BYTES),
            spare: BTreeMap::new(),
        }
    }

    /// Puts the first sound one of the saved assignments in force. Where none is, what is sound of the newest is to run and none
    /// is in force: the hub brings the rest.
    pub fn restore(
        &mut self,
        saved: Vec<SavedAssignment>,
        spare: BTreeMap<Hash, Vec<u8>>,
    ) -> Restored {
        let (mut pods, mut faults, mut unsound) = (Vec::new(), Vec::new(), Vec::new());
        self.spare = spare;
        for saved in saved {
            match read(&saved) {
                Ok(sound) if self.in_force.is_none() => {
                    self.in_force = Some(Held::new(saved.id, &saved.body, &sound, saved.parts));
                    pods = sound;
                }
                Ok(sound) => {
                    let mut parts = saved.parts;
                    share(&mut parts, self.in_force.as_ref());
                    self.previous = Some(Held::new(saved.id, &saved.body, &sound, parts));
                }
                Err(fault) => {
                    faults.push(format!("saved assignment {}: {fault}", saved.id.generation));
                    unsound.push(saved);
                }
            }
        }
        let mut unsound = unsound.iter().filter(|_| self.in_force.is_none());
        let left = unsound.find_map(|saved| salvage(saved).map(|pods| (saved, pods)));
        let in_part = left.is_some();
        if let Some((saved, sound)) = left {
            self.spare.extend(saved.parts.iter().map(|(hash, part)| (*hash, part.bytes())));
            pods = sound;
        }
        Restored { pods, in_part, faults }
    }

    pub fn in_force(&self) -> Option<AssignmentId> {
        self.in_force.as_ref().map(|held| held.id)
    }

    /// Claims whose data the assignment in force has removed.
    pub fn removed_claims(&self) -> &[ClaimId] {
        self.in_force.as_ref().map_or(&[], |held| &held.removed_claims)
    }

    /// Artefacts of the assignment in force, and of the one before.
    pub fn artefacts(&self, with_previous: bool) -> BTreeSet<Hash> {
        let mut all = self.in_force.as_ref().map(|h| h.artefacts.clone()).unwrap_or_default();
        if with_previous {
            all.extend(self.previous.iter().flat_map(|before| &before.artefacts));
        }
        all
    }

    pub fn foreign(&self) -> Option<&Head> {
        self.foreign.as_ref()
    }

    /// Takes the next steps: saves what is sound, asks for what is missing.
    pub fn advance(&mut self, link_up: bool, now: Instant, out: &mut Out) {
        if let Saving::Idle | Saving::Resting { .. } = self.saving
            && let Some(candidate) = self.next.take()
        {
            self.save(candidate, 0, out);
        }
        if matches!(self.saving, Saving::Resting { until, .. } if until <= now)
            && let Saving::Resting { candidate, failures, .. } =
                core::mem::replace(&mut self.saving, Saving::Idle)
        {
            self.save(candidate, failures, out);
        }
        if let Some(incoming) = &mut self.incoming
            && link_up
            && incoming.want_at() <= now
        {
            let want = incoming.want(now, &mut out.rng);
            out.push(Effect::Send(Up::Want(want)));
        }
    }

    fn save(&mut self, candidate: Candidate, failures: u32, out: &mut Out) {
        out.push(Effect::SaveAssignment(Arc::clone(&candidate.saved)));
        self.saving = Saving::UnderWay { candidate, failures };
    }

    /// The link is new: nothing was asked for on it.
    pub fn link_up(&mut self, now: Instant) {
        if let Some(incoming) = &mut self.incoming {
            incoming.link_up(now);
        }
    }

    /// It is saved: from now on it is in force. Returns its Pods.
    pub fn saved(&mut self, generation: Generation) -> Option<Vec<PodSpec>> {
        let saving = core::mem::replace(&mut self.saving, Saving::Idle);
        match saving {
            Saving::UnderWay { candidate, .. } if candidate.saved.id.generation == generation => {
                let id = candidate.saved.id;
                let Candidate { saved, pods } = &candidate;
                let held = Held::new(id, &saved.body, pods, saved.parts.clone());
                let before = self.in_force.replace(held);
                // What was left of earlier saves has gone from the disk with this one.
                self.spare.clear();
                if before.as_ref().is_some_and(|before| before.id.lineage != id.lineage) {
                    self.adopt = false;
                }
                self.previous = before;
                self.foreign = None;
                Some(candidate.pods)
            }
            other => {
                self.saving = other;
                None
            }
        }
    }

    pub fn save_failed(
        &mut self,
        generation: Generation,
        failure: &Failure,
        now: Instant,
        out: &mut Out,
    ) {
        let saving = core::mem::replace(&mut self.saving, Saving::Idle);
        self.saving = match saving {
            Saving::UnderWay { candidate, failures }
                if candidate.saved.id.generation == generation =>
            {
                let failures = failures.saturating_add(1);
                // Told again now and then, in case the first telling was lost.
                if failures.is_power_of_two() {
                    let message = format!(
                        "generation {generation} could not be saved, the one before stays in force: {}",
                        failure.message
                    );
                    out.warn(now, None, &or_usual(&failure.reason, "SaveFailed"), &message);
                }
                Saving::Resting { candidate, failures, until: now + SAVE.delay(failures) }
            }
            other => other,
        };
    }

    /// When something is due.
    pub fn timer(&self, link_up: bool) -> Option<(Instant, WakeReason)> {
        let save = match self.saving {
            Saving::Resting { until, .. } => Some((until, WakeReason::Save)),
            Saving::Idle | Saving::UnderWay { .. } => None,
        };
        let want =
            self.incoming.as_ref().filter(|_| link_up).map(|i| (i.want_at(), WakeReason::Want));
        save.into_iter().chain(want).min()
    }
}

impl Held {
    fn new(id: AssignmentId, body: &[u8], pods: &[PodSpec], parts: Parts) -> Self {
        let artefacts = pods.iter().flat_map(PodSpec::blobs).map(|blob| blob.digest).collect();
        // It was read before it was saved.
        let removed = parts::read_body(body, id.hash).map(|read| read.removed_claims.to_vec());
        Self { id, artefacts, removed_claims: removed.unwrap_or_default(), parts }
    }
}

/// What both have is in memory once.
fn share(parts: &mut Parts, with: Option<&Held>) {
    for (hash, part) in parts {
        if let Some(same) = with.and_then(|with| with.parts.get(hash)) {
            *part = same.clone();
        }
    }
}

/// The Pods of a saved assignment, if this agent could follow it.
pub fn read(saved: &SavedAssignment) -> Result<Vec<PodSpec>, String> {
    let assignment = parts::read_body(&saved.body, saved.id.hash).map_err(|e| e.to_string())?;
    let assembled = parts::assemble(&assignment, &saved.parts, capacity::ASSIGNMENT_BYTES);
    assembled.map_err(|e| e.to_string())
}

/// The Pods of a saved assignment that are whole, if there are any.
fn salvage(saved: &SavedAssignment) -> Option<Vec<PodSpec>> {
    let assignment = parts::read_body(&saved.body, saved.id.hash).ok()?;
    Some(parts::assemble_sound(&assignment, &saved.parts)).filter(|pods| !pods.is_empty())
}

/// What an assignment's id says of its body.
pub fn hash(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}
