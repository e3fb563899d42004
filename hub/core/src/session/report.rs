//! What devices say of their Pods: one status at a time, or all of them in a full report, which may come in parts.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use firmware_compat::{
    capacity::full as capacity,
    id::PodId,
    v1::owned::{AssignmentId, Phase, PodStatus, Status},
};

use crate::{device::Presence, engine::Engine};

impl Engine {
    pub(super) fn on_status(&mut self, name: &str, status: Status) {
        for report in status.pods.iter() {
            self.on_pod_status(name, report);
        }
        self.acknowledge(name, status.assignment);
        // What it says of a Pod may be in a part that follows.
        if !status.more {
            self.forget_released(name);
        }
        for id in status.removed.iter() {
            self.on_pod_removed(name, *id, status.assignment);
        }
        if status.full {
            self.on_full_report(name, &status);
        } else {
            self.end_report(name);
        }
    }

    /// A full report may come in parts; with its last part, what none of them mentioned is not on the device. One that
    /// lost a part says nothing about what is absent, and is asked for again.
    fn on_full_report(&mut self, name: &str, status: &Status) {
        let Some(device) = self.state.fleet.get(name) else { return };
        let report = self.sessions.full_reports.entry(name.to_owned()).or_default();
        report.begin();
        let ids = status.pods.iter().map(|reported| reported.id);
        // What is not placed there is of no interest, and would let a device grow the list.
        let here = self.state.pods.on(name).pods();
        report.mentioned.extend(ids.clone().filter(|id| here.contains(id)));
        let unknown = ids.filter(|id| self.state.pods.get(*id).is_none());
        let room = capacity::PODS.saturating_sub(report.unknown_pods.len());
        report.unknown_pods.extend(unknown.take(room));
        if status.more {
            return;
        }
        if let (Some(missing), Presence::Online { stamp, .. }) = (report.gap, device.presence) {
            report.done = Some(Done { missing, last: stamp.sequence, holds: status.assignment });
            return self.ask_for_report(name);
        }
        let report = self.sessions.full_reports.remove(name).unwrap_or_default();
        if report.torn {
            return self.ask_for_report(name);
        }
        self.take_full_report(name, report, status.assignment);
    }

    /// The parts of a report are numbered without a gap: after a frame that is none, a part belongs to the next report,
    /// whatever was lost before.
    pub(super) fn end_report(&mut self, name: &str) {
        self.sessions.full_reports.remove(name);
    }

    /// A report is whole although a frame before it was missing, if that was the hello that it goes with.
    pub(super) fn on_overtaken_hello(&mut self, name: &str, sequence: u32, heard: u32) {
        let done = self.sessions.full_reports.get(name).and_then(|report| report.done);
        let Some(done) = done.filter(|d| d.missing == sequence && d.last == heard) else { return };
        if let Some(report) = self.sessions.full_reports.remove(name) {
            self.take_full_report(name, report, done.holds);
            self.forget_released(name);
        }
    }

    /// What a whole report does not mention is not on the device.
    fn take_full_report(&mut self, name: &str, report: FullReport, holds: Option<AssignmentId>) {
        if !self.state.fleet.contains(name) {
            return;
        }
        let here = self.state.pods.on(name).pods();
        let absent: Vec<_> =
            here.iter().filter(|id| !report.mentioned.contains(id)).copied().collect();
        for id in absent {
            self.on_pod_removed(name, id, holds);
        }
        self.stop_asking(name);
        let Some(device) = self.state.fleet.get_mut(name) else { return };
        device.heard_whole = true;
        if device.unfamiliar || device.unknown_pods != report.unknown_pods {
            device.unfamiliar = false;
            device.unknown_pods = report.unknown_pods;
            self.dirty.assignments.insert(name.to_owned());
        }
    }

