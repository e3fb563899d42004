//! What a deletion may ask for beside the object: each option is honoured, or refused by its name.

use alloc::{borrow::ToOwned, format, string::String};

use crate::{
    api::{ApiError, Kind, resource::Home},
    resolve::MAX_GRACE_S,
};

/// The options of a deletion, from its query or its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// `Background`, `Foreground` or `Orphan`.
    pub propagation_policy: Option<String>,
    /// The old form of it: true for `Orphan`, false for `Background`.
    pub orphan_dependents: Option<bool>,
    /// Seconds between the stop signal and the kill.
    pub grace_period_seconds: Option<u64>,
}

impl DeleteOptions {
    /// Whether a deletion of this kind with these options means what the hub does: what depends on the object goes
    /// after it, each Pod with the grace period of its template.
    ///
    /// # Errors
    /// The option that means something else.
    pub fn check(&self, kind: Kind) -> Result<(), ApiError> {
        let runs_pods = kind.names().runs_pods;
        let policy = match (self.propagation_policy.as_deref(), self.orphan_dependents) {
            (Some(_), Some(_)) => {
                return Err(refused(
                    "orphanDependents and propagationPolicy say the same: give one".to_owned(),
                ));
            }
            (None, Some(true)) => "Orphan",
            (None, Some(false) | None) => "Background",
            (Some(policy), None) => policy,
        };
        match policy {
            "Background" => {}
            "Foreground" | "Orphan" if !runs_pods => {}
            "Foreground" => {
                return Err(refused(format!(
                    "Lichen does not support propagationPolicy Foreground for {}: the object goes at once and its \
                     Pods after it; use Background and wait for the Pods",
                    kind.plural()
                )));
            }
            "Orphan" => {
                return Err(refused(format!(
                    "Lichen does not support propagationPolicy Orphan for {}: no Pod runs without a workload; use \
                     Background",
                    kind.plural()
                )));
            }
            other => {
                return Err(refused(format!(
                    "propagationPolicy must be Background, Foreground or Orphan, not {other:?}"
                )));
            }
        }
        let over = self.grace_period_seconds.filter(|seconds| *seconds > MAX_GRACE_S.into());
        if let Some(seconds) = over.filter(|_| kind.names().home == Home::Pods) {
            return Err(refused(format!(
                "gracePeriodSeconds {seconds} is over a day; give at most {MAX_GRACE_S}"
            )));
        }
        if self.grace_period_seconds.is_some() && runs_pods {
            return Err(refused(
                "Lichen does not support gracePeriodSeconds of a workload's deletion; the template's \
                 terminationGracePeriodSeconds counts, or that of each Pod's deletion"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

fn refused(message: String) -> ApiError {
    ApiError::BadRequest(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, options: DeleteOptions, refused: Option<&str>) {
        let said =
            options.check(kind).err().map(|error| alloc::string::ToString::to_string(&error));
        match (&said, refused) {
            (None, None) => {}
            (Some(said), Some(part)) => assert!(said.contains(part), "{said}"),
            _ => panic!("{kind} {options:?}: {said:?}"),
        }
    }

    fn policy(word: &str) -> DeleteOptions {
        DeleteOptions { propagation_policy: Some(word.to_owned()), ..DeleteOptions::default() }
    }

    #[test]
    fn what_means_something_else_is_refused_by_name() {
        for word in ["Background", "Foreground", "Orphan"] {
            check(Kind::ConfigMap, policy(word), None);
        }
        check(Kind::Deployment, policy("Background"), None);
        check(Kind::Deployment, policy("Foreground"), Some("propagationPolicy Foreground"));
        check(Kind::Deployment, policy("Orphan"), Some("propagationPolicy Orphan"));
        check(Kind::ConfigMap, policy("orphan"), Some("must be Background"));
        let grace = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
        check(Kind::Pod, grace.clone(), None);
        let days =
            DeleteOptions { grace_period_seconds: Some(1 << 40), ..DeleteOptions::default() };
        check(Kind::Pod, days, Some("over a day"));
        check(Kind::Deployment, grace.clone(), Some("gracePeriodSeconds"));
        check(Kind::ConfigMap, grace, None);
        let orphan = DeleteOptions { orphan_dependents: Some(true), ..DeleteOptions::default() };
        check(Kind::DaemonSet, orphan.clone(), Some("Orphan"));
        check(Kind::Namespace, orphan, Some("Orphan"));
        check(Kind::Namespace, DeleteOptions::default(), None);
    }
}
