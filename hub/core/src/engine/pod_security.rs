//! What a namespace's `enforce` label does not let in: see [`crate::pod_security`].

use alloc::format;

use super::Engine;
use crate::{
    api::{ApiError, Key, Kind, Object},
    pod_security,
};

impl Engine {
    /// Whether the namespace lets a workload's Pods in. A change that makes no other Pods, and no more of them, is let
    /// through: what runs under a label that came later can be scaled down, paused and labelled.
    pub(super) fn check_pod_security(
        &self,
        object: &Object,
        old: Option<&Object>,
    ) -> Result<(), ApiError> {
        let Some((template, _)) = object.template() else { return Ok(()) };
        let is_known = old.is_some_and(|old| {
            let same = old.template().is_some_and(|(before, _)| before.spec == template.spec);
            same && object.replicas() <= old.replicas()
        });
        if is_known {
            return Ok(());
        }
        let namespace = Key::new(Kind::Namespace, "", &object.meta().namespace);
        let Some(namespace) = self.state.objects.get(&namespace) else { return Ok(()) };
        let labels = &namespace.object.meta().labels;
        match pod_security::refusal(labels, &template.spec) {
            None => Ok(()),
            Some(refusal) => {
                let (kind, name) = (object.kind(), &object.meta().name);
                let group = kind.names().group();
                let dot = if group.is_empty() { "" } else { "." };
                Err(ApiError::Forbidden(format!(
                    "{}{dot}{group} \"{name}\" is forbidden: {refusal}",
                    kind.plural()
                )))
            }
        }
    }
}
