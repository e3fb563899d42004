//! The data of claims on a board's disk, as the agent's shell keeps it: made with the first Pod, removed when the hub says so
//! and no Pod has it.

use firmware_compat::{
    id::ClaimId,
    v1::owned::{Pod, VolumeSource},
};

use super::Board;
use crate::World;

/// The claims that a Pod mounts.
pub(super) fn claims_of(pod: &Pod) -> Vec<ClaimId> {
    let claims = pod.volumes.iter().filter_map(|volume| match &volume.source {
        VolumeSource::Claim(claim) => Some(claim.id),
        _ => None,
    });
    claims.collect()
}

impl Board {
    /// Makes what is missing of the claims of a Pod.
    pub(super) fn make_claims(&mut self, pod: &Pod) -> Result<(), &'static str> {
        for claim in claims_of(pod) {
            if *self.claims.entry(claim).or_insert(false) {
                return Err("the data was removed");
            }
        }
        Ok(())
    }

    pub(super) fn condemn(&mut self, claims: &[ClaimId]) {
        for claim in claims {
            if let Some(goes) = self.claims.get_mut(claim) {
                *goes = true;
            }
        }
    }
}

impl World {
    /// Removes what is to go and no Pod has.
    pub(super) fn sweep_claims(&mut self, board: usize) {
        let it = &self.boards[board];
        let is_had = |claim: &ClaimId| it.runs.values().any(|run| run.claims.contains(claim));
        let all = it.claims.iter().filter(|(_, goes)| **goes).map(|(claim, _)| *claim);
        let gone: Vec<ClaimId> = all.filter(|claim| !is_had(claim)).collect();
        for claim in gone {
            self.boards[board].claims.remove(&claim);
            self.judge_removal(board, claim);
        }
    }
}
