//! The agent and what the device has left: its conditions, and Pods that hold more than they may.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use firmware_compat::{
    id::PodId,
    time::Instant,
    v1::owned::{NodeCondition, VolumeSource},
};

use super::Agent;
use crate::{event::Measured, pressure::quantity, spec::PodSpec};

/// What is to be measured of one Pod, besides the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToMeasure {
    /// Which.
    pub pod: PodId,
    /// Its emptyDirs on the disk whose size matters now.
    pub volumes: Vec<String>,
    /// What its containers ask for.
    pub memory_request_bytes: u64,
}

impl Agent {
    /// What the shell is to look at before it says [`crate::Event::Measured`]: volumes with a limit, and all of them while the
    /// disk is short.
    #[must_use]
    pub fn to_measure(&self) -> Vec<ToMeasure> {
        let every = self.pressure.is_disk_short();
        let held = self.pods.values().filter_map(|pod| pod.in_use().ok().flatten());
        let of = |spec: &PodSpec| ToMeasure {
            pod: spec.id,
            volumes: on_disk(spec)
                .filter(|(_, limit)| every || *limit > 0)
                .map(|(name, _)| name.to_string())
                .collect(),
            memory_request_bytes: spec
                .every_container()
                .map(|container| container.resources.memory_request_bytes)
                .fold(0, u64::saturating_add),
        };
        held.map(|spec| of(spec)).collect()
    }

    pub(super) fn measured(&mut self, measured: &Measured, now: Instant) {
        if self.pressure.measured(measured, now, &mut self.out) {
            self.conditions_changed(now);
        }
        self.fetches.measured(measured.disk.free, now);
        for usage in &measured.volumes {
            let Some(pod) = self.pods.get_mut(&usage.pod) else { continue };
            let limit = pod.in_use().ok().flatten().and_then(|spec| {
                on_disk(spec).find(|(name, _)| *name == usage.volume).map(|(_, limit)| limit)
            });
            if let Some(limit) = limit.filter(|limit| *limit > 0 && usage.bytes > *limit) {
                // The kubelet's words.
                let message = format!(
                    "Usage of EmptyDir volume {:?} exceeds the limit {:?}.",
                    usage.volume,
                    quantity(limit)
                );
                pod.evict(&message, now, &mut self.out);
            }
        }
        if self.pressure.is_disk_short() {
            self.make_room();
        }
        // One after the other: what it brings is seen the next time.
        if !self.pods.values().any(|pod| pod.is_being_evicted())
            && let Some((pod, message)) = self.pressure.victim(&measured.pods)
            && let Some(pod) = self.pods.get_mut(&pod)
        {
            pod.evict(&message, now, &mut self.out);
        }
    }

    pub(super) fn condition(&mut self, condition: NodeCondition, now: Instant) {
        if self.pressure.set(condition, now, &mut self.out) {
            self.conditions_changed(now);
        }
    }

    fn conditions_changed(&mut self, now: Instant) {
        self.hello.conditions = self.pressure.conditions();
        self.reporter.hello_changed(now);
    }
}

/// The emptyDirs of a Pod that are on the disk, with their limits.
fn on_disk(spec: &PodSpec) -> impl Iterator<Item = (&str, u64)> {
    spec.volumes.iter().filter_map(|volume| match volume.source {
        VolumeSource::EmptyDir { memory: false, size_limit_bytes } => {
            Some((volume.name.as_str(), size_limit_bytes))
        }
        _ => None,
    })
}
