//! Pods as objects of the API: `v1` Pod.

use alloc::{borrow::ToOwned, format, string::ToString, sync::Arc, vec::Vec};

use firmware_compat::{
    id::PodId,
    v1::owned::{self as wire, Artefacts, Phase},
};

use crate::{
    api::{
        self, Object, ObjectMeta,
        apps::TEMPLATE_HASH_LABEL,
        core::pod::{self, ContainerState, ContainerStatus, PodStatus, Terminated},
        meta::{Condition, OwnerReference},
        time::rfc3339,
    },
    device::Device,
    engine::Engine,
    pod::{Pod, Waiting},
    recorder::uuid,
};

impl Engine {
    pub(crate) fn view_pod(&self, id: PodId) -> Option<Arc<Object>> {
        let pod = self.state.pods.get(id)?;
        let device = pod.device.as_ref().and_then(|name| self.state.fleet.get(name));
        let template = &pod.revision.template;
        let mut labels = template.metadata.labels.clone();
        labels.insert(TEMPLATE_HASH_LABEL.to_owned(), pod.revision.hash.clone());
        let mut spec = template.spec.clone();
        spec.node_name.clone_from(&pod.device);
        Some(Arc::new(Object::Pod(api::Pod {
            metadata: ObjectMeta {
                name: pod.name.clone(),
                namespace: pod.namespace().to_owned(),
                uid: uuid(pod.id),
                resource_version: pod.resource_version.to_string(),
                creation_timestamp: Some(rfc3339(pod.created_ms)),
                deletion_timestamp: pod.deleting.map(|deleting| rfc3339(deleting.since_ms)),
                labels,
                annotations: template.metadata.annotations.clone(),
                owner_references: Vec::from([OwnerReference {
                    api_version: pod.owner.kind.api_version().to_owned(),
                    kind: pod.owner.kind.as_str().to_owned(),
                    name: pod.owner.name.clone(),
                    uid: pod.owner_uid.clone(),
                    controller: true,
                    block_owner_deletion: true,
                }]),
                ..ObjectMeta::default()
            },
            spec,
            status: pod_status(pod, device),
        })))
    }
}

/// Why a Pod does not run, from whoever knows best: the hub before its device has heard of it, the device after.
pub(crate) fn waiting(pod: &Pod, device: Option<&Device>) -> Option<Waiting> {
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
            phase_word(report.phase)
        } else {
            report.reason.as_str()
        };
        let message = if report.message.is_empty() {
            format!("{} on {}", phase_word(report.phase).to_lowercase(), device.name)
        } else {
            report.message.to_string()
        };
        return Some(Waiting::new(reason, message));
    }
    if let Some(conflict) = device.conflict {
        return Some(Waiting::new("DevicePaused", conflict.message(&device.name)));
    }
    if !device.online() {
        let message = format!("{} is not connected; it will be told when it is back", device.name);
        return Some(Waiting::new("DeviceAway", message));
    }
    let told = format!("{} has been told and has not reported yet", device.name);
    Some(Waiting::new("Assigned", told))
}

fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "Waiting",
        Phase::Fetching => "Fetching",
        Phase::Starting => "ContainerCreating",
        Phase::Running => "Running",
        Phase::Backoff => "CrashLoopBackOff",
        Phase::Stopping => "Terminating",
        Phase::Succeeded => "Completed",
        Phase::Failed => "Error",
    }
}

