//! The files of a Pod's configMap, secret and projected volumes: the one thing of a running Pod that changes in place.

use alloc::sync::Arc;

use firmware_compat::{
    id::Hash,
    time::Instant,
    v1::owned::{ProjectedSource, VolumeSource},
};

use super::failures::Failures;
use crate::{
    effect::Effect,
    event::Failure,
    out::{Out, Recorder},
    spec::PodSpec,
};

/// Whose files are in the volumes, and whether newer ones are on their way.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// `None` if an earlier agent wrote them.
    on_disk: Option<Arc<PodSpec>>,
    /// The shell is at it.
    updating: Option<Arc<PodSpec>>,
    failures: Failures,
    /// When the next attempt is due after one that failed.
    retry_at: Option<Instant>,
}

impl Files {
    /// All files of this spec were just written.
    pub(super) fn written(spec: Arc<PodSpec>) -> Self {
        Self { on_disk: Some(spec), ..Self::default() }
    }

    pub(super) fn is_updating(&self) -> bool {
        self.updating.is_some()
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        self.failures.last()
    }

    /// What waited for its time waits no longer.
    pub(super) fn expire(&mut self, now: Instant) {
        self.retry_at = self.retry_at.filter(|at| *at > now);
    }

    /// Brings the files of a Pod up to date. Returns whether the shell is at it now.
    pub(super) fn refresh(&mut self, wanted: &Arc<PodSpec>, out: &mut Out) -> bool {
        let is_known = self.on_disk.as_ref().is_some_and(|spec| Arc::ptr_eq(spec, wanted));
        if is_known || self.retry_at.is_some() {
            return false;
        }
        let is_same = match self.on_disk.as_deref() {
            Some(on_disk) => contents(wanted).eq(contents(on_disk)),
            None => contents(wanted).next().is_none(),
        };
        if is_same {
            *self = Self::written(Arc::clone(wanted));
        } else {
            self.updating = Some(Arc::clone(wanted));
            out.push(Effect::UpdateFiles { pod: Arc::clone(wanted) });
        }
        self.is_updating()
    }

    /// The shell's answer.
    pub(super) fn updated(&mut self, recorder: &mut Recorder<'_>) {
        let Some(spec) = self.updating.take() else { return };
        *self = Self::written(spec);
        recorder.normal("FilesUpdated", "files of volumes are up to date");
    }

    /// The shell's answer.
    pub(super) fn update_failed(&mut self, failure: Failure, recorder: &mut Recorder<'_>) {
        if self.updating.take().is_some() {
            let delay = self.failures.count("FilesUpdateFailed", failure, recorder);
            self.retry_at = Some(recorder.now + delay);
        }
    }

    /// When another attempt is due.
    pub(super) fn timer(&self) -> Option<Instant> {
        self.retry_at.filter(|_| self.updating.is_none())
    }
}

/// The volumes of a spec that hold files: name, and hash of what is in it, one for each of its sources.
fn contents(spec: &PodSpec) -> impl Iterator<Item = (&str, Hash)> {
    spec.volumes.iter().flat_map(|volume| {
        let (one, more) = match &volume.source {
            VolumeSource::ConfigMap { data } => (Some(*data), &[][..]),
            VolumeSource::Secret { secret } => (sealed(spec, *secret), &[][..]),
            VolumeSource::Projected { sources } => (None, &sources[..]),
            VolumeSource::EmptyDir { .. }
            | VolumeSource::HostPath { .. }
            | VolumeSource::Claim(_) => (None, &[][..]),
        };
        let more = more.iter().filter_map(|source| match source {
            ProjectedSource::Files { data } => Some(*data),
            ProjectedSource::Secret { secret } => sealed(spec, *secret),
            // What the device says of itself is told when the Pod is made.
            ProjectedSource::Fact { .. } => None,
        });
        one.into_iter().chain(more).map(|data| (volume.name.as_str(), data))
    })
}

fn sealed(spec: &PodSpec, secret: u8) -> Option<Hash> {
    spec.secrets.get(usize::from(secret)).map(|secret| secret.data)
}
