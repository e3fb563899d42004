//! Where Pods go: filter the devices that can't take one, with the reason for each, then score the rest: spread
//! first, then fit, ties by name. A function of its arguments; nothing is remembered between calls.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};
use core::cmp::Reverse;

use firmware_compat::capacity::full::PODS;

use crate::{
    api::core::node::Taint,
    device::{Device, Presence},
    event::Target,
    pod::{Revision, Waiting},
    resolve::{Amount, TaintEffect},
};

/// Why a device can't take a Pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Another device is named.
    OtherNode,
    /// A label is missing or has another value.
    Selector(String),
    /// A taint is not tolerated.
    Taint(String),
    /// The operator closed it.
    Unschedulable,
    /// It can't be heard.
    NotReady,
    /// It is paused by a conflict between hubs.
    Paused,
    /// The engine is missing or not usable.
    Runtime(String),
    /// The image has no form for it.
    Image(String),
    /// The image's form for it is being made.
    Preparing(String),
    /// Not enough of a resource is left.
    Resource(String),
    /// It holds as many Pods as it can.
    Full,
}

impl Refusal {
    /// What is the matter, without the device's name.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::OtherNode => "is not the named node".to_owned(),
            Self::Selector(label) => format!("lacks label {label}"),
            Self::Taint(taint) => format!("has taint {taint}, which is not tolerated"),
            Self::Unschedulable => "is marked unschedulable".to_owned(),
            Self::NotReady => "is not connected".to_owned(),
            Self::Paused => "is paused by a conflict between hubs".to_owned(),
            Self::Runtime(reason) | Self::Image(reason) | Self::Preparing(reason) => reason.clone(),
            Self::Resource(what) => format!("has not enough {what} left"),
            Self::Full => format!("holds {PODS} pods, the most that it can"),
        }
    }
}

/// What a scheduler asks about an image's form for a device.
pub type Supplied<'a> = &'a dyn Fn(&Target) -> Result<(), Refusal>;

/// Whether a device is one for which a DaemonSet makes a copy: named, labelled and tainted right.
///
/// # Errors
/// Why not.
pub fn matches(device: &Device, revision: &Revision) -> Result<(), Refusal> {
    chosen(device, revision)?;
    let bars = |effect| effect != TaintEffect::PreferNoSchedule;
    untolerated(device, revision, bars).map_or(Ok(()), Err)
}

/// Whether a template chooses a device, by name and labels.
fn chosen(device: &Device, revision: &Revision) -> Result<(), Refusal> {
    let spec = &revision.template.spec;
    if spec.node_name.as_ref().is_some_and(|name| *name != device.name) {
        return Err(Refusal::OtherNode);
    }
    for (key, value) in &spec.node_selector {
        if !device.has_label(key, value) {
            return Err(Refusal::Selector(format!("{key}={value}")));
        }
    }
    Ok(())
}

/// Whether a copy may stay where it is: a taint that came later drives it away only if its effect is `NoExecute`.
#[must_use]
pub fn may_stay(device: &Device, revision: &Revision) -> bool {
    untolerated(device, revision, |effect| effect == TaintEffect::NoExecute).is_none()
}

/// Whether a DaemonSet keeps a copy on a device that had one: as [`may_stay`], and it must still be chosen.
#[must_use]
pub fn keeps(device: &Device, revision: &Revision) -> bool {
    chosen(device, revision).is_ok() && may_stay(device, revision)
}

fn untolerated(
    device: &Device,
    revision: &Revision,
    bars: impl Fn(TaintEffect) -> bool,
) -> Option<Refusal> {
    let borne = |taint: &Taint, effect| {
        let tolerations = &revision.resolved.tolerations;
        tolerations.iter().any(|toleration| toleration.bears(&taint.key, &taint.value, effect))
    };
    let (taint, _) =
        device.taints().find(|(taint, effect)| bars(*effect) && !borne(taint, *effect))?;
    Some(Refusal::Taint(format!("{}={}:{}", taint.key, taint.value, taint.effect)))
}

/// Whether a device can run a copy that is bound to it.
///
/// # Errors
/// Why not.
pub fn fits(device: &Device, revision: &Revision, supplied: Supplied<'_>) -> Result<(), Refusal> {
    let target = device.target(revision.resolved.runtime_class).map_err(Refusal::Runtime)?;
    supplied(&target)?;
    room(device, device.allocated, device.pods.len(), revision.resolved.requests)
}

/// Whether there is room for one more copy beside what is used.
fn room(device: &Device, used: Amount, pods: usize, want: Amount) -> Result<(), Refusal> {
    let have = device.allocatable();
    if want.cpu_milli > 0 && used.cpu_milli.saturating_add(want.cpu_milli) > have.cpu_milli {
        return Err(Refusal::Resource("cpu".to_owned()));
    }
    if want.memory_bytes > 0
        && used.memory_bytes.saturating_add(want.memory_bytes) > have.memory_bytes
    {
        return Err(Refusal::Resource("memory".to_owned()));
    }
    if pods >= PODS {
        return Err(Refusal::Full);
    }
    Ok(())
}