fn pod_status(pod: &Pod, device: Option<&Device>) -> PodStatus {
    let heard = device.is_some_and(Device::online);
    let running = pod.runs();
    let waiting = waiting(pod, device);
    let phase = match pod.report.as_ref().map(|report| report.phase) {
        Some(Phase::Running | Phase::Backoff | Phase::Stopping) => "Running",
        Some(Phase::Succeeded) => "Succeeded",
        Some(Phase::Failed) => "Failed",
        Some(Phase::Waiting | Phase::Fetching | Phase::Starting) | None => "Pending",
    };
    let (mut reason, mut message) =
        waiting.clone().map(|w| (w.reason, w.message)).unwrap_or_default();
    if running && !heard {
        "NodeLost".clone_into(&mut reason);
        let name = device.map_or("its device", |device| device.name.as_str());
        message = format!("{name} is not connected; this is what it last said");
    }
    let report = pod.report.as_ref();
    PodStatus {
        phase: phase.to_owned(),
        reason,
        message,
        conditions: pod_conditions(pod, running && heard, waiting.as_ref()),
        host_ip: alloc::string::String::new(),
        start_time: report.filter(|r| r.started_ms > 0).map(|r| rfc3339(r.started_ms)),
        container_statuses: pod
            .revision
            .resolved
            .containers
            .iter()
            .map(|container| container_status(pod, &container.name, &container.image, heard))
            .collect(),
    }
}

fn pod_conditions(pod: &Pod, ready: bool, waiting: Option<&Waiting>) -> Vec<Condition> {
    let condition = |kind: &str, good: bool| {
        let why = waiting.filter(|_| !good);
        Condition {
            kind: kind.to_owned(),
            status: if good { "True" } else { "False" }.to_owned(),
            reason: why.map(|w| w.reason.clone()).unwrap_or_default(),
            message: why.map(|w| w.message.clone()).unwrap_or_default(),
            last_transition_time: None,
        }
    };
    Vec::from([
        condition("PodScheduled", pod.device.is_some()),
        condition("ContainersReady", ready),
        condition("Ready", ready),
    ])
}

fn container_status(pod: &Pod, name: &str, image: &str, heard: bool) -> ContainerStatus {
    let report = pod.report.as_ref();
    let running = pod.runs();
    let root = pod.revision.roots.get(image).copied().flatten();
    let image_id = match (&pod.supply, root) {
        (_, Some(root)) => format!("sha256:{root}"),
        (Some((_, Artefacts::Wasm { module, .. })), None) => format!("sha256:{module}"),
        _ => alloc::string::String::new(),
    };
    let last = report.and_then(|report| report.last_exit.as_ref()).map(terminated);
    let ended = report.is_some_and(|r| matches!(r.phase, Phase::Succeeded | Phase::Failed));
    // What is being stopped runs until it has ended.
    let stopping = report.is_some_and(|r| r.phase == Phase::Stopping && r.started_ms > 0);
    let state = match report {
        Some(report) if running || stopping => ContainerState {
            running: Some(pod::Running { started_at: Some(rfc3339(report.started_ms)) }),
            ..ContainerState::default()
        },
        Some(_) if ended => {
            ContainerState { terminated: last.clone(), ..ContainerState::default() }
        }
        _ => ContainerState {
            waiting: Some(waiting_state(pod, report)),
            ..ContainerState::default()
        },
    };
    ContainerStatus {
        name: name.to_owned(),
        ready: running && heard,
        restart_count: report.map_or(0, |report| report.restarts),
        image: image.to_owned(),
        image_id,
        state,
        last_state: ContainerState {
            terminated: last.filter(|_| !ended),
            ..ContainerState::default()
        },
        started: running,
    }
}

fn waiting_state(pod: &Pod, report: Option<&wire::PodStatus>) -> pod::Waiting {
    match (report, &pod.waiting) {
        (_, Some(waiting)) => {
            pod::Waiting { reason: waiting.reason.clone(), message: waiting.message.clone() }
        }
        (Some(report), None) => pod::Waiting {
            reason: if report.reason.is_empty() {
                phase_word(report.phase).to_owned()
            } else {
                report.reason.to_string()
            },
            message: report.message.to_string(),
        },
        (None, None) => {
            pod::Waiting { reason: "Assigned".to_owned(), message: alloc::string::String::new() }
        }
    }
}

fn terminated(exit: &firmware_compat::v1::owned::Exit) -> Terminated {
    Terminated {
        exit_code: exit.code,
        reason: exit.reason.to_string(),
        message: exit.message.to_string(),
        finished_at: Some(rfc3339(exit.at_ms)),
    }
}
