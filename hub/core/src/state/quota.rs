//! What a namespace uses of what its quotas bound.

use alloc::{format, string::String, vec::Vec};

use super::State;
use crate::{
    api::{Key, Kind, Object, ResourceQuota, core::resource_quota::Bounded, quantity::Amounts},
    pod::{Pod, Revision},
    resolve::{Amount, Container, Resolved},
};
use firmware_compat::v1::owned::Phase;

impl State {
    /// The quotas of a namespace.
    pub fn quotas(&self, namespace: &str) -> impl Iterator<Item = &ResourceQuota> {
        let all = self.objects.of_kind(Kind::ResourceQuota);
        all.filter(move |(key, _)| key.namespace == namespace).filter_map(
            |(_, stored)| match stored.object.as_ref() {
                Object::ResourceQuota(quota) => Some(quota),
                _ => None,
            },
        )
    }

    /// What of a quota's bounds is used.
    #[must_use]
    pub fn used(&self, quota: &ResourceQuota) -> Amounts {
        let namespace = &quota.metadata.namespace;
        let used = self.used_by_pods(namespace);
        let of = |(name, _): (&String, _)| {
            let bounded = Bounded::parse(name)?;
            Some((name.clone(), bounded.quantity(self.amount(namespace, &used, bounded))))
        };
        quota.spec.hard.iter().filter_map(of).collect()
    }

    /// Why a namespace may have no Pod more of a revision, in Kubernetes' words.
    #[must_use]
    pub fn over_quota(&self, namespace: &str, revision: &Revision) -> Option<String> {
        let mut used = None;
        let more = Used::of(&revision.resolved);
        for quota in self.quotas(namespace) {
            let used = used.get_or_insert_with(|| self.used_by_pods(namespace));
            let missing = unsaid(quota, &revision.resolved);
            if !missing.is_empty() {
                return Some(format!(
                    "failed quota: {}: must specify {} of each container",
                    quota.metadata.name,
                    missing.join(", ")
                ));
            }
            let mut over: [Vec<String>; 3] = Default::default();
            for (name, most) in &quota.spec.hard {
                let Some(bounded) = Bounded::parse(name) else { continue };
                let (Some(wanted), Some(most)) = (more.amount(bounded), bounded.amount(most))
                else {
                    continue;
                };
                let there = used.amount(bounded).unwrap_or(0);
                if wanted > 0 && there.saturating_add(wanted) > most {
                    for (list, amount) in over.iter_mut().zip([wanted, there, most]) {
                        list.push(format!("{name}={}", bounded.quantity(amount)));
                    }
                }
            }
            let [wanted, there, most] = over.map(|list| list.join(","));
            if !wanted.is_empty() {
                return Some(format!(
                    "exceeded quota: {}, requested: {wanted}, used: {there}, limited: {most}",
                    quota.metadata.name
                ));
            }
        }
        None
    }

    /// Why a namespace may have no object more of a kind.
    #[must_use]
    pub fn over_count(&self, key: &Key) -> Option<String> {
        for quota in self.quotas(&key.namespace) {
            for (name, most) in &quota.spec.hard {
                if Bounded::parse(name) != Some(Bounded::Objects(key.kind)) {
                    continue;
                }
                let count = self.count(&key.namespace, key.kind);
                if most.in_units().is_some_and(|most| count >= most) {
                    return Some(format!(
                        "exceeded quota: {}, requested: {name}=1, used: {name}={count}, limited: {name}={most}",
                        quota.metadata.name
                    ));
                }
            }
        }
        None
    }

    fn amount(&self, namespace: &str, used: &Used, bounded: Bounded) -> u64 {
        match bounded {
            Bounded::Objects(kind) => self.count(namespace, kind),
            _ => used.amount(bounded).unwrap_or(0),
        }
    }

    fn count(&self, namespace: &str, kind: Kind) -> u64 {
        self.objects.of_kind(kind).filter(|(key, _)| key.namespace == namespace).count() as u64
    }

    /// What the Pods of a namespace use that are not on their way out and have not ended.
    fn used_by_pods(&self, namespace: &str) -> Used {
        let owners = self.pods.owners().filter(|(key, _)| key.namespace == namespace);
        let ids = owners.flat_map(|(_, owned)| owned.active_ids());
        let pods = ids.filter_map(|id| self.pods.get(id)).filter(|pod| !has_ended(pod));
        pods.fold(Used::default(), |mut used, pod| {
            used.add(Used::of(&pod.revision.resolved));
            used
        })
    }
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.report.as_ref().map(|report| report.phase);
    matches!(phase, Some(Phase::Succeeded | Phase::Failed))
}

/// What Pods use.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    pods: u64,
    requests: Amount,
    limits: Amount,
}

impl Used {
    fn of(resolved: &Resolved) -> Self {
        Self { pods: 1, requests: resolved.requests, limits: limits(resolved) }
    }

    fn add(&mut self, other: Self) {
        self.pods += other.pods;
        self.requests.add(other.requests);
        self.limits.add(other.limits);
    }

    fn amount(&self, bounded: Bounded) -> Option<u64> {
        Some(match bounded {
            Bounded::Pods => self.pods,
            Bounded::CpuRequests => self.requests.cpu_milli,
            Bounded::CpuLimits => self.limits.cpu_milli,
            Bounded::MemoryRequests => self.requests.memory_bytes,
            Bounded::MemoryLimits => self.limits.memory_bytes,
            Bounded::Objects(_) => return None,
        })
    }
}

/// The limits of a Pod: of its containers together, or of one of its init containers if that is more.
fn limits(resolved: &Resolved) -> Amount {
    let of = |c: &Container| Amount {
        cpu_milli: c.resources.cpu_limit_milli.into(),
        memory_bytes: c.resources.memory_limit_bytes,
    };
    let mut together = Amount::default();
    resolved.containers.iter().for_each(|container| together.add(of(container)));
    resolved.init_containers.iter().map(of).fold(together, |most, alone| Amount {
        cpu_milli: most.cpu_milli.max(alone.cpu_milli),
        memory_bytes: most.memory_bytes.max(alone.memory_bytes),
    })
}

/// What a quota bounds and a container says nothing about: what nobody has said can't be counted.
fn unsaid<'a>(quota: &'a ResourceQuota, resolved: &Resolved) -> Vec<&'a str> {
    let containers = || resolved.init_containers.iter().chain(&resolved.containers);
    let says = |of: fn(&Container) -> u64| containers().all(|container| of(container) > 0);
    let is_said = |name: &str| match Bounded::parse(name) {
        Some(Bounded::CpuRequests) => says(|c| c.resources.cpu_request_milli.into()),
        Some(Bounded::CpuLimits) => says(|c| c.resources.cpu_limit_milli.into()),
        Some(Bounded::MemoryRequests) => says(|c| c.resources.memory_request_bytes),
        Some(Bounded::MemoryLimits) => says(|c| c.resources.memory_limit_bytes),
        Some(Bounded::Pods | Bounded::Objects(_)) | None => true,
    };
    quota.spec.hard.keys().map(String::as_str).filter(|name| !is_said(name)).collect()
}
