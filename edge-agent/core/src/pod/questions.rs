//! What the rest of the agent asks about a Pod.

use alloc::{collections::BTreeSet, sync::Arc};

use firmware_compat::{id::PodId, time::Instant, v1::owned::Pod};

use super::{Context, Holds, Match, Slot, State};
use crate::effect::WakeReason;

impl Slot {
    /// Whether its artefacts are needed, now or for its next start.
    pub fn needs_artefacts(&self, context: &Context<'_>) -> Option<&Arc<Pod>> {
        let is_over = matches!(self.state, State::Done) && self.relation() == Match::Same;
        self.wanted
            .as_ref()
            .filter(|wanted| !is_over && !context.draining && context.is_usable(wanted.engine))
    }

    /// What the device holds of it, for as long as it does: its artefacts are in use. `Err` if nobody knows.
    pub fn in_use(&self) -> Result<Option<&Arc<Pod>>, ()> {
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
        let is_here = self.relation() == Match::Same;
        match self.state {
            State::Running { .. } | State::Done | State::Backoff { .. } => is_here,
            State::Absent => !context.is_usable(wanted.engine),
            _ => false,
        }
    }

    /// Whether it has come to rest for an agent that ends.
    pub fn is_at_rest(&self, context: &Context<'_>) -> bool {
        match self.state {
            State::Lost => context.hold,
            State::Absent
            | State::Unprepared { .. }
            | State::Ended { .. }
            | State::Backoff { .. }
            | State::Done
            | State::Unclean { .. } => !self.files.is_updating(),
            State::Preparing
            | State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Cleaning { .. } => false,
        }
    }

    /// Whether a process of it runs, or may: it is being started, or was told to stop and has not ended.
    pub fn may_run(&self) -> bool {
        match self.state {
            State::Starting { .. } | State::Running { .. } | State::Stopping { .. } => true,
            State::Absent
            | State::Preparing
            | State::Unprepared { .. }
            | State::Ended { .. }
            | State::Backoff { .. }
            | State::Done
            | State::Lost
            | State::Cleaning { .. }
            | State::Unclean { .. } => false,
        }
    }

    /// Whether one whose place it takes still runs.
    pub fn is_preceded(&self, leaving: &BTreeSet<PodId>) -> bool {
        self.wanted
            .as_ref()
            .is_some_and(|wanted| wanted.after.iter().any(|id| leaving.contains(id)))
    }

    /// Whether it was ever started, so that there can be a log.
    pub fn was_started(&self) -> bool {
        self.started
    }

    /// When it is to be stepped again, if nothing happens before.
    pub fn timer(&self) -> Option<(Instant, WakeReason)> {
        match &self.state {
            State::Backoff { until, .. } => Some((*until, WakeReason::Restart)),
            State::Unprepared { until } | State::Unclean { until } => {
                Some((*until, WakeReason::Retry))
            }
            State::Stopping { overdue_at } => overdue_at.map(|at| (at, WakeReason::Retry)),
            State::Running { .. } => self.files.timer().map(|at| (at, WakeReason::Retry)),
            _ => None,
        }
    }
}
