//! Pods as objects of the API: `v1` Pod.

use alloc::{borrow::ToOwned, format, string::ToString, sync::Arc};

use firmware_compat::{id::PodId, v1::owned::Phase};

use crate::{
    api::{self, Kind, Object, ObjectMeta, time::rfc3339},
    device::Device,
    engine::Engine,
    pod::{Pod, Waiting, status},
    recorder::uuid,
    resolve::{Source, volume::claim_of},
    view::revision::owner_of_pods,
};

impl Engine {
    pub(crate) fn view_pod(&self, id: PodId) -> Option<Arc<Object>> {
        let pod = self.state.pods.get(id)?;
        let device = pod.device.as_ref().and_then(|name| self.state.fleet.get(name));
        let mut spec = pod.revision.template.spec.clone();
        if pod.device.is_some() {
            spec.node_name.clone_from(&pod.device);
        }
        spec.priority = Some(pod.priority);
        pod.show_index(&mut spec);
        // One that nobody made for others is its own workload.
        let owner = (pod.owner.kind != Kind::Pod)
            .then(|| owner_of_pods(&pod.owner, &pod.owner_uid, &pod.revision.hash));
        let written = self.state.objects.get(&pod.owner).filter(|_| pod.owner.kind == Kind::Pod);
        let generate_name =
            written.map(|stored| stored.object.meta().generate_name.clone()).unwrap_or_default();
        let of_sets = pod
            .revision
            .resolved
            .volumes
            .iter()
            .filter(|volume| matches!(volume.source, Source::Claim { name: None, .. }));
        spec.volumes.extend(of_sets.map(|volume| api::core::pod::Volume {
            name: volume.name.to_string(),
            persistent_volume_claim: Some(api::core::pod::ClaimVolume {
                claim_name: claim_of(&volume.name, &pod.name),
                read_only: None,
            }),
            ..api::core::pod::Volume::default()
        }));
        Some(Arc::new(Object::Pod(api::Pod {
            metadata: ObjectMeta {
                name: pod.name.clone(),
                generate_name,
                namespace: pod.namespace().to_owned(),
                uid: uuid(pod.id),
                resource_version: pod.resource_version.to_string(),
                creation_timestamp: Some(rfc3339(pod.created_ms)),
                deletion_timestamp: pod.deleting.map(|deleting| rfc3339(deleting.since_ms)),
                deletion_grace_period_seconds: pod.deleting.map(|_| {
                    pod.grace_s.unwrap_or(u64::from(pod.revision.resolved.grace_ms) / 1000)
                }),
                labels: pod.labels(),
                annotations: pod.annotations(),
                owner_references: owner.into_iter().collect(),
                ..ObjectMeta::default()
            },
            spec,
            status: status::pod_status(pod, device, self.waiting(pod, device)),
        })))
    }

    /// Why a Pod does not run, from whoever knows best: the hub before its device has heard of it, the device after.
    pub(crate) fn waiting(&self, pod: &Pod, device: Option<&Device>) -> Option<Waiting> {
        if let Some(waiting) = &pod.waiting {
            return Some(waiting.clone());
        }
        let Some(device) = device else {
            return Some(Waiting::new("Pending", "it is on no device yet"));
        };
        if let Some(report) = &pod.report {
            if report.phase == Phase::Running {
                return None;
            }
            let reason = if report.reason.is_empty() {
                status::phase_word(report.phase)
            } else {
                report.reason.as_str()
            };
            let message = if report.message.is_empty() {
                format!("{} on {}", status::phase_word(report.phase).to_lowercase(), device.name)
            } else {
                report.message.to_string()
            };
            return Some(Waiting::new(reason, message));
        }
        if let Some(conflict) = device.conflict {
            return Some(Waiting::new("DevicePaused", conflict.message(&device.name)));
        }
        if let Some(message) = self.unknown_key(&device.name) {
            return Some(Waiting::new("DeviceRefusesHub", message));
        }
        if !device.online() {
            let message =
                format!("{} is not connected; it will be told when it is back", device.name);
            return Some(Waiting::new("DeviceAway", message));
        }
        let told = match pod.assigned {
            true => format!("{} has been told and has not reported yet", device.name),
            false => format!("{} is told as soon as it is heard", device.name),
        };
        Some(Waiting::new("Assigned", told))
    }
}
