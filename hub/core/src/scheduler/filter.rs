//! Which devices can take a Pod, and why the others can't.

use alloc::{borrow::ToOwned, format, string::String};

use firmware_compat::{capacity::full::PODS, v1::owned::Port};

use crate::{
    api::core::{node::Taint, pod::affinity::NodeSelectorTerm},
    device::{Device, Form, Presence},
    pod::Revision,
    resolve::{Amount, TaintEffect},
};

/// Why a device can't take a Pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FilterReason {
    /// Another device is named.
    OtherNode,
    /// A label is missing or has another value.
    Selector(String),
    /// The node affinity asks for another.
    NodeAffinity,
    /// It has no value for a label by which places are told apart.
    NoTopology(String),
    /// A Pod that podAffinity asks for is not in its place; the label that tells places apart.
    PodAffinity(String),
    /// A Pod is in its place that podAntiAffinity is against.
    PodAntiAffinity(String),
    /// A Pod is in its place whose own podAntiAffinity is against it.
    Repelled(String),
    /// Its place would have too many more Pods than another.
    Skew(String),
    /// A taint is not tolerated.
    Taint(String),
    /// The operator closed it.
    Unschedulable,
    /// It can't be heard.
    NotReady,
    /// It is paused by a conflict between hubs.
    Paused,
    /// The runtime is missing or not usable.
    Runtime(String),
    /// The image has no form for it.
    Image(String),
    /// The image's form for it is being made.
    Preparing(String),
    /// Not enough of a resource is left.
    Resource(String),
    /// Another Pod has a port of its network.
    Port(u16),
    /// It holds as many Pods as it can.
    Full,
    /// Its assignment can't hold more.
    Assignment,
    /// A claim of the Pod can't be used there.
    Claim(String),
}

impl FilterReason {
    /// Whether it is about what other Pods hold: some of them could make way.
    #[must_use]
    pub fn is_room(&self) -> bool {
        matches!(self, Self::Resource(_) | Self::Full | Self::Port(_))
    }

    /// What is the matter, without the device's name.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::OtherNode => "is not the named node".to_owned(),
            Self::Selector(label) => format!("lacks label {label}"),
            Self::NodeAffinity => "is none that nodeAffinity asks for".to_owned(),
            Self::NoTopology(key) => format!("lacks label {key}, which tells places apart"),
            Self::PodAffinity(key) => {
                format!("has no Pod that podAffinity asks for in its {key}")
            }
            Self::PodAntiAffinity(key) => {
                format!("has a Pod in its {key} that podAntiAffinity keeps apart")
            }
            Self::Repelled(key) => {
                format!("has a Pod in its {key} whose podAntiAffinity keeps this one away")
            }
            Self::Skew(key) => {
                format!(
                    "would have too many of the Pods in its {key}, by topologySpreadConstraints"
                )
            }
            Self::Taint(taint) => format!("has taint {taint}, which is not tolerated"),
            Self::Unschedulable => "is marked unschedulable".to_owned(),
            Self::NotReady => "is not connected".to_owned(),
            Self::Paused => "is paused by a conflict between hubs".to_owned(),
            Self::Runtime(reason)
            | Self::Image(reason)
            | Self::Preparing(reason)
            | Self::Claim(reason) => reason.clone(),
            Self::Resource(what) => format!("has not enough {what} left"),
            Self::Port(number) => {
                format!("has another Pod that takes port {number} of its network")
            }
            Self::Full => format!("holds {PODS} pods, the most that it can"),
            Self::Assignment => "has no room left in its assignment".to_owned(),
        }
    }
}

/// What is taken of a device.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// What its Pods ask for.
    pub allocated: Amount,
    /// How many there are.
    pub pods: usize,
    /// How many of them are of the workload that is placed.
    pub own: usize,
    /// A port of the device's network that the Pod wants and another one has.
    pub taken_port: Option<Port>,
    /// Whether the device's assignment has no room for another Pod of the workload.
    pub full: bool,
    /// Why the Pod's claims can't be used there.
    pub claim: Option<FilterReason>,
}

