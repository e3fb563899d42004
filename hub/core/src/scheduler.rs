//! Where Pods go: filter the devices that can't take one, with the reason for each, then score the rest: spread first,
//! then fit, ties by name. A function of its arguments; nothing is remembered between calls. The fleet is looked at
//! once per call, however many Pods are placed.

mod filter;
mod neighbours;
mod preemption;
mod report;
mod score;

use alloc::{
    collections::{BTreeMap, BinaryHeap},
    vec::Vec,
};
use core::{cell::RefCell, cmp::Reverse};

use self::score::{Candidate, Score};
pub use self::{
    filter::{FilterReason, Load, Supplied, admits, fits, is_open, keeps, matches, may_stay},
    neighbours::Neighbours,
    preemption::{Victims, victims},
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
/// each, `neighbours` what is to be kept to other Pods.
#[must_use]
pub fn place<'a>(
    count: usize,
    revision: &Revision,
    devices: impl Iterator<Item = &'a Device>,
    load: impl Fn(&Device) -> Load,
    supplied: Supplied<'_>,
    neighbours: Neighbours<'a>,
) -> Placement<'a> {
    let known: RefCell<BTreeMap<Form<'a>, Result<(), FilterReason>>> = RefCell::default();
    let want = revision.resolved.requests;
    let mut placement = Placement::default();
    let mut candidates: Vec<Candidate<'a>> = Vec::new();
    for device in devices {
        let load = load(device);
        let check = || -> Result<(), FilterReason> {
            filter::is_open(device, revision)?;
            let form =
                device.form(revision.resolved.runtime_class).map_err(FilterReason::Runtime)?;
            let mut known = known.borrow_mut();
            known.entry(form).or_insert_with(|| supplied(&form)).clone()?;
            filter::room(device, &load, want)
        };
        match check() {
            Ok(()) => {
                let avoid = filter::is_avoided(device, revision);
                let dislike = -filter::preference(device, revision);
                candidates.push(Candidate { device, load, avoid, dislike });
            }
            Err(reason) => placement.refused.push((&device.name, reason)),
        }
    }
    if neighbours.is_empty() {
        each_alone(count, revision, candidates, &mut placement);
    } else {
        each_with_others(count, revision, candidates, neighbours, &mut placement);
    }
    placement
}

/// Every device is looked at by itself: the best is always on top of the heap.
fn each_alone<'a>(
    count: usize,
    revision: &Revision,
    mut candidates: Vec<Candidate<'a>>,
    placement: &mut Placement<'a>,
) {
    let scores = candidates.iter().enumerate();
    let mut best: BinaryHeap<_> =
        scores.map(|(index, candidate)| Reverse(candidate.score(index, (0, 0)))).collect();
    while placement.devices.len() < count {
        let Some(Reverse(score)) = best.pop() else { break };
        let Some(candidate) = candidates.get_mut(score.index) else { break };
        placement.devices.push(&candidate.device.name);
        match candidate.take(revision) {
            Ok(()) => best.push(Reverse(candidate.score(score.index, (0, 0)))),
            Err(reason) => placement.refused.push((&candidate.device.name, reason)),
        }
    }
}

/// What one Pod takes changes what the next finds on other devices: all are looked at for each.
fn each_with_others<'a>(
    count: usize,
    revision: &Revision,
    mut candidates: Vec<Candidate<'a>>,
    mut neighbours: Neighbours<'a>,
    placement: &mut Placement<'a>,
) {
    let mut open: Vec<bool> = candidates.iter().map(|_| true).collect();
    while placement.devices.len() < count {
        let looked_at = candidates.iter().zip(&open).enumerate();
        let admitted = looked_at
            .filter(|(_, (candidate, is_open))| {
                **is_open && neighbours.check(candidate.device).is_ok()
            })
            .map(|(index, (candidate, _))| {
                candidate.score(index, neighbours.dislike(candidate.device))
            });
        let Some(Score { index, .. }) = admitted.min() else { break };
        let Some(candidate) = candidates.get_mut(index) else { break };
        placement.devices.push(&candidate.device.name);
        neighbours.add(candidate.device);
        if let Err(reason) = candidate.take(revision) {
            placement.refused.push((&candidate.device.name, reason));
            open.iter_mut().skip(index).take(1).for_each(|open| *open = false);
        }
    }
    for (candidate, _) in candidates.iter().zip(&open).filter(|(_, is_open)| **is_open) {
        if let Err(reason) = neighbours.check(candidate.device) {
            placement.refused.push((&candidate.device.name, reason));
        }
    }
}

impl Candidate<'_> {
    /// Takes one Pod more.
    ///
    /// # Errors
    /// Why there is no room for another.
    fn take(&mut self, revision: &Revision) -> Result<(), FilterReason> {
        let want = revision.resolved.requests;
        self.load.allocated.add(want);
        self.load.pods += 1;
        self.load.own += 1;
        self.load.taken_port = revision.host_ports().next();
        filter::room(self.device, &self.load, want)
    }
}
