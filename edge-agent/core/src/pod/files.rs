//! The files of a Pod's configMap volumes: the one thing of a running Pod that changes in place.

use alloc::sync::Arc;

use firmware_compat::{
    id::PodId,
    time::Instant,
    v1::owned::{File, Pod, VolumeSource},
};

use crate::{backoff::STEP, effect::Effect, event::Failure, journal::or_usual, out::Out};

/// Whose files are in the volumes, and whether newer ones are on their way.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// `None` if an earlier agent wrote them.
    on_disk: Option<Arc<Pod>>,
    /// The shell is at it.
    updating: Option<Arc<Pod>>,
    /// Attempts in a row that failed, and why the last one did.
    failures: u32,
    failure: Option<Failure>,
    retry_at: Instant,
}

impl Files {
    /// All files of this spec were just written.
    pub(super) fn written(spec: Arc<Pod>) -> Self {
        Self { on_disk: Some(spec), ..Self::default() }
    }

    pub(super) fn is_updating(&self) -> bool {
        self.updating.is_some()
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Brings the files of a running Pod up to date.
    pub(super) fn refresh(&mut self, wanted: &Arc<Pod>, now: Instant, out: &mut Out) {
        let is_known = self.on_disk.as_ref().is_some_and(|spec| Arc::ptr_eq(spec, wanted));
        if is_known || self.retry_at > now {
            return;
        }
        let is_same = match self.on_disk.as_deref() {
            Some(on_disk) => config_files(wanted).eq(config_files(on_disk)),
            None => config_files(wanted).next().is_none(),
        };
        if is_same {
            *self = Self::written(Arc::clone(wanted));
        } else {
            self.updating = Some(Arc::clone(wanted));
            out.push(Effect::UpdateFiles { pod: Arc::clone(wanted) });
        }
    }

    /// The shell's answer.
    pub(super) fn updated(&mut self, about: PodId, now: Instant, out: &mut Out) {
        let Some(spec) = self.updating.take() else { return };
        *self = Self::written(spec);
        out.normal(now, Some(about), "FilesUpdated", "files of configMap volumes are up to date");
    }

    /// The shell's answer. The first failure of a row is an event, the status shows the newest.
    pub(super) fn update_failed(
        &mut self,
        failure: Failure,
        about: PodId,
        now: Instant,
        out: &mut Out,
    ) {
        if self.updating.take().is_none() {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now + STEP.delay(self.failures);
        let reason = or_usual(&failure.reason, "FilesUpdateFailed");
        if self.failures == 1 {
            out.warn(now, Some(about), &reason, &failure.message);
        }
        self.failure = Some(Failure { reason, message: failure.message });
    }

    /// When another attempt is due, while the Pod runs.
    pub(super) fn timer(&self) -> Option<Instant> {
        (self.failure.is_some() && self.updating.is_none()).then_some(self.retry_at)
    }
}

/// The configMap volumes of a spec, name and files.
fn config_files(spec: &Pod) -> impl Iterator<Item = (&str, &[File])> {
    spec.volumes.iter().filter_map(|volume| match &volume.source {
        VolumeSource::ConfigMap { files } => Some((volume.name.as_str(), &files[..])),
        VolumeSource::EmptyDir { .. } | VolumeSource::HostPath { .. } => None,
    })
}