/// What a scheduler asks about an image's form for a device.
pub type Supplied<'a> = &'a dyn Fn(&Form<'_>) -> Result<(), FilterReason>;

/// Whether a device is one for which a DaemonSet makes a Pod: named, labelled and tainted right.
///
/// # Errors
/// Why not.
pub fn matches(device: &Device, revision: &Revision) -> Result<(), FilterReason> {
    chosen(device, revision)?;
    let bars = |effect| effect != TaintEffect::PreferNoSchedule;
    untolerated(device, revision, bars).map_or(Ok(()), Err)
}

/// Whether a template chooses a device, by name and labels.
fn chosen(device: &Device, revision: &Revision) -> Result<(), FilterReason> {
    let spec = &revision.template.spec;
    if spec.node_name.as_ref().is_some_and(|name| *name != device.name) {
        return Err(FilterReason::OtherNode);
    }
    for (key, value) in &spec.node_selector {
        if device.label(key) != Some(value) {
            return Err(FilterReason::Selector(format!("{key}={value}")));
        }
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    match affinity.and_then(|affinity| affinity.required.as_ref()) {
        Some(required)
            if !required.node_selector_terms.iter().any(|term| selects(term, device)) =>
        {
            Err(FilterReason::NodeAffinity)
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether a template chooses a device.
pub(super) fn is_chosen(device: &Device, revision: &Revision) -> bool {
    chosen(device, revision).is_ok()
}

/// Whether a term selects a device. An empty one selects none.
fn selects(term: &NodeSelectorTerm, device: &Device) -> bool {
    let (labels, fields) = (&term.match_expressions, &term.match_fields);
    !(labels.is_empty() && fields.is_empty())
        && labels.iter().all(|requirement| requirement.holds(device.label(&requirement.key)))
        && fields.iter().all(|requirement| requirement.holds(Some(&device.name)))
}

/// What a template's preferences for devices give a device: the sum of the weights of those that it meets.
pub(super) fn preference(device: &Device, revision: &Revision) -> i64 {
    let affinity = revision.template.spec.affinity.as_ref();
    let preferred = affinity.and_then(|of| of.node_affinity.as_ref()).map(|of| &of.preferred);
    let met = preferred.into_iter().flatten().filter(|one| selects(&one.preference, device));
    met.map(|one| i64::from(one.weight)).sum()
}

/// Whether every taint that keeps new Pods away is tolerated.
pub(super) fn is_tolerated(device: &Device, revision: &Revision) -> bool {
    untolerated(device, revision, |effect| effect != TaintEffect::PreferNoSchedule).is_none()
}

/// Whether a Pod may stay where it is: a taint that came later evicts it only if its effect is `NoExecute`.
#[must_use]
pub fn may_stay(device: &Device, revision: &Revision) -> bool {
    untolerated(device, revision, |effect| effect == TaintEffect::NoExecute).is_none()
}

/// Whether a DaemonSet keeps a Pod on a device that had one: as [`may_stay`], and it must still be chosen.
#[must_use]
pub fn keeps(device: &Device, revision: &Revision) -> bool {
    chosen(device, revision).is_ok() && may_stay(device, revision)
}

fn untolerated(
    device: &Device,
    revision: &Revision,
    bars: impl Fn(TaintEffect) -> bool,
) -> Option<FilterReason> {
    let tolerated = |taint: &Taint, effect| {
        let tolerations = &revision.resolved.tolerations;
        tolerations.iter().any(|toleration| toleration.tolerates(&taint.key, &taint.value, effect))
    };
    let (taint, _) =
        device.taints().find(|(taint, effect)| bars(*effect) && !tolerated(taint, *effect))?;
    Some(FilterReason::Taint(format!("{}={}:{}", taint.key, taint.value, taint.effect)))
}

/// Whether a device has a taint that asks the revision's Pods to stay away.
pub(super) fn is_avoided(device: &Device, revision: &Revision) -> bool {
    untolerated(device, revision, |effect| effect == TaintEffect::PreferNoSchedule).is_some()
}

/// Whether a device can run a Pod that is bound to it, beside what it holds.
///
/// # Errors
/// Why not.
pub fn fits(
    device: &Device,
    load: &Load,
    revision: &Revision,
    supplied: Supplied<'_>,
) -> Result<(), FilterReason> {
    let form = device.form(revision.resolved.runtime_class).map_err(FilterReason::Runtime)?;
    supplied(&form)?;
    room(device, load, revision.resolved.requests)
}

/// Whether there is room for one more Pod beside what is used.
pub(super) fn room(device: &Device, load: &Load, want: Amount) -> Result<(), FilterReason> {
    if let Some(reason) = &load.claim {
        return Err(reason.clone());
    }
    let (have, used) = (device.allocatable(), load.allocated);
    if want.cpu_milli > 0 && used.cpu_milli.saturating_add(want.cpu_milli) > have.cpu_milli {
        return Err(FilterReason::Resource("cpu".to_owned()));
    }
    if want.memory_bytes > 0
        && used.memory_bytes.saturating_add(want.memory_bytes) > have.memory_bytes
    {
        return Err(FilterReason::Resource("memory".to_owned()));
    }
    if load.pods >= PODS {
        return Err(FilterReason::Full);
    }
    if load.full {
        return Err(FilterReason::Assignment);
    }
    load.taken_port.map_or(Ok(()), |port| Err(FilterReason::Port(port.number)))
}

/// Whether a device may be given a Pod that could go elsewhere, if there is room.
///
/// # Errors
/// Why not.
pub fn is_open(device: &Device, revision: &Revision) -> Result<(), FilterReason> {
    matches(device, revision)?;
    // A Pod that names its device waits for it; one that does not goes to a device that can be heard.
    let named = revision.template.spec.node_name.is_some();
    if device.operator.unschedulable && !named {
        return Err(FilterReason::Unschedulable);
    }
    if matches!(device.presence, Presence::Offline { .. }) && !named {
        return Err(FilterReason::NotReady);
    }
    if device.conflict.is_some() {
        return Err(FilterReason::Paused);
    }
    Ok(())
}

/// Whether a device may be given a Pod that could go elsewhere.
///
/// # Errors
/// Why not.
pub fn admits(
    device: &Device,
    load: &Load,
    revision: &Revision,
    supplied: Supplied<'_>,
) -> Result<(), FilterReason> {
    is_open(device, revision)?;
    fits(device, load, revision, supplied)
}
