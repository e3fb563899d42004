//! Places for Pods that any fitting device may take: for those that wait for one, and for new ones.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use firmware_compat::{capacity::full::PREDECESSORS, id::PodId};

use super::{Step, draft::Draft};
use crate::{pod::Waiting, scheduler};

/// Finds devices for Pods that have none, and for new ones with these numbers. What finds none waits, with the reason.
pub fn place(draft: &mut Draft<'_>, unplaced: Vec<PodId>, new: Vec<Option<u32>>) {
    let steps_before = draft.plan.steps.len();
    let room = draft.view.room.saturating_sub(steps_before);
    draft.plan.more |= new.len() > room;
    let new: Vec<Option<u32>> = new.into_iter().take(room).collect();
    let count = unplaced.len() + new.len();
    if count == 0 {
        return;
    }
    // Nothing became free since, but by what goes now.
    if draft.view.no_room && new.is_empty() && steps_before == 0 {
        draft.plan.report.no_place += count;
        return;
    }
    let (devices, waiting) = find(draft, count);
    let mut found: Vec<(String, Vec<PodId>)> =
        devices.into_iter().map(|device| (device, Vec::new())).collect();
    if draft.missing_image().is_none() {
        let missing = count - found.len();
        found.extend(draft.preempt(missing));
    }
    draft.plan.report.no_place += count - found.len();
    let mut devices = found.into_iter();
    for pod in unplaced {
        let step = match devices.next() {
            Some((device, displaced)) => {
                Step::Bind { pod, after: after(draft, &device, displaced), device }
            }
            None => Step::Wait { pod, waiting: waiting.clone() },
        };
        draft.plan.steps.push(step);
    }
    for index in new {
        let place = devices.next().map(|(device, displaced)| {
            let after = after(draft, &device, displaced);
            (device, after)
        });
        let (device, after) = place.map_or((None, Vec::new()), |(name, after)| (Some(name), after));
        let waiting = device.is_none().then(|| waiting.clone());
        draft.plan.steps.push(Step::Create { device, index, after, waiting });
    }
}

/// Up to so many devices, and why there are no more.
fn find(draft: &Draft<'_>, count: usize) -> (Vec<String>, Waiting) {
    if let Some(waiting) = draft.missing_image() {
        return (Vec::new(), waiting);
    }
    let placement = draft.places(count);
    let devices = placement.devices.iter().map(|name| name.to_string());
    (devices.collect(), scheduler::summarise(&placement.refused, draft.view.state.fleet.len()))
}

/// What a new Pod on a device waits for: those that make way for it, and Pods on their way out that hold a port which it
/// wants.
fn after(draft: &Draft<'_>, device: &str, displaced: Vec<PodId>) -> Vec<PodId> {
    let mut after = displaced;
    let holders = draft.port_holders(device);
    after.extend(holders.into_iter().filter(|id| !after.contains(id)).collect::<Vec<_>>());
    after.truncate(PREDECESSORS);
    after
}
