//! Devices as objects of the API: `v1` Node.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use firmware_compat::v1::owned::RuntimeClass;

use crate::{
    api::{
        Node, Object, ObjectMeta,
        core::node::{NodeAssignment, NodeInfo, NodeRuntime, NodeSpec, NodeStatus},
        meta::Condition,
        quantity::{Amounts, Quantity},
        time::rfc3339,
    },
    device::{Device, Presence},
    engine::Engine,
};

impl Engine {
    pub(crate) fn view_node(&self, name: &str) -> Option<Arc<Object>> {
        let device = self.state.fleet.get(name)?;
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
            status: node_status(device, self.troubles(name)),
        })))
    }

    fn troubles(&self, name: &str) -> Vec<Trouble> {
        let left_behind = self.left_behind(name).map(ToOwned::to_owned);
        let all = [
            ("CertificateRefused", "CertificateOutdated", left_behind),
            ("HubRefused", "SigningKeyUnknown", self.unknown_key(name)),
            ("ProtocolMismatch", "OtherVersion", self.mismatch(name)),
        ];
        let there =
            |(kind, reason, message): (_, _, Option<String>)| Some((kind, reason, message?));
        all.into_iter().filter_map(there).collect()
    }
}

/// What keeps a device and its hub apart, beside its connection: condition, reason, message.
type Trouble = (&'static str, &'static str, String);

fn node_status(device: &Device, troubles: Vec<Trouble>) -> NodeStatus {
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
        conditions: conditions(device, troubles),
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

fn conditions(device: &Device, troubles: Vec<Trouble>) -> Vec<Condition> {
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
            "the hub's way to devices is closed, so it can't hear the agent".to_owned(),
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
    conditions.extend(device.facts.conditions.iter().map(|said| Condition {
        kind: said.kind.name().to_owned(),
        status: if said.is_true { "True" } else { "False" }.to_owned(),
        reason: said.reason.to_string(),
        message: said.message.to_string(),
        last_transition_time: None,
    }));
    if let Some(conflict) = device.conflict {
        conditions.push(Condition {
            kind: "Paused".to_owned(),
            status: "True".to_owned(),
            reason: "AssignmentConflict".to_owned(),
            message: conflict.message(&device.name),
            last_transition_time: None,
        });
    }
    conditions.extend(troubles.into_iter().map(|(kind, reason, message)| Condition {
        kind: kind.to_owned(),
        status: "True".to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: None,
    }));
    conditions
}
