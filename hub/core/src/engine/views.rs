//! Devices and Pods as objects of the API: `v1` Node and Pod. Built when asked for; nothing of them is stored.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use firmware_compat::{
    id::PodId,
    v1::owned::{Phase, RuntimeClass},
};

use super::{Engine, happenings::uuid};
use crate::{
    api::{
        self, Node, Object, ObjectMeta,
        apps::TEMPLATE_HASH_LABEL,
        core::node::{NodeAssignment, NodeInfo, NodeRuntime, NodeSpec, NodeStatus},
        meta::{Condition, OwnerReference},
        quantity::{Amounts, Quantity},
        time::rfc3339,
    },
    device::{Device, Presence},
    pod::{Pod, Waiting, status},
};

impl Engine {
    pub(super) fn view_pod(&self, id: PodId) -> Option<Arc<Object>> {
        let pod = self.pods.get(&id)?;
        let device = pod.device.as_ref().and_then(|name| self.devices.get(name));
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
            status: status::pod_status(pod, device, waiting(pod, device)),
        })))
    }

    pub(super) fn view_node(&self, name: &str) -> Option<Arc<Object>> {
        let device = self.devices.get(name)?;
        Some(Arc::new(Object::Node(Node {
            metadata: ObjectMeta {
                name: device.name.clone(),
                uid: device.uid.clone(),
                resource_version: device.resource_version.to_string(),
                creation_timestamp: Some(rfc3339(device.created_ms)),
                labels: device.labels(),
                annotations: device.operator.annotations.clone(),
                ..ObjectMeta::default()
            },
            spec: NodeSpec {
                taints: device.operator.taints.clone(),
                unschedulable: device.operator.unschedulable,
            },
            status: node_status(device, self.mismatch(name)),
        })))
    }
}

fn node_status(device: &Device, mismatch: Option<String>) -> NodeStatus {
    let facts = &device.facts;
    let amounts = Amounts::from([
        ("cpu".to_owned(), Quantity::milli(facts.cpu_milli)),
        ("memory".to_owned(), Quantity::bytes(facts.memory_bytes)),
        ("ephemeral-storage".to_owned(), Quantity::bytes(facts.disk_bytes)),
        ("pods".to_owned(), Quantity(firmware_compat::capacity::full::PODS.to_string())),
    ]);
    let container =
        facts.runtimes.iter().find(|r| r.runtime_class == RuntimeClass::Container && r.usable);
    NodeStatus {
        conditions: conditions(device, mismatch),
        capacity: amounts.clone(),
        allocatable: amounts,
        node_info: NodeInfo {
            architecture: facts.arch.to_string(),
            boot_id: facts.boot.to_string(),
            machine_id: facts.agent.to_string(),
            kernel_version: facts.kernel.to_string(),
            kubelet_version: facts.version.to_string(),
            operating_system: facts.os.to_string(),
            container_runtime_version: container
                .map(|runtime| format!("{}://{}", runtime.name, runtime.version))
                .unwrap_or_default(),
            wasm: facts
                .wasm
                .as_ref()
                .map(|wasm| format!("{}/{}", wasm.class, wasm.compatibility))
                .unwrap_or_default(),
        },
        runtimes: facts
            .runtimes
            .iter()
            .map(|runtime| NodeRuntime {
                class: match runtime.runtime_class {
                    RuntimeClass::Container => "crun",
                    RuntimeClass::Wasm => "wasm",
                    RuntimeClass::Firmware => "firmware",
                }
                .to_owned(),
                name: runtime.name.to_string(),
                version: runtime.version.to_string(),
                usable: runtime.usable,
                limits_enforced: runtime.limits_enforced,
                reason: runtime.reason.to_string(),
            })
            .collect(),
        assignment: NodeAssignment {
            // One more than is made, while the next waits for the device.
            desired: device.desired.generation.0.saturating_add(device.pending.into()),
            acknowledged: device.acknowledged.map_or(0, |held| held.generation.0),
        },
    }
}

fn conditions(device: &Device, mismatch: Option<String>) -> Vec<Condition> {
    let (status, reason, message, since) = match device.presence {
        Presence::Online { since_ms, .. } => {
            ("True", "AgentConnected", "the agent is connected".to_owned(), since_ms)
        }
        Presence::Offline { since: Some(_), since_ms } => (
            "Unknown",
            "AgentSilent",
            format!("the agent has not been heard since {}", rfc3339(since_ms)),
            since_ms,
        ),
        Presence::Offline { since: None, since_ms } => (
            "Unknown",
            "HubNotListening",
            "the hub has no link to its broker, so it can't hear the agent".to_owned(),
            since_ms,
        ),
    };
    let mut conditions = Vec::from([Condition {
        kind: "Ready".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: Some(rfc3339(since)),
    }]);
    if let Some(conflict) = device.conflict {
        conditions.push(Condition {
            kind: "Paused".to_owned(),
            status: "True".to_owned(),
            reason: "AssignmentConflict".to_owned(),
            message: conflict.message(&device.name),
            last_transition_time: None,
        });
    }
    conditions.extend(mismatch.map(|message| Condition {
        kind: "ProtocolMismatch".to_owned(),
        status: "True".to_owned(),
        reason: "OtherVersion".to_owned(),
        message,
        last_transition_time: None,
    }));
    conditions
}

/// Why a Pod does not run, from whoever knows best: the hub before its device has heard of it, the device after.
pub(super) fn waiting(pod: &Pod, device: Option<&Device>) -> Option<Waiting> {
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
    if !device.online() {
        let message = format!("{} is not connected; it will be told when it is back", device.name);
        return Some(Waiting::new("DeviceAway", message));
    }
    let told = format!("{} has been told and has not reported yet", device.name);
    Some(Waiting::new("Assigned", told))
}
