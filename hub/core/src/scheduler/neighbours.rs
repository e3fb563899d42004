//! What a template says about other Pods: where some must be, where none may be, how its own are spread; and which Pods
//! elsewhere keep it away. Kubernetes' inter-Pod affinity and topology spread.
//!
//! Pods are counted once per placement, by the places that a label of devices tells apart; a Pod that is placed is counted
//! with the next.

use alloc::{
    borrow::{Cow, ToOwned},
    collections::BTreeMap,
    vec::Vec,
};

use firmware_compat::id::PodId;

use super::filter::{self, FilterReason};
use crate::{
    api::{
        Key, Kind,
        apps::TEMPLATE_HASH_LABEL,
        core::pod::affinity::{PodAffinityTerm, TopologySpreadConstraint},
        selector::{LabelSelector, Requirement},
    },
    device::Device,
    pod::Revision,
    state::{Class, State},
};

/// The rules about other Pods that hold for the Pods of one revision.
#[derive(Debug, Default)]
pub struct Neighbours<'a> {
    rules: Vec<Rule<'a>>,
}

#[derive(Debug)]
struct Rule<'a> {
    key: &'a str,
    test: Test,
    /// Places by the label's value, and how many Pods are counted there.
    places: BTreeMap<&'a str, usize>,
    /// Whether a Pod that is placed is one of those that are counted.
    is_own: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    /// Some must be there, unless there are none anywhere and the Pod itself would be one.
    Near,
    /// None may be there.
    Apart,
    /// One there keeps others away.
    Repelled,
    /// Each there counts for it, or against it.
    Preferred(i64),
    /// No place may be ahead of the emptiest by more.
    Skew { most: usize, least_places: usize },
    /// The fewer there are, the better.
    Level,
}

impl<'a> Neighbours<'a> {
    /// Counts what the rules of a revision are about. Pods that go count no more.
    #[must_use]
    pub fn new(
        state: &'a State,
        revision: &'a Revision,
        namespace: &str,
        goes: &dyn Fn(PodId) -> bool,
    ) -> Self {
        let spec = &revision.template.spec;
        let mut rules = Vec::new();
        let count = |rule: Rule<'a>, selector: &LabelSelector, wanted: &dyn Fn(&str) -> bool| {
            counted(rule, state, selector, wanted, goes)
        };
        let affinity = spec.affinity.as_ref();
        let near = affinity.and_then(|of| of.pod_affinity.as_ref());
        let apart = affinity.and_then(|of| of.pod_anti_affinity.as_ref());
        let required = |of: Option<&'a _>, test| {
            let of: Option<&'a crate::api::core::pod::affinity::PodAffinity> = of;
            of.into_iter().flat_map(|of| &of.required).map(move |term| (term, test))
        };
        let preferred = |of: Option<&'a _>, sign: i64| {
            let of: Option<&'a crate::api::core::pod::affinity::PodAffinity> = of;
            let weighted = of.into_iter().flat_map(|of| &of.preferred);
            weighted.map(move |one| {
                (&one.pod_affinity_term, Test::Preferred(sign * i64::from(one.weight)))
            })
        };
        let terms = required(near, Test::Near)
            .chain(required(apart, Test::Apart))
            .chain(preferred(near, 1))
            .chain(preferred(apart, -1));
        for (term, test) in terms {
            let selector = term_selector(term, revision);
            let rule = Rule {
                key: &term.topology_key,
                test,
                places: BTreeMap::new(),
                is_own: selects(&selector, revision) && is_in(state, term, namespace, namespace),
            };
            let wanted = |other: &str| is_in(state, term, namespace, other);
            rules.push(count(rule, &selector, &wanted));
        }
        for constraint in &spec.topology_spread_constraints {
            let selector = spread_selector(constraint, revision);
            let rule = Rule {
                key: &constraint.topology_key,
                test: spread_test(constraint),
                places: spread_places(state, constraint, revision),
                is_own: selects(&selector, revision),
            };
            rules.push(count(rule, &selector, &|other| other == namespace));
        }
        rules.extend(repelled(state, revision, namespace, goes));
        Self { rules }
    }

    /// Whether there are none: devices can be looked at one by one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether the next Pod may go to a device.
    ///
    /// # Errors
    /// Which rule is against it.
    pub fn check(&self, device: &Device) -> Result<(), FilterReason> {
        self.rules.iter().try_for_each(|rule| rule.check(device))
    }

    /// How little a device is liked by preferences; and how full its places are of those that are to be spread.
    #[must_use]
    pub fn dislike(&self, device: &Device) -> (i64, usize) {
        let mut dislike = (0_i64, 0_usize);
        for rule in &self.rules {
            let there = rule.count(device).unwrap_or(0);
            match rule.test {
                Test::Preferred(weight) => {
                    let there = i64::try_from(there).unwrap_or(i64::MAX);
                    dislike.0 = dislike.0.saturating_sub(weight.saturating_mul(there));
                }
                // A device without the label is in no place of those that are kept level.
                Test::Level => dislike.1 += rule.count(device).map_or(usize::from(u16::MAX), |n| n),
                Test::Near | Test::Apart | Test::Repelled | Test::Skew { .. } => {}
            }
        }
        dislike
    }

    /// Counts a Pod that was placed on a device.
    pub fn add(&mut self, device: &'a Device) {
        for rule in self.rules.iter_mut().filter(|rule| rule.is_own) {
            if let Some(place) = device.label(rule.key) {
                match rule.test {
                    // Only places that count have a count.
                    Test::Skew { .. } | Test::Level => {
                        rule.places.entry(place).and_modify(|count| *count += 1);
                    }
                    _ => *rule.places.entry(place).or_default() += 1,
                }
            }
        }
    }
}