/// Whether a device may be given a copy that could go elsewhere.
///
/// # Errors
/// Why not.
pub fn admits(device: &Device, revision: &Revision, supplied: Supplied<'_>) -> Result<(), Refusal> {
    matches(device, revision)?;
    // A copy that names its device waits for it; one that does not goes to a device that can be heard.
    let named = revision.template.spec.node_name.is_some();
    if device.operator.unschedulable && !named {
        return Err(Refusal::Unschedulable);
    }
    if matches!(device.presence, Presence::Offline { .. }) && !named {
        return Err(Refusal::NotReady);
    }
    if device.conflict.is_some() {
        return Err(Refusal::Paused);
    }
    fits(device, revision, supplied)
}

/// Where copies go.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// A device for each copy that could be placed.
    pub devices: Vec<String>,
    /// Why the others were refused, for copies that could not.
    pub refused: BTreeMap<String, Refusal>,
}

/// Places `count` copies of a revision. `copies` counts the workload's copies per device.
#[must_use]
pub fn place(
    count: usize,
    revision: &Revision,
    devices: &BTreeMap<String, Device>,
    copies: &BTreeMap<String, usize>,
    supplied: Supplied<'_>,
) -> Placement {
    let mut placement = Placement::default();
    let mut candidates = BTreeSet::new();
    for device in devices.values() {
        match admits(device, revision, supplied) {
            Ok(()) => {
                let copies = copies.get(&device.name).copied().unwrap_or(0);
                candidates.insert(score(device, device.allocated, copies, revision));
            }
            Err(refusal) => {
                placement.refused.insert(device.name.clone(), refusal);
            }
        }
    }
    let mut extra: BTreeMap<&str, (usize, Amount)> = BTreeMap::new();
    while placement.devices.len() < count {
        let Some(best) = candidates.pop_first() else { break };
        let Some(device) = devices.get(best.name) else { break };
        placement.devices.push(device.name.clone());
        let (placed, added) = extra.entry(best.name).or_default();
        *placed += 1;
        let want = revision.resolved.requests;
        added.add(want);
        let mut used = device.allocated;
        used.add(*added);
        match room(device, used, device.pods.len() + *placed, want) {
            Err(refusal) => {
                placement.refused.insert(device.name.clone(), refusal);
            }
            Ok(()) => {
                let copies = copies.get(best.name).copied().unwrap_or(0) + *placed;
                candidates.insert(score(device, used, copies, revision));
            }
        }
    }
    placement
}

/// Lower is better: taints that ask to stay away, copies of the same workload, then the share of the scarcer resource
/// that is used (in thousandths), then Pods, then the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Score<'a> {
    avoid: bool,
    copies: usize,
    used_permille: u64,
    pods: usize,
    name: &'a str,
}

fn score<'a>(device: &'a Device, used: Amount, copies: usize, revision: &Revision) -> Score<'a> {
    let share = |used: u64, have: u64| used.saturating_mul(1000).checked_div(have).unwrap_or(1000);
    let have = device.allocatable();
    let avoid = device.taints().any(|(taint, effect)| {
        effect == TaintEffect::PreferNoSchedule
            && !revision
                .resolved
                .tolerations
                .iter()
                .any(|toleration| toleration.bears(&taint.key, &taint.value, effect))
    });
    Score {
        avoid,
        copies,
        used_permille: share(used.cpu_milli, have.cpu_milli)
            .max(share(used.memory_bytes, have.memory_bytes)),
        pods: device.pods.len(),
        name: &device.name,
    }
}

/// Refusals as one sentence: `0 of 3 devices fit: a, b lack label site=x; c is not connected`.
#[must_use]
pub fn summarise(refused: &BTreeMap<String, Refusal>, devices: usize) -> Waiting {
    /// Names shown per reason; the rest is counted.
    const SHOWN: usize = 3;
    if devices == 0 {
        return Waiting::new(
            "NoDevices",
            "no device has joined this hub; start one with: lichen-agent --hub URL",
        );
    }
    let mut by_reason: BTreeMap<&Refusal, Vec<&str>> = BTreeMap::new();
    for (name, refusal) in refused {
        by_reason.entry(refusal).or_default().push(name);
    }
    let mut groups: Vec<_> = by_reason.into_iter().collect();
    groups.sort_by_key(|(_, names)| Reverse(names.len()));
    let preparing = groups.iter().any(|(refusal, _)| matches!(refusal, Refusal::Preparing(_)));
    let mut message = format!("0 of {devices} devices can take it");
    for (index, (refusal, names)) in groups.into_iter().enumerate() {
        message.push_str(if index == 0 { ": " } else { "; " });
        for (position, name) in names.iter().take(SHOWN).enumerate() {
            message.push_str(if position == 0 { "" } else { ", " });
            message.push_str(name);
        }
        if names.len() > SHOWN {
            message.push_str(&format!(" and {} more", names.len() - SHOWN));
        }
        message.push_str(&format!(" ({})", refusal.describe()));
    }
    Waiting::new(if preparing { "PreparingImage" } else { "NoDeviceFits" }, message)
}
