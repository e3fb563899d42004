//! Pods that leave their device before their time: it has a taint that they don't tolerate, or it has been silent for
//! longer than they tolerate.

use core::time::Duration;

use alloc::vec::Vec;

use firmware_compat::{id::PodId, time::Instant};

use super::View;
use crate::{
    pod::Revision,
    resolve::TaintEffect,
    scheduler,
    state::{Class, OfRevision},
};

/// The taint that stands for a device that can't be heard, as Kubernetes names it.
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// How long a Pod that could run elsewhere tolerates the silence of its device. `None` for ever.
#[must_use]
pub fn toleration(revision: &Revision, lost_after: Duration) -> Option<Duration> {
    // One that names its device can't run elsewhere.
    if revision.template.spec.node_name.is_some() {
        return None;
    }
    let mut tolerated = revision
        .resolved
        .tolerations
        .iter()
        .filter(|t| t.tolerates(UNREACHABLE, "", TaintEffect::NoExecute))
        .map(|t| t.seconds)
        .peekable();
    if tolerated.peek().is_none() {
        return Some(lost_after);
    }
    let shortest = tolerated.flatten().min()?;
    Some(Duration::from_secs(shortest.into()))
}

/// Pods on the devices looked at that don't tolerate a taint there which is for what runs, too.
#[must_use]
pub fn evicted(view: &View<'_>) -> Vec<PodId> {
    let mut evicted = Vec::new();
    super::draft::each_device(view, |name, here| {
        let Some(device) = view.state.fleet.get(name) else { return };
        let leaves = |id: &&PodId| {
            let pod = view.state.pods.get(**id).filter(|pod| pod.finished().is_none());
            pod.is_some_and(|pod| !scheduler::may_stay(device, &pod.revision))
        };
        evicted.extend(here.iter().flat_map(|here| here.active.iter()).filter(leaves));
    });
    evicted
}

/// Pods whose device has been silent for longer than they tolerate.
#[must_use]
pub fn lost(view: &View<'_>) -> Vec<PodId> {
    let mut lost = Vec::new();
    let Some(owned) = view.owned() else { return lost };
    for (_, of) in owned.revisions() {
        let classes = [Class::Away, Class::AwayUnready, Class::Silent, Class::SilentUnready];
        // All Pods of a revision tolerate the same.
        let first = classes.iter().find_map(|class| of.ids(*class).next());
        let Some(pod) = first.and_then(|id| view.state.pods.get(id)) else { continue };
        let Some(toleration) = toleration(&pod.revision, view.lost_after) else { continue };
        for class in classes {
            lost.extend(silent_for(of, class, toleration, view.now));
        }
    }
    lost
}

fn silent_for(
    of: &OfRevision,
    class: Class,
    toleration: Duration,
    now: Instant,
) -> impl Iterator<Item = PodId> {
    of.of(class)
        .iter()
        .take_while(move |(since, _, _)| *since + toleration <= now)
        .map(|(_, _, id)| *id)
}
