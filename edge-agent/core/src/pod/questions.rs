//! What the rest of the agent asks about a Pod.

use alloc::sync::Arc;

use firmware_compat::time::Instant;

use super::{Container, Context, Holds, Match, Pod, sandbox};
use crate::{
    effect::WakeReason,
    spec::{ContainerId, PodSpec},
};

impl Pod {
    /// Whether it has ended for good: an init container failed, or every container ended, and none is started again; or it
    /// was active for too long. Sidecars may still run.
    pub(super) fn is_over(&self) -> bool {
        let Some(wanted) = self.wanted.as_ref().filter(|_| self.relation() == Match::Same) else {
            return false;
        };
        let of = |id: &ContainerId| self.containers.get(id);
        let has_failed = |id: ContainerId| {
            let failed = |c: &Container| c.is_done() && !c.has_succeeded() && !c.sidecar;
            id.is_init() && of(&id).is_some_and(failed)
        };
        let mut main = ContainerId::all(wanted).filter(|id| !id.is_init());
        self.failed.is_some()
            || main.all(|id| of(&id).is_some_and(Container::is_done))
            || ContainerId::all(wanted).any(has_failed)
    }

    /// Whether its artefacts are needed, now or for its next start.
    pub fn needs_artefacts(&self, context: &Context<'_>) -> Option<&Arc<PodSpec>> {
        self.wanted.as_ref().filter(|wanted| {
            !self.is_over() && !context.draining && context.is_usable(wanted.runtime_class)
        })
    }

    /// What the device holds of it, for as long as it does: its artefacts are in use. `Err` if nobody knows.
    pub fn in_use(&self) -> Result<Option<&Arc<PodSpec>>, ()> {
        match &self.holds {
            None => Ok(None),
            Some(Holds { spec: Some(spec), .. }) => Ok(Some(spec)),
            Some(_) if self.relation() == Match::Same => Ok(self.wanted.as_ref()),
            Some(_) => Err(()),
        }
    }

    /// Whether it is where the assignment wants it, or as near as the device can bring it.
    pub fn is_settled(&self, context: &Context<'_>) -> bool {
        let Some(wanted) = &self.wanted else { return false };
        match self.relation() {
            Match::New => !context.is_usable(wanted.runtime_class) || self.eviction.holds_back(),
            Match::Gone | Match::Other => false,
            Match::Same if self.is_over() => !self.may_run(),
            Match::Same => {
                let is_usable = context.is_usable(wanted.runtime_class);
                let is_settled = |c: &Container| c.is_settled() || c.is_absent() && !is_usable;
                let mut of_turn = self.containers.values().filter(|c| match self.initialized {
                    true => c.runs_along(),
                    false => c.id.is_init(),
                });
                let are_settled = match self.initialized {
                    true => of_turn.all(is_settled),
                    false => of_turn.find(|c| !c.is_past()).is_some_and(is_settled),
                };
                !self.sandbox.is_pending() && !self.files.is_updating() && are_settled
            }
        }
    }

    /// Whether it has come to rest for an agent that ends.
    pub fn is_at_rest(&self, context: &Context<'_>) -> bool {
        let is_left = self.containers.values().any(Container::is_lost);
        let is_given_up = matches!(self.sandbox.state, sandbox::State::Unremoved { .. });
        !self.files.is_updating()
            && !self.sandbox.is_pending()
            && !self.containers.values().any(Container::is_pending)
            && (!is_left || is_given_up || context.hold)
    }

    /// Whether a container of it runs, or may: it is being started, or was told to stop and has not ended.
    pub fn may_run(&self) -> bool {
        self.containers.values().any(Container::may_run)
    }

    /// Its containers: which, its name, whether it was ever started, so that there can be a log.
    pub fn containers(&self) -> impl Iterator<Item = (ContainerId, &str, bool)> {
        self.containers.values().map(|c| (c.id, &*c.name, c.started))
    }

    /// When it is to be stepped again, if nothing happens before.
    pub fn timer(&self) -> Option<(Instant, WakeReason)> {
        let files = self.files.timer().map(|at| (at, WakeReason::Retry));
        let containers = self.containers.values().filter_map(Container::timer);
        let deadline = self.deadline().map(|at| (at, WakeReason::Deadline));
        let eviction = self.eviction.timer().map(|at| (at, WakeReason::Restart));
        let timers = containers.chain(self.sandbox.timer()).chain(files);
        timers.chain(deadline).chain(eviction).min()
    }
}
