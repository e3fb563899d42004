//! Where Pods go: filter the devices that can't take one, with the reason for each, then score the rest: spread first,
//! then fit, ties by name. A function of its arguments; nothing is remembered between calls. The fleet is looked at
//! once per call, however many Pods are placed.

mod filter;
mod report;
mod score;

use alloc::{
    collections::{BTreeMap, BinaryHeap},
    vec::Vec,
};
use core::{cell::RefCell, cmp::Reverse};

use self::score::Candidate;
pub use self::{
    filter::{FilterReason, Load, Supplied, admits, fits, is_open, keeps, matches, may_stay},
    report::summarise,
};
use crate::{
    device::{Device, Form},
    pod::Revision,
};

/// Where Pods go.
#[derive(Clone, Debug, Default)]
pub struct Placement<'a> {
    /// A device for each Pod that could be placed.
    pub devices: Vec<&'a str>,
    /// Why the others can't take one more. For Pods that could not be placed.
    pub refused: Vec<(&'a str, FilterReason)>,
}

/// Places `count` Pods of a revision on devices, which come in the order of their names. `load` says what is taken of
/// each.
#[must_use]
pub fn place<'a>(
    count: usize,
    revision: &Revision,
    devices: impl Iterator<Item = &'a Device>,
    load: impl Fn(&Device) -> Load,
    supplied: Supplied<'_>,
) -> Placement<'a> {
    let known: RefCell<BTreeMap<Form<'a>, Result<(), FilterReason>>> = RefCell::default();
    let want = revision.resolved.requests;
    let takes_port = revision.host_ports().next();
    let mut placement = Placement::default();
    let mut candidates: Vec<Candidate<'a>> = Vec::new();
    for device in devices {
        let load = load(device);
        let check = || -> Result<(), FilterReason> {
            filter::is_open(device, revision)?;
            let form = device.form(revision.resolved.engine).map_err(FilterReason::Runtime)?;
            let mut known = known.borrow_mut();
            known.entry(form).or_insert_with(|| supplied(&form)).clone()?;
            filter::room(device, &load, want)
        };
        match check() {
            Ok(()) => {
                let avoid = filter::is_avoided(device, revision);
                candidates.push(Candidate { device, load, avoid });
            }
            Err(reason) => placement.refused.push((&device.name, reason)),
        }
    }
    let scores = candidates.iter().enumerate();
    let mut best: BinaryHeap<_> =
        scores.map(|(index, candidate)| Reverse(candidate.score(index))).collect();
    while placement.devices.len() < count {
        let Some(Reverse(score)) = best.pop() else { break };
        let Some(candidate) = candidates.get_mut(score.index) else { break };
        placement.devices.push(&candidate.device.name);
        candidate.load.allocated.add(want);
        candidate.load.pods += 1;
        candidate.load.own += 1;
        candidate.load.taken_port = takes_port;
        match filter::room(candidate.device, &candidate.load, want) {
            Ok(()) => best.push(Reverse(candidate.score(score.index))),
            Err(reason) => placement.refused.push((&candidate.device.name, reason)),
        }
    }
    placement
}
