//! Keeping namespaces to their LimitRanges. They count when a template is written: a workload keeps what it was made with, and
//! a range that is changed later restarts nothing.

use alloc::{borrow::Cow, format, string::String, vec::Vec};

use super::Engine;
use crate::{
    api::{
        ApiError, Key, Kind, Object,
        core::{limit_range::LimitRangeItem, pod::PodTemplate},
    },
    limits,
    registry::Accepted,
    resolve,
};

impl Engine {
    /// What a namespace's ranges say, in the order of their names.
    fn limits_of(&self, namespace: &str) -> Vec<&LimitRangeItem> {
        let all = self.state.objects.of_kind(Kind::LimitRange);
        let own = all.filter(|(key, _)| key.namespace == namespace);
        let items = own.flat_map(|(_, stored)| match stored.object.as_ref() {
            Object::LimitRange(range) => range.spec.limits.as_slice(),
            _ => &[],
        });
        items.collect()
    }

    /// Whether the namespace lets an object in, and what it fills into its template.
    pub(super) fn limit(
        &self,
        accepted: &mut Accepted,
        old: Option<&Object>,
    ) -> Result<(), ApiError> {
        let key = accepted.object.key();
        self.limit_claims(&key, &accepted.object, old)?;
        let Some((template, rule)) = accepted.object.template() else { return Ok(()) };
        if old.and_then(Object::template).is_some_and(|(before, _)| before == template) {
            let stored = self.state.objects.get(&key).and_then(|stored| stored.revision.as_ref());
            if let Some(revision) = stored.filter(|revision| revision.template != *template) {
                accepted.resolved = Some(revision.resolved.clone());
                accepted.filled = Some(revision.template.clone());
            }
            return Ok(());
        }
        let items = self.limits_of(&key.namespace);
        let mut filled = template.clone().into_owned();
        limits::fill(&items, &mut filled.spec);
        refuse(&key, limits::check_pod(&items, &filled.spec))?;
        if filled == *template {
            return Ok(());
        }
        let resolved = resolve::resolve_of(key.kind, key.kind.template_path(), &filled, rule)
            .map_err(|causes| ApiError::Invalid { key: key.clone(), causes })?;
        accepted.resolved = Some(resolved);
        accepted.filled = Some(filled);
        Ok(())
    }

    fn limit_claims(
        &self,
        key: &Key,
        object: &Object,
        old: Option<&Object>,
    ) -> Result<(), ApiError> {
        let items = self.limits_of(&key.namespace);
        let faults = match (object, old) {
            (Object::PersistentVolumeClaim(claim), None) => {
                limits::check_claim(&items, &claim.spec.resources.requests)
            }
            // The claims that it makes later are as it says now.
            (Object::StatefulSet(set), None) => {
                let claims = set.spec.volume_claim_templates.iter();
                claims
                    .flat_map(|claim| limits::check_claim(&items, &claim.spec.resources.requests))
                    .collect()
            }
            _ => Vec::new(),
        };
        refuse(key, faults)
    }
}

fn refuse(key: &Key, faults: Vec<String>) -> Result<(), ApiError> {
    match faults.is_empty() {
        true => Ok(()),
        false => Err(ApiError::Forbidden(format!("{key} is forbidden: {}", faults.join("; ")))),
    }
}

/// The template that Pods are made of.
pub(super) fn template_of(accepted: &Accepted) -> Option<Cow<'_, PodTemplate>> {
    let filled = accepted.filled.as_ref().map(Cow::Borrowed);
    filled.or_else(|| accepted.object.template().map(|(template, _)| template))
}
