//! Which Pods make way on a full device for one that matters more: as few and as little as possible. Kubernetes' rules.

use alloc::vec::Vec;
use core::cmp::Reverse;

use firmware_compat::id::PodId;

use super::filter::{self, Load};
use crate::{
    device::Device,
    pod::{Pod, Revision},
};

/// Pods that make way on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victims {
    /// Which.
    pub pods: Vec<PodId>,
    /// How much is lost: how much the most important one matters, all together, how many there are.
    pub loss: (i32, i64, usize),
}

/// The Pods on a device that would have to go so that one more Pod of a revision has room. None if that does not help, or
/// if there is room anyway.
///
/// `pods` are those on the device that stay so far; `load` is what is taken of it by them.
#[must_use]
pub fn victims<'a>(
    device: &Device,
    load: &Load,
    revision: &Revision,
    priority: i32,
    pods: impl Iterator<Item = &'a Pod>,
) -> Option<Victims> {
    let want = revision.resolved.requests;
    if !filter::room(device, load, want).is_err_and(|reason| reason.is_room()) {
        return None;
    }
    let (less, others): (Vec<&Pod>, Vec<&Pod>) = pods.partition(|pod| pod.priority < priority);
    let takes = |pod: &Pod, port| pod.revision.host_ports().any(|own| own == port);
    let mut load = load.clone();
    load.taken_port = revision.host_ports().find(|port| others.iter().any(|pod| takes(pod, *port)));
    for pod in &less {
        load.allocated.subtract(pod.revision.resolved.requests);
        load.pods = load.pods.saturating_sub(1);
    }
    filter::room(device, &load, want).ok()?;
    // Whoever matters most, and has been there longest, is the first to stay.
    let mut order = less;
    order.sort_by_key(|pod| (Reverse(pod.priority), pod.created_ms, pod.id));
    let mut going: Vec<&Pod> = Vec::new();
    for pod in order {
        let mut with = load.clone();
        with.allocated.add(pod.revision.resolved.requests);
        with.pods += 1;
        let is_in_the_way = revision.host_ports().any(|port| takes(pod, port));
        if !is_in_the_way && filter::room(device, &with, want).is_ok() {
            load = with;
        } else {
            going.push(pod);
        }
    }
    let most = going.iter().map(|pod| pod.priority).max()?;
    let all = going.iter().map(|pod| i64::from(pod.priority) - i64::from(i32::MIN)).sum();
    let loss = (most, all, going.len());
    Some(Victims { pods: going.iter().map(|pod| pod.id).collect(), loss })
}
