//! Pods that are to go and still run: others wait for them.

use alloc::{collections::BTreeSet, string::String};

use firmware_compat::id::PodId;

use super::Pod;
use crate::spec::PodSpec;

/// A Pod's namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FullName {
    namespace: String,
    name: String,
}

impl FullName {
    pub fn of(spec: &PodSpec) -> Self {
        Self { namespace: spec.namespace.as_str().into(), name: spec.name.as_str().into() }
    }
}

/// Pods that are to go and of which a container runs, or may.
#[derive(Debug, Default)]
pub struct Leaving {
    ids: BTreeSet<PodId>,
    names: BTreeSet<FullName>,
}

impl Leaving {
    /// Those among all Pods of the device.
    pub fn of<'a>(pods: impl Iterator<Item = &'a Pod>) -> Self {
        let mut leaving = Self::default();
        for pod in pods.filter(|pod| pod.wanted.is_none() && pod.may_run()) {
            leaving.ids.insert(pod.id);
            leaving.names.extend(pod.name.clone());
        }
        leaving
    }
}

impl Pod {
    /// Whether one whose place it takes still runs: one that the hub names, or one of its own name. A device that comes back
    /// after its Node was deleted may have one of that name that the hub knows nothing of.
    pub fn is_preceded(&self, leaving: &Leaving) -> bool {
        self.wanted.as_ref().is_some_and(|wanted| {
            wanted.after.iter().any(|id| leaving.ids.contains(id))
                || self.name.as_ref().is_some_and(|name| leaving.names.contains(name))
        })
    }
}