impl Rule<'_> {
    fn count(&self, device: &Device) -> Option<usize> {
        device.label(self.key).map(|place| self.places.get(place).copied().unwrap_or(0))
    }

    fn check(&self, device: &Device) -> Result<(), FilterReason> {
        let there = self.count(device);
        let named = || self.key.to_owned();
        let no_place = || Err(FilterReason::NoTopology(self.key.to_owned()));
        match (self.test, there) {
            (Test::Near, None) | (Test::Skew { .. }, None) => no_place(),
            (Test::Near, Some(0)) if !(self.is_own && self.places.is_empty()) => {
                Err(FilterReason::PodAffinity(named()))
            }
            (Test::Apart, Some(1..)) => Err(FilterReason::PodAntiAffinity(named())),
            (Test::Repelled, Some(1..)) => Err(FilterReason::Repelled(named())),
            (Test::Skew { most, least_places }, Some(there)) => {
                let fewest = self.places.values().copied().min().unwrap_or(0);
                let fewest = if self.places.len() < least_places { 0 } else { fewest };
                if there + usize::from(self.is_own) > fewest + most {
                    return Err(FilterReason::Skew(named()));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// The rule with the Pods that it is about.
fn counted<'a>(
    mut rule: Rule<'a>,
    state: &'a State,
    selector: &LabelSelector,
    wanted: &dyn Fn(&str) -> bool,
    goes: &dyn Fn(PodId) -> bool,
) -> Rule<'a> {
    let is_spread = matches!(rule.test, Test::Skew { .. } | Test::Level);
    for (_, owned) in state.pods.owners().filter(|(key, _)| wanted(&key.namespace)) {
        for (_, of) in owned.revisions() {
            // One that has ended for good is nobody's neighbour.
            let there = || Class::EVERY.into_iter().filter(|class| *class != Class::Finished);
            let ids = || there().flat_map(|class| of.of(class));
            // All Pods of a revision have the same labels.
            let first = ids().next().and_then(|(.., id)| state.pods.get(*id));
            if !first.is_some_and(|pod| selects(selector, &pod.revision)) {
                continue;
            }
            for (_, device, _) in ids().filter(|(.., id)| !goes(*id)) {
                let device = state.fleet.get(device);
                let Some(place) = device.and_then(|device| device.label(rule.key)) else {
                    continue;
                };
                match rule.places.get_mut(place) {
                    Some(count) => *count += 1,
                    None if is_spread => {}
                    None => {
                        rule.places.insert(place, 1);
                    }
                }
            }
        }
    }
    rule
}

/// Pods that are there and keep those of the revision away.
fn repelled<'a>(
    state: &'a State,
    revision: &Revision,
    namespace: &str,
    goes: &dyn Fn(PodId) -> bool,
) -> Vec<Rule<'a>> {
    let mut rules: BTreeMap<&'a str, BTreeMap<&'a str, usize>> = BTreeMap::new();
    for pod in state
        .pods
        .repelling()
        .filter(|pod| pod.deleting.is_none() && pod.finished().is_none() && !goes(pod.id))
    {
        let device = pod.device.as_ref().and_then(|name| state.fleet.get(name));
        for term in pod.revision.repelling() {
            let Some(place) = device.and_then(|device| device.label(&term.topology_key)) else {
                continue;
            };
            let selector = term_selector(term, &pod.revision);
            if is_in(state, term, pod.namespace(), namespace) && selects(&selector, revision) {
                *rules.entry(&term.topology_key).or_default().entry(place).or_default() += 1;
            }
        }
    }
    let rule = |(key, places)| Rule { key, test: Test::Repelled, places, is_own: false };
    rules.into_iter().map(rule).collect()
}

