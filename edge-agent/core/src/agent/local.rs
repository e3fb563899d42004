//! What the agent knows of its Pods, for whoever asks on the device.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use firmware_compat::{
    capacity::full as capacity,
    id::PodId,
    v1::owned::{List, NodeCondition, PodStatus},
};

use super::Agent;

/// A Pod, as the device sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPod {
    /// Which.
    pub id: PodId,
    /// `namespace/name`; its id, if no assignment names it.
    pub label: String,
    /// What the hub is told of it.
    pub status: PodStatus,
}

impl Agent {
    /// Every Pod that is wanted or of which something is left, by its label.
    #[must_use]
    pub fn local_pods(&self) -> Vec<LocalPod> {
        let context = self.context();
        let of = |pod: &crate::pod::Pod| LocalPod {
            id: pod.id,
            label: self.label(pod.id),
            status: pod.status(&context),
        };
        let mut all: Vec<LocalPod> = self.pods.values().map(of).collect();
        all.sort_by(|a, b| (&a.label, a.id).cmp(&(&b.label, b.id)));
        all
    }

    /// What the operator calls a Pod.
    #[must_use]
    pub fn label(&self, id: PodId) -> String {
        let spec = self
            .pods
            .get(&id)
            .and_then(|pod| pod.wanted.as_ref().or_else(|| pod.in_use().ok().flatten()));
        spec.map_or_else(|| id.to_string(), |spec| format!("{}/{}", spec.namespace, spec.name))
    }

    /// How the device itself fares.
    #[must_use]
    pub fn conditions(&self) -> &List<NodeCondition, { capacity::CONDITIONS }> {
        &self.hello.conditions
    }
}
