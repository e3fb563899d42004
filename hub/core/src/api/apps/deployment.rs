//! `apps/v1` Deployment: a number of Pods, placed where they fit.

use alloc::{
    borrow::{Cow, ToOwned},
    format,
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use super::{
    REVISION_ANNOTATION,
    rollout::{DEPLOYMENT_DEFAULT, DEPLOYMENT_STRATEGY, Strategy},
    validate_workload,
};
use crate::api::{
    cell,
    core::pod::{POD_TEMPLATE, PodTemplate},
    field::{Message, count, flag, object, written},
    meta::{Condition, OBJECT_META, ObjectMeta, is_zero, nullable},
    resource::{Column, Names, Resource, RestartRule, SCALE},
    selector::{LABEL_SELECTOR, LabelSelector},
    validate::Errors,
};

/// Seconds without progress after which an update is reported as stuck: Kubernetes' own.
const PROGRESS_DEADLINE_S: u32 = 600;
/// Pods of one Deployment: as many as a hub takes devices.
const MAX_REPLICAS: u32 = 100_000;

/// A number of Pods, placed where they fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Name, labels and so on.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: DeploymentSpec,
    /// How far it is. Written by the hub alone.
    #[serde(default, deserialize_with = "nullable")]
    pub status: DeploymentStatus,
}

/// What a Deployment wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentSpec {
    /// How many Pods. Absent means 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replicas: Option<u32>,
    /// Must match the template's labels, and never changes.
    pub selector: LabelSelector,
    /// What each Pod is.
    pub template: PodTemplate,
    /// How Pods of an older template are replaced.
    #[serde(default, skip_serializing_if = "Strategy::is_empty", deserialize_with = "nullable")]
    pub strategy: Strategy,
    /// Seconds for which a Pod must be ready before it counts as available. Absent means 0.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub min_ready_seconds: Option<u32>,
    /// Old templates that are kept for `rollout undo`. Absent means 10.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub revision_history_limit: Option<u32>,
    /// Whether a changed template waits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub paused: Option<bool>,
    /// Seconds without any progress after which an update is reported as stuck. Absent means 600.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub progress_deadline_seconds: Option<u32>,
}

/// How far a Deployment is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentStatus {
    /// The spec's generation that these figures are about.
    #[serde(skip_serializing_if = "is_zero")]
    pub observed_generation: u64,
    /// Pods that exist.
    pub replicas: u32,
    /// Pods of the newest template.
    pub updated_replicas: u32,
    /// Pods that run.
    pub ready_replicas: u32,
    /// Pods that have been ready for `minReadySeconds`.
    pub available_replicas: u32,
    /// Pods that are not available.
    pub unavailable_replicas: u32,
    /// `Available`, `Progressing`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl Deployment {
    /// Pods wanted.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.spec.replicas.unwrap_or(1)
    }

    /// Seconds without progress after which an update is reported as stuck.
    #[must_use]
    pub fn progress_deadline_seconds(&self) -> u32 {
        self.spec.progress_deadline_seconds.unwrap_or(PROGRESS_DEADLINE_S)
    }
}

impl Resource for Deployment {
    const NAMES: Names = Names {
        kind: "Deployment",
        plural: "deployments",
        singular: "deployment",
        short: &["deploy", "dep"],
        subresources: &[SCALE],
        ..Names::WORKLOAD
    };
    const FIELDS: &'static Message = &Message {
        name: "Deployment",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            object("spec", 2, &DEPLOYMENT_SPEC).required(),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in its namespace.", |o, _| cell::name(&o.metadata)),
        Column::text("Ready", "Pods that run, of those declared.", |o, _| {
            format!("{}/{}", o.status.ready_replicas, o.replicas()).into()
        }),
        Column::number("Up-to-date", "Pods of the newest template.", |o, _| {
            o.status.updated_replicas.into()
        }),
        Column::number("Available", "Pods that have been ready for long enough.", |o, _| {
            o.status.available_replicas.into()
        }),
        Column::text("Age", "Time since it was created.", |o, now| cell::age(&o.metadata, now)),
        Column::wide("Containers", "Names of the template's containers.", |o, _| {
            cell::containers(&o.spec.template.spec)
        }),
        Column::wide("Images", "Images of the containers.", |o, _| {
            cell::images(&o.spec.template.spec)
        }),
        Column::wide("Selector", "Labels of its Pods.", |o, _| cell::selector(&o.spec.selector)),
    ];

    fn validate(&self, old: Option<&Self>, errors: &mut Errors) {
        if self.replicas() > MAX_REPLICAS {
            errors.add("spec.replicas", format!("at most {MAX_REPLICAS} are supported"));
        }
        self.spec.strategy.validate("spec.strategy", "Recreate", DEPLOYMENT_DEFAULT, errors);
        let min_ready = self.spec.min_ready_seconds.unwrap_or(0);
        let deadline = self.progress_deadline_seconds();
        if deadline <= min_ready {
            errors.add(
                "spec.progressDeadlineSeconds",
                format!(
                    "is {deadline}, and must be greater than minReadySeconds, which is {min_ready}"
                ),
            );
        }
        let old = old.map(|old| &old.spec.selector);
        let history = self.spec.revision_history_limit;
        validate_workload(&self.spec.selector, old, &self.spec.template, history, errors);
    }

    fn prepare_for_update(&mut self, old: &Self) {
        self.status = old.status.clone();
        let number = old.metadata.annotations.get(REVISION_ANNOTATION);
        self.metadata.annotations.remove(REVISION_ANNOTATION);
        self.metadata
            .annotations
            .extend(number.map(|number| (REVISION_ANNOTATION.to_owned(), number.clone())));
    }

    fn prepare_for_create(&mut self) {
        self.status = DeploymentStatus::default();
        self.metadata.annotations.remove(REVISION_ANNOTATION);
    }

    fn template(&self) -> Option<(Cow<'_, PodTemplate>, RestartRule)> {
        Some((Cow::Borrowed(&self.spec.template), RestartRule::Always))
    }

    fn replicas(&self) -> u32 {
        Self::replicas(self)
    }

    fn selector(&self) -> Option<&LabelSelector> {
        Some(&self.spec.selector)
    }
}

/// The fields of [`DeploymentSpec`].
const DEPLOYMENT_SPEC: Message = Message {
    name: "DeploymentSpec",
    fields: &[
        count("replicas", 1).optional(),
        object("selector", 2, &LABEL_SELECTOR).optional().required(),
        object("template", 3, &POD_TEMPLATE).required(),
        object("strategy", 4, &DEPLOYMENT_STRATEGY),
        count("minReadySeconds", 5),
        count("revisionHistoryLimit", 6).optional(),
        flag("paused", 7),
        count("progressDeadlineSeconds", 9).optional(),
    ],
};