/// Whether a term of a Pod in one namespace is about Pods of another.
fn is_in(state: &State, term: &PodAffinityTerm, own: &str, other: &str) -> bool {
    if term.namespaces.is_empty() && term.namespace_selector.is_none() {
        return own == other;
    }
    term.namespaces.iter().any(|name| name == other)
        || term.namespace_selector.as_ref().is_some_and(|selector| {
            let stored = state.objects.get(&Key::new(Kind::Namespace, "", other));
            let labels = stored.map(|stored| &stored.object.meta().labels);
            selector.selects(|key| match key {
                "kubernetes.io/metadata.name" => Some(other),
                _ => labels?.get(key).map(alloc::string::String::as_str),
            })
        })
}

fn selects(selector: &LabelSelector, revision: &Revision) -> bool {
    selector.selects(|key| label(revision, key))
}

/// A label of a revision's Pods.
fn label<'a>(revision: &'a Revision, key: &str) -> Option<&'a str> {
    let given = revision.template.metadata.labels.get(key).map(alloc::string::String::as_str);
    given.or_else(|| (key == TEMPLATE_HASH_LABEL).then_some(revision.hash.as_str()))
}

/// A selector of which nothing is said selects nothing.
fn given(selector: Option<&LabelSelector>) -> Cow<'_, LabelSelector> {
    let nothing =
        Requirement { key: "none".to_owned(), operator: "In".to_owned(), values: Vec::new() };
    match selector {
        Some(selector) => Cow::Borrowed(selector),
        None => Cow::Owned(LabelSelector {
            match_expressions: Vec::from([nothing]),
            ..LabelSelector::default()
        }),
    }
}

/// A term's selector, with what its keys take from the Pod's own labels.
fn term_selector<'a>(term: &'a PodAffinityTerm, own: &Revision) -> Cow<'a, LabelSelector> {
    let selector = given(term.label_selector.as_ref());
    let selector = with_keys(selector, &term.match_label_keys, "In", own);
    with_keys(selector, &term.mismatch_label_keys, "NotIn", own)
}

fn spread_selector<'a>(
    constraint: &'a TopologySpreadConstraint,
    own: &Revision,
) -> Cow<'a, LabelSelector> {
    with_keys(given(constraint.label_selector.as_ref()), &constraint.match_label_keys, "In", own)
}

fn with_keys<'a>(
    mut selector: Cow<'a, LabelSelector>,
    keys: &[alloc::string::String],
    operator: &str,
    own: &Revision,
) -> Cow<'a, LabelSelector> {
    for key in keys {
        // A label that the Pod lacks says nothing.
        let Some(value) = label(own, key) else { continue };
        selector.to_mut().match_expressions.push(Requirement {
            key: key.clone(),
            operator: operator.to_owned(),
            values: Vec::from([value.to_owned()]),
        });
    }
    selector
}

fn spread_test(constraint: &TopologySpreadConstraint) -> Test {
    if constraint.when_unsatisfiable != "DoNotSchedule" {
        return Test::Level;
    }
    Test::Skew {
        most: constraint.max_skew as usize,
        least_places: constraint.min_domains.unwrap_or(1) as usize,
    }
}

/// The places that a constraint keeps level: those of devices that it does not leave out.
fn spread_places<'a>(
    state: &'a State,
    constraint: &TopologySpreadConstraint,
    revision: &Revision,
) -> BTreeMap<&'a str, usize> {
    let by_affinity = constraint.node_affinity_policy.as_deref() != Some("Ignore");
    let by_taints = constraint.node_taints_policy.as_deref() == Some("Honor");
    let counts = |device: &&Device| {
        (!by_affinity || filter::is_chosen(device, revision))
            && (!by_taints || filter::is_tolerated(device, revision))
    };
    let devices = state.fleet.iter().filter(counts);
    devices.filter_map(|device| Some((device.label(&constraint.topology_key)?, 0))).collect()
}
