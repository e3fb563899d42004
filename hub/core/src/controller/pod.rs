//! A Pod that no workload made: it gets a device once, and stays with it to its end. Nothing takes its place.

use alloc::vec::Vec;

use super::{Plan, Step, View, Why, draft::Draft, eviction, placement};
use crate::state::Class;

/// What is to be done for a Pod.
#[must_use]
pub fn plan(view: &View<'_>) -> Plan {
    let mut draft = Draft::new(view);
    for pod in eviction::evicted(view) {
        draft.delete(pod, Why::Evicted);
    }
    // As Kubernetes evicts it from a node that is not heard: it is to go, whether there is a place elsewhere or not.
    for pod in eviction::lost(view) {
        draft.delete(pod, Why::Gone);
    }
    let active = view.owned().into_iter().flat_map(|owned| owned.active_ids());
    let active = active.filter(|id| !draft.goes(*id)).filter_map(|id| view.state.pods.get(id));
    let mut unplaced = Vec::new();
    for pod in active.collect::<Vec<_>>() {
        // Its image was found, or its name had another meaning, before a device was told of it.
        if pod.revision.hash != view.revision.hash && !pod.assigned && pod.device.is_none() {
            draft.plan.steps.push(Step::Renew { pod: pod.id });
        } else if view.state.pods.class(pod.id) == Some(Class::Unplaced) {
            unplaced.push(pod.id);
        }
    }
    placement::place(&mut draft, unplaced, Vec::new());
    draft.plan
}
