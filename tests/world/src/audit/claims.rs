//! Data of claims, and Pods whose names stay.

use firmware_compat::{id::ClaimId, v1::owned::Pod};
use lichen_hub_core::api::{Kind, core::persistent_volume::claim_id};

use crate::{
    World,
    board::{Board, Run},
};

impl World {
    /// A board has removed the data of a claim: nobody has the claim any more, as the hub's API says.
    pub(crate) fn judge_removal(&mut self, board: usize, claim: ClaimId) {
        let label = self.boards[board].label.clone();
        self.tell(&format!("{label} removes the data of a claim"));
        let claims = self.list(Kind::PersistentVolumeClaim);
        let known = claims.iter().find(|object| claim_id(&object.meta().uid) == Some(claim));
        if let Some(known) = known {
            let what = format!("{label} removes the data of {}, which is there", known.key());
            self.fail("claimed-data-stays", &what);
        }
    }

    /// A process of a Pod starts: no other Pod of its name runs anywhere. But for copied cards, what runs on a device whose
    /// Node an operator deleted, for that is to say that nothing runs there, and what a restored hub has forgotten.
    pub(crate) fn judge_name(&mut self, board: usize, pod: &Pod) {
        let (name, own) = (pod.name.as_str(), self.boards[board].label.clone());
        if self.boards[board].is_clone() || self.audit.restored.is_some() {
            return;
        }
        let is_let_go = |it: &Board| self.audit.let_go.contains(&it.name);
        let other = self.boards.iter().find(|other| {
            let runs =
                |(id, run): (&_, &Run)| *id != pod.id && run.name == name && run.is_running();
            let counts = other.label == own
                || !is_let_go(other) && !is_let_go(&self.boards[board]) && !other.is_clone();
            counts && other.runs.iter().any(runs)
        });
        if let Some(other) = other {
            let (one, other) = (self.boards[board].label.clone(), other.label.clone());
            let what =
                format!("{one} starts {name} while another Pod of that name runs on {other}");
            self.fail("one-pod-of-a-name", &what);
        }
    }
}