    fn on_pod_status(&mut self, name: &str, report: &PodStatus) {
        let Some(pod) = self.state.pods.get(report.id) else { return };
        if pod.device.as_deref() != Some(name) || pod.report.as_ref() == Some(report) {
            return;
        }
        let old = pod.report.as_ref().map(|old| (old.phase, pod.are_ready(old)));
        let new = (report.phase, pod.are_ready(report));
        let owner = pod.owner.clone();
        self.change_pod(report.id, |pod| pod.report = Some(report.clone()));
        if old != Some(new) {
            self.save_phase(report.id, old, new);
            self.dirty_owner(&owner, Some(name));
        }
        self.touch_pod(report.id);
    }

    /// Only what a restarted hub needs to know at once is worth a commit: the rest is reported again. That a Pod is ready it
    /// must know, or it would take the Pod for one that nobody misses; that one is not ready for a moment it need not.
    fn save_phase(&mut self, id: PodId, old: Option<(Phase, bool)>, new: (Phase, bool)) {
        let reports = &mut self.dirty.reports;
        let was_ready = old.is_some_and(|(_, is_ready)| is_ready);
        let is_ready_on_disk = reports.pods.get(&id).copied().unwrap_or(was_ready);
        let is_urgent = match new {
            (Phase::Succeeded | Phase::Failed, _) => true,
            (_, is_ready) => is_ready && !is_ready_on_disk,
        };
        if is_urgent || self.dirty.pods.contains(&id) {
            self.dirty.pods.insert(id);
        } else {
            reports.pods.insert(id, is_ready_on_disk);
            self.save_reports_soon();
        }
    }

    /// A device says that nothing of a Pod is left on it.
    fn on_pod_removed(&mut self, name: &str, id: PodId, holds: Option<AssignmentId>) {
        if self.state.fleet.get_mut(name).is_some_and(|device| device.unknown_pods.remove(&id)) {
            self.dirty.assignments.insert(name.to_owned());
        }
        let Some(pod) = self.state.pods.get(id) else { return };
        if pod.device.as_deref() != Some(name) {
            return;
        }
        let released = pod.deleting.and_then(|deleting| deleting.released);
        let (owner, was_reported) = (pod.owner.clone(), pod.report.is_some());
        match released {
            Some(released) if holds.is_some_and(|holds| holds.generation >= released) => {
                self.remove_pod(id);
            }
            // Still to be told, or still wanted: it was never started, or it is about to be.
            Some(_) | None if was_reported => {
                self.change_pod(id, |pod| pod.report = None);
                self.dirty.pods.insert(id);
                self.dirty_owner(&owner, Some(name));
                self.touch_pod(id);
            }
            Some(_) | None => {}
        }
    }
}

/// Full reports of which not all parts are there yet, by device.
pub(crate) type FullReports = alloc::collections::BTreeMap<String, FullReport>;

/// The parts of a full report so far.
#[derive(Debug, Default)]
pub(crate) struct FullReport {
    /// Pods of the device that they mention.
    mentioned: alloc::collections::BTreeSet<PodId>,
    /// Pods that they mention and the hub does not know.
    unknown_pods: alloc::collections::BTreeSet<PodId>,
    /// Whether one of its parts was heard.
    begun: bool,
    /// Whether frames were lost on the way.
    torn: bool,
    /// The one frame that was missing before its first part: a part of it, or a hello that it has overtaken.
    gap: Option<u32>,
    /// It would be complete, but for that frame.
    done: Option<Done>,
}

/// The end of a report before which one frame is missing.
#[derive(Clone, Copy, Debug)]
struct Done {
    missing: u32,
    /// Its last part.
    last: u32,
    holds: Option<AssignmentId>,
}

impl FullReport {
    /// Frames between these two, which may have been parts of it, were lost or are late.
    pub(crate) fn tear(&mut self, before: u32, now: u32) {
        if self.done.is_some() {
            *self = Self::default();
        }
        let one = before.checked_add(1).filter(|one| one.checked_add(1) == Some(now));
        let untouched = !self.begun && !self.torn && self.gap.is_none();
        match one.filter(|_| untouched) {
            Some(one) => self.gap = Some(one),
            None => (self.torn, self.gap) = (true, None),
        }
    }

    /// A part of it is here; of the one before, if it waits for a frame, nothing will come any more.
    fn begin(&mut self) {
        if self.done.is_some() {
            *self = Self::default();
        }
        self.begun = true;
    }
}
