//! The claims that a StatefulSet makes for each of its Pods.

use alloc::{collections::BTreeSet, format, vec::Vec};

use super::{ClaimTemplate, StatefulSet};
use crate::{
    api::{
        ObjectMeta, PersistentVolumeClaim,
        resource::Resource,
        validate::{Errors, check_label_name},
    },
    resolve::volume::claim_of,
};

impl StatefulSet {
    /// The claims of a Pod.
    #[must_use]
    pub fn claims(&self, pod: &str) -> Vec<PersistentVolumeClaim> {
        let claim = |template: &ClaimTemplate| {
            let mut metadata = ObjectMeta {
                name: claim_of(&template.metadata.name, pod),
                namespace: self.metadata.namespace.clone(),
                annotations: template.metadata.annotations.clone(),
                ..ObjectMeta::default()
            };
            // Kubernetes': the template's, and those by which the set's Pods are selected.
            metadata.labels.clone_from(&template.metadata.labels);
            metadata.labels.extend(self.spec.selector.match_labels.clone());
            let mut claim = PersistentVolumeClaim {
                metadata,
                spec: template.spec.clone(),
                status: Default::default(),
            };
            claim.default_fields();
            claim.prepare_for_create();
            claim
        };
        self.spec.volume_claim_templates.iter().map(claim).collect()
    }

    pub(super) fn validate_claims(&self, errors: &mut Errors) {
        let mut names = BTreeSet::new();
        let spec = &self.spec.template.spec;
        for (index, template) in self.spec.volume_claim_templates.iter().enumerate() {
            let at = format!("spec.volumeClaimTemplates[{index}]");
            let name = template.metadata.name.as_str();
            errors.keep(check_label_name(&format!("{at}.metadata.name"), name));
            if !names.insert(name) {
                errors.add(format!("{at}.metadata.name"), format!("\"{name}\" is there twice"));
            }
            if spec.volumes.iter().any(|volume| volume.name == name) {
                errors.add(
                    format!("{at}.metadata.name"),
                    format!("\"{name}\" is a volume of the template, too; leave that one out"),
                );
            }
            let mut claim = template.spec.clone();
            claim.default_fields();
            claim.validate(&format!("{at}.spec"), errors);
            if !claim.volume_name.is_empty() {
                errors
                    .add(format!("{at}.spec.volumeName"), "can't be written by hand; leave it out");
            }
        }
        let known = |name: &str| {
            names.contains(name) || spec.volumes.iter().any(|volume| volume.name == name)
        };
        let lists = [("initContainers", &spec.init_containers), ("containers", &spec.containers)];
        for (list, containers) in lists {
            for (c, container) in containers.iter().enumerate() {
                for (m, mount) in container.volume_mounts.iter().enumerate() {
                    if !known(&mount.name) {
                        errors.add(
                            format!("spec.template.spec.{list}[{c}].volumeMounts[{m}].name"),
                            format!(
                                "no volume of the Pod and no claim template has the name \"{}\"",
                                mount.name
                            ),
                        );
                    }
                }
            }
        }
    }
}
