//! How the containers of a Pod are stopped: together and within one grace, the last one of the spec first, sidecars one after
//! the other once what they run along with has ended. And when a Pod has been active for too long.

use alloc::format;
use core::time::Duration;

use firmware_compat::time::Instant;

use super::{
    Container, Context, Match, Pod,
    container::{Stop, StopWhy},
    eviction,
};
use crate::{backoff::STOP_AT_LEAST, effect::Effect, event::Failure, out::Out};

impl Pod {
    /// Stops what runs. Returns whether anything changed.
    pub(super) fn stop(&mut self, why: StopWhy, reason: &str, now: Instant, out: &mut Out) -> bool {
        let spec = self.holds.as_ref().and_then(|holds| holds.spec.clone());
        let known = spec.as_ref().or(self.wanted.as_ref());
        let of_spec = known.map_or(DEFAULT_GRACE_MS, |spec| spec.grace_ms);
        let grace_ms = self.grace_ms.filter(|_| self.wanted.is_none()).unwrap_or(of_spec);
        let grace_ms = match self.eviction.is_under_way() {
            true => grace_ms.min(eviction::GRACE_MS),
            false => grace_ms,
        };
        let is_first = self.stop_by.is_none();
        let ends_at = now + Duration::from_millis(grace_ms.into());
        // Whoever asks again may be in more of a hurry.
        let until = self.stop_by.map_or(ends_at, |by| by.min(ends_at));
        self.stop_by = Some(until);
        let left = until.since(now).max(STOP_AT_LEAST).as_millis();
        let left_ms = u32::try_from(left).unwrap_or(u32::MAX);
        let only_sidecars = why == StopWhy::Over && self.failed.is_none();
        let pod = self.id;
        let (mut is_stopped, mut is_held_up) = (false, false);
        for container in self.containers.values_mut().rev() {
            if container.sidecar && is_held_up || !container.sidecar && only_sidecars {
                continue;
            }
            let grace_ms = if container.sidecar { left_ms } else { grace_ms };
            let order = Stop { pod, spec: spec.as_ref(), grace_ms, why };
            is_stopped |= container.stop(&order, now, out);
            is_held_up |= container.may_run();
        }
        if is_stopped && is_first {
            out.normal(now, Some(pod), "Killing", &format!("stopping: {reason}"));
        }
        is_stopped
    }

    /// A Pod that has ended for good: what still runs is stopped, and stays as it ends. Returns whether anything changed.
    pub(super) fn wind_up(&mut self, now: Instant, out: &mut Out) -> bool {
        let is_failed = self.failed.is_some();
        let leaves = |container: &Container| is_failed || container.sidecar;
        if !self.containers.values().any(|container| leaves(container) && container.may_run()) {
            // The next stop has a grace of its own.
            self.stop_by = None;
        }
        let reason = match is_failed {
            true => "it has failed",
            false => "its containers have ended",
        };
        let is_changed = self.containers.values().any(Container::may_run)
            && self.stop(StopWhy::Over, reason, now, out);
        let left = self.containers.values_mut().filter(|container| leaves(container));
        left.fold(is_changed, |is_changed, container| container.retire() || is_changed)
    }

    /// When it has been active for as long as it may.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let spec = self.wanted.as_ref().filter(|spec| spec.active_deadline_s > 0)?;
        let (since, before) = self.active?;
        let is_here = self.relation() == Match::Same && !self.is_over();
        let whole = Duration::from_secs(spec.active_deadline_s.into());
        is_here.then(|| since + whole.saturating_sub(before))
    }

    /// A Pod that has been active for too long has failed, whatever its restart policy.
    pub(super) fn end_overdue(&mut self, context: &Context<'_>, now: Instant, out: &mut Out) {
        if context.hold || self.wanted.is_none() {
            return;
        }
        self.active.get_or_insert((now, Duration::ZERO));
        if self.deadline().is_none_or(|at| at > now) {
            return;
        }
        let (pod, message) =
            (self.id, "Pod was active on the node longer than the specified deadline");
        let failure = Failure { reason: DEADLINE_EXCEEDED.into(), message: message.into() };
        out.push(Effect::KeepFailure { pod, failure: failure.clone() });
        out.normal(now, Some(pod), DEADLINE_EXCEEDED, message);
        self.failed = Some(failure);
    }
}

/// Kubernetes' reason.
const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";

/// Kubernetes' default, for a Pod whose spec nobody knows any more.
const DEFAULT_GRACE_MS: u32 = 30_000;
