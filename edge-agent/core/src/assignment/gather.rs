//! Which heads count, and what is made of the body and the parts behind one: checked before they are of any use.

use alloc::{format, sync::Arc};

use firmware_compat::{
    id::{Hash, Lineage},
    keys::PinnedHub,
    session::{Name, Standing, Verdict},
    time::Instant,
    v1::owned::{AssignmentId, Head, Part as Chunk},
};

use super::{
    Assign, Candidate, Refusal, Refused, Saving,
    incoming::{Incoming, Progress},
    parts::{Part, PartKind, assemble},
};
use crate::{backoff::DOUBTED, config::SavedAssignment, out::Out};

impl Assign {
    /// The operator allows the next foreign lineage; one that was refused already is it.
    pub fn adopt_lineage(&mut self, now: Instant, out: &mut Out) {
        self.adopt = true;
        if let Some(head) = self.foreign.take() {
            self.head(head, None, now, out);
        }
    }

    /// A head that the hub has signed. `hub`: the one that the device follows.
    pub fn head(&mut self, head: Head, hub: Option<PinnedHub>, now: Instant, out: &mut Out) {
        let offered = head.assignment;
        let lineage = hub.map(|hub| hub.lineage);
        if self.standing(lineage, now).gives_up(offered.into()) {
            self.incoming = None;
        }
        // What is refused here can have been signed long ago: a broker may repeat it as often as it likes.
        match self.standing(lineage, now).judge(offered.into()) {
            Verdict::Held | Verdict::Coming | Verdict::Refused => {}
            Verdict::Newer => self.begin(head, now, out),
            Verdict::Stale { held } => {
                let message = format!(
                    "the hub offered generation {}, this device has {held}",
                    offered.generation
                );
                out.complain(now, "StaleGeneration", &message);
            }
            Verdict::Conflict => {
                let message = format!(
                    "the hub offered another assignment of generation {}; was it restored from a backup?",
                    offered.generation
                );
                out.complain(now, "GenerationConflict", &message);
            }
            Verdict::Foreign => {
                let message = format!(
                    "hub of lineage {} is not the one that this device follows; everything runs on, start the agent with --adopt-hub to follow it",
                    offered.lineage
                );
                out.complain(now, "ForeignHub", &message);
                self.foreign = Some(head);
            }
        }
    }

    fn standing(&self, hub: Option<Lineage>, now: Instant) -> Standing {
        let incoming = self.incoming.as_ref();
        Standing {
            held: self.latest_sound().map(Name::from),
            coming: incoming.map(|incoming| incoming.head.assignment.into()),
            is_unanswered: incoming.is_some_and(Incoming::is_unanswered),
            refused: self.refused.filter(|refused| refused.counts(now)).map(|it| it.id.into()),
            may_adopt: self.adopt,
            hub,
        }
    }

    /// The newest that was gathered and checked, saved or not.
    fn latest_sound(&self) -> Option<AssignmentId> {
        let saving = match &self.saving {
            Saving::Idle => None,
            Saving::UnderWay { candidate, .. } | Saving::Resting { candidate, .. } => {
                Some(candidate)
            }
        };
        self.next.as_ref().or(saving).map(|candidate| candidate.saved.id).or(self.in_force())
    }

    fn begin(&mut self, head: Head, now: Instant, out: &mut Out) {
        let length = usize::try_from(head.length).unwrap_or(usize::MAX);
        let max = firmware_compat::capacity::full::BODY_BYTES.min(self.max_bytes);
        if length == 0 || length > max {
            return self.refuse(head.assignment, &Refusal::Length { length, max }, now, out);
        }
        let before = self.incoming.take();
        self.incoming = Some(Incoming::new(head, before, self.max_bytes, now));
    }

    /// Part of a body, or of a part.
    pub fn chunk(&mut self, chunk: Chunk, now: Instant, out: &mut Out) {
        let Some(mut incoming) = self.incoming.take() else { return };
        let id = incoming.head.assignment;
        match incoming.take(chunk, |hash, kind| self.known(hash, kind), now) {
            Ok(Progress::Going) => self.incoming = Some(incoming),
            Ok(Progress::Damaged) => {
                self.incoming = Some(incoming);
                let message =
                    "what arrived of the new assignment is damaged; it is asked for again";
                out.complain(now, "BodyDamaged", message);
            }
            Ok(Progress::Complete(assignment, body, parts)) => {
                match assemble(&assignment, &parts, self.max_bytes) {
                    Ok(pods) => {
                        let saved = Arc::new(SavedAssignment { id, body, parts });
                        self.next = Some(Candidate { saved, pods });
                    }
                    Err(error) => self.refuse(id, &error.into(), now, out),
                }
            }
            Err(refusal) => self.refuse(id, &refusal, now, out),
        }
    }

    /// A part that the device has: of one that is being saved, of the assignment in force, of the one before, or left on
    /// its disk.
    fn known(&self, hash: &Hash, kind: PartKind) -> Option<Part> {
        let saving = match &self.saving {
            Saving::Idle => None,
            Saving::UnderWay { candidate, .. } | Saving::Resting { candidate, .. } => {
                Some(candidate)
            }
        };
        let candidates = self.next.iter().chain(saving).map(|candidate| &candidate.saved.parts);
        let held = self.in_force.iter().chain(&self.previous).map(|held| &held.parts);
        let part = candidates.chain(held).find_map(|parts| parts.get(hash)).cloned();
        part.or_else(|| Part::read(kind, self.spare.get(hash)?).ok())
    }

    fn refuse(&mut self, id: AssignmentId, refusal: &Refusal, now: Instant, out: &mut Out) {
        // The body and its parts are what the head names; how long a chunk says that they are, anybody can say.
        let is_claim = matches!(refusal, Refusal::Claim { .. });
        self.refused = Some(Refused { id, until: is_claim.then(|| now + DOUBTED) });
        let message =
            format!("generation {} is refused, the one before stays: {refusal}", id.generation);
        if is_claim {
            out.complain(now, "AssignmentRefused", &message);
        } else {
            out.warn(now, None, "AssignmentRefused", &message);
        }
    }
}
