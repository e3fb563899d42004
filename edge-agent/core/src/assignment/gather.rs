//! Which heads count, and gathering the body behind one: in any order, with gaps and duplicates, checked before it is
//! of any use.

use alloc::{format, sync::Arc};

use firmware_compat::{
    capacity,
    id::Generation,
    time::Instant,
    v1::owned::{AssignmentId, Body, Head},
};

use super::{
    Assign, Candidate, Incoming, Refusal, Saving, assemble::Assembler, decode, hash, specs,
};
use crate::{
    backoff::{WANT, WANT_FIRST},
    config::SavedAssignment,
    out::Out,
};

/// Bytes that the hub sends before it waits to be asked for more.
#[expect(clippy::cast_possible_truncation, reason = "256 KiB")]
const WINDOW_BYTES: u32 = (capacity::BODY_WINDOW * capacity::full::CHUNK) as u32;

/// What a head means for this device.
enum Verdict {
    Known,
    Stale { held: Generation },
    Conflict,
    Foreign,
    Newer,
}

impl Assign {
    /// The operator allows the next foreign lineage; one that was refused already is it.
    pub fn adopt_lineage(&mut self, now: Instant, out: &mut Out) {
        self.adopt = true;
        if let Some(head) = self.foreign.take() {
            self.head(head, now, out);
        }
    }

    pub fn head(&mut self, head: Head, now: Instant, out: &mut Out) {
        let offered = head.assignment;
        self.give_up_what_nobody_has(&offered);
        match self.judge(&offered) {
            Verdict::Known => {}
            Verdict::Newer => self.begin(head, now, out),
            Verdict::Stale { held } => {
                let message = format!(
                    "the hub offered generation {}, this device has {held}",
                    offered.generation
                );
                out.warn(now, None, "StaleGeneration", &message);
            }
            Verdict::Conflict => {
                let message = format!(
                    "the hub offered another assignment of generation {}; was it restored from a backup?",
                    offered.generation
                );
                out.warn(now, None, "GenerationConflict", &message);
            }
            Verdict::Foreign => {
                let message = format!(
                    "hub of lineage {} is not the one that this device follows; everything runs on, start the agent with --adopt-hub to follow it",
                    offered.lineage
                );
                out.warn(now, None, "ForeignHub", &message);
                self.foreign = Some(head);
            }
        }
    }

    /// A hub answers a Want for a body that it does not have with the head that it has. The head that was followed can
    /// have been retained from before a hub was restored from a backup: it would keep out all generations below it.
    /// Should the answer be an older head that was late instead, the hub's reminder brings the newest back.
    fn give_up_what_nobody_has(&mut self, offered: &AssignmentId) {
        let Some(incoming) = &self.incoming else { return };
        let coming = incoming.head.assignment;
        let is_older = coming.lineage == offered.lineage
            && coming.generation >= offered.generation
            && coming != *offered;
        let is_of_use = self.latest_sound().is_none_or(|held| {
            held.lineage != offered.lineage || held.generation <= offered.generation
        });
        if incoming.wants > 0 && is_older && is_of_use {
            self.incoming = None;
        }
    }

    fn judge(&self, offered: &AssignmentId) -> Verdict {
        if self.refused.as_ref() == Some(offered) {
            return Verdict::Known;
        }
        if let Some(held) = self.latest_sound() {
            if held.lineage != offered.lineage && !self.adopt {
                return Verdict::Foreign;
            }
            if held.lineage == offered.lineage {
                match offered.generation.cmp(&held.generation) {
                    core::cmp::Ordering::Less => return Verdict::Stale { held: held.generation },
                    core::cmp::Ordering::Equal if held.hash == offered.hash => {
                        return Verdict::Known;
                    }
                    core::cmp::Ordering::Equal => return Verdict::Conflict,
                    core::cmp::Ordering::Greater => {}
                }
            }
        }
        match self.incoming.as_ref().map(|incoming| incoming.head.assignment) {
            Some(coming)
                if coming.lineage == offered.lineage && coming.generation >= offered.generation =>
            {
                Verdict::Known
            }
            _ => Verdict::Newer,
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
        if head.length == 0 || head.length > self.max_body_bytes {
            let refusal = Refusal::Length { length: head.length, max: self.max_body_bytes };
            return self.refuse(head.assignment, &refusal, now, out);
        }
        let body = Assembler::new(head.length);
        let want_at = now + WANT_FIRST;
        self.incoming = Some(Incoming { head, body, wants: 0, damaged: 0, want_at, window: 0 });
    }

    pub fn body(&mut self, chunk: Body, now: Instant, out: &mut Out) {
        let Some(incoming) = &mut self.incoming else { return };
        if incoming.head.assignment.hash != chunk.hash {
            return;
        }
        if incoming.body.take(chunk.offset, chunk.bytes) {
            incoming.wants = 0;
            // The hub sends a window at a time and waits to be asked for the next.
            let used_up = incoming.body.gap().saturating_sub(incoming.window) >= WINDOW_BYTES;
            let wait = WANT.delay(incoming.damaged.max(1));
            incoming.want_at = if used_up { now } else { now + wait };
        }
        if incoming.body.is_complete() {
            self.complete(now, out);
        }
    }

    fn complete(&mut self, now: Instant, out: &mut Out) {
        let Some(mut incoming) = self.incoming.take() else { return };
        let id = incoming.head.assignment;
        let body = incoming.body.empty();
        if hash(&body) != id.hash {
            // Some chunk was not what the hub sent: start over, more slowly each time.
            incoming.damaged = incoming.damaged.saturating_add(1);
            incoming.want_at = now + WANT_FIRST + WANT.delay(incoming.damaged);
            self.incoming = Some(incoming);
            let message = "what arrived of the new assignment is damaged; it is asked for again";
            return out.warn(now, None, "BodyDamaged", message);
        }
        match decode(&body) {
            Ok(assignment) => {
                let saved = SavedAssignment { id, signature: incoming.head.signature, body };
                let pods = specs(assignment);
                self.next = Some(Candidate { saved: Arc::new(saved), pods });
            }
            Err(refusal) => self.refuse(id, &refusal, now, out),
        }
    }

    fn refuse(&mut self, id: AssignmentId, refusal: &Refusal, now: Instant, out: &mut Out) {
        self.refused = Some(id);
        let message =
            format!("generation {} is refused, the one before stays: {refusal}", id.generation);
        out.warn(now, None, "AssignmentRefused", &message);
    }
}
