//! `apps/v1` StatefulSet: Pods with names of their own that stay, each with the data that goes with its name.

mod claims;

use alloc::{
    borrow::Cow,
    format,
    string::{String, ToString},
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use super::{rollout::CountOrPercent, validate_workload};
use crate::api::{
    Object, cell,
    core::{
        persistent_volume_claim::{CLAIM_SPEC, PersistentVolumeClaimSpec},
        pod::{POD_TEMPLATE, PodTemplate},
    },
    field::{Message, Shape, count, field, object, objects, text, written},
    meta::{OBJECT_META, ObjectMeta, is_zero, nullable},
    resource::{Column, Names, Resource, RestartRule, SCALE},
    selector::{LABEL_SELECTOR, LabelSelector},
    validate::Errors,
};

/// The label with a Pod's name.
pub const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
/// The label with the number in it.
pub const POD_INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// Pods with names of their own that stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatefulSet {
    /// Name, labels and so on.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: StatefulSetSpec,
    /// How far it is. Written by the hub alone.
    #[serde(default, deserialize_with = "nullable")]
    pub status: StatefulSetStatus,
}

/// What a StatefulSet wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatefulSetSpec {
    /// How many Pods. Absent means 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replicas: Option<u32>,
    /// Must match the template's labels, and never changes.
    pub selector: LabelSelector,
    /// What each Pod is.
    pub template: PodTemplate,
    /// Claims that each Pod has of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub volume_claim_templates: Vec<ClaimTemplate>,
    /// The Service by which its Pods have names.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "nullable")]
    pub service_name: String,
    /// `OrderedReady` (default) or `Parallel`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pod_management_policy: Option<String>,
    /// How Pods of an older template are replaced.
    #[serde(
        default,
        skip_serializing_if = "UpdateStrategy::is_empty",
        deserialize_with = "nullable"
    )]
    pub update_strategy: UpdateStrategy,
    /// Old templates that are kept. Absent means 10.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub revision_history_limit: Option<u32>,
    /// Seconds for which a Pod must be ready before it counts as available. Absent means 0.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub min_ready_seconds: Option<u32>,
    /// What becomes of claims that no Pod has any more. Absent means that they stay.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub persistent_volume_claim_retention_policy: Option<RetentionPolicy>,
    /// From which number Pods are counted. Absent means from 0.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ordinals: Option<Ordinals>,
}

/// A claim that each Pod has of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClaimTemplate {
    /// The volume's name, and labels of the claims.
    pub metadata: ObjectMeta,
    /// What each is.
    pub spec: PersistentVolumeClaimSpec,
}

/// How a StatefulSet is updated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateStrategy {
    /// `RollingUpdate` (default) or `OnDelete`.
    #[serde(
        rename = "type",
        skip_serializing_if = "String::is_empty",
        deserialize_with = "nullable"
    )]
    pub kind: String,
    /// How far a rolling update goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolling_update: Option<RollingSet>,
}

/// How far a rolling update of a StatefulSet goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RollingSet {
    /// Pods with a smaller number stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// Pods that may be missing. Absent means 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<CountOrPercent>,
}

/// What becomes of claims that no Pod has any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetentionPolicy {
    /// When the StatefulSet is deleted: `Retain` (default) or `Delete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_deleted: Option<String>,
    /// When it wants fewer Pods: `Retain` (default) or `Delete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when_scaled: Option<String>,
}

/// From which number Pods are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ordinals {
    /// The first.
    #[serde(skip_serializing_if = "is_nought")]
    pub start: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_nought(number: &u32) -> bool {
    *number == 0
}

/// How far a StatefulSet is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSetStatus {
    /// The spec's generation that these figures are about.
    #[serde(skip_serializing_if = "is_zero")]
    pub observed_generation: u64,
    /// Pods that there are.
    pub replicas: u32,
    /// Pods that run.
    pub ready_replicas: u32,
    /// Pods that have been ready for `minReadySeconds`.
    pub available_replicas: u32,
    /// Pods of the revision from which an update comes.
    pub current_replicas: u32,
    /// Pods of the newest revision.
    pub updated_replicas: u32,
    /// The revision from which an update comes; the newest once that is rolled out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub current_revision: String,
    /// The newest revision.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub update_revision: String,
    /// Always 0: two templates of one hash are one.
    pub collision_count: u32,
}

impl UpdateStrategy {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl StatefulSet {
    /// How many Pods it wants.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.spec.replicas.unwrap_or(1)
    }

    /// The number of its first Pod.
    #[must_use]
    pub fn start(&self) -> u32 {
        self.spec.ordinals.as_ref().map_or(0, |ordinals| ordinals.start)
    }

    /// The name of a Pod.
    #[must_use]
    pub fn pod_name(&self, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.metadata.name)
    }

    /// The number in the name of one of its Pods.
    #[must_use]
    pub fn ordinal(&self, pod: &str) -> Option<u32> {
        ordinal(&self.metadata.name, pod)
    }

    /// Whether Pods come and go one after the other.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.spec.pod_management_policy.as_deref() != Some("Parallel")
    }

    /// Whether an update replaces Pods by itself.
    #[must_use]
    pub fn rolls(&self) -> bool {
        self.spec.update_strategy.kind != "OnDelete"
    }

    /// Pods with a smaller number stay as they are.
    #[must_use]
    pub fn partition(&self) -> u32 {
        let rolling = self.spec.update_strategy.rolling_update.as_ref();
        rolling.and_then(|rolling| rolling.partition).unwrap_or(0)
    }

    /// Pods that an update may make unavailable.
    #[must_use]
    pub fn max_unavailable(&self) -> usize {
        let rolling = self.spec.update_strategy.rolling_update.as_ref();
        let most = rolling.and_then(|rolling| rolling.max_unavailable);
        most.map_or(1, |most| most.of_rounded_up(self.replicas() as usize).max(1))
    }

    /// Whether the claims of Pods go with those that are not wanted any more.
    #[must_use]
    pub fn deletes_when_scaled(&self) -> bool {
        let policy = self.spec.persistent_volume_claim_retention_policy.as_ref();
        policy.and_then(|policy| policy.when_scaled.as_deref()) == Some("Delete")
    }

    /// Whether the claims go with the StatefulSet.
    #[must_use]
    pub fn deletes_when_deleted(&self) -> bool {
        let policy = self.spec.persistent_volume_claim_retention_policy.as_ref();
        policy.and_then(|policy| policy.when_deleted.as_deref()) == Some("Delete")
    }

    fn validate_strategy(&self, errors: &mut Errors) {
        let spec = &self.spec;
        let words = |field: &str, word: Option<&str>, allowed: [&str; 2], errors: &mut Errors| {
            if let Some(word) = word.filter(|word| !allowed.contains(word)) {
                let [one, other] = allowed;
                errors.add(field, format!("\"{word}\" must be \"{one}\" or \"{other}\""));
            }
        };
        let policy = spec.pod_management_policy.as_deref();
        words("spec.podManagementPolicy", policy, ["OrderedReady", "Parallel"], errors);
        let kind = Some(spec.update_strategy.kind.as_str()).filter(|kind| !kind.is_empty());
        words("spec.updateStrategy.type", kind, ["RollingUpdate", "OnDelete"], errors);
        if !self.rolls() && spec.update_strategy.rolling_update.is_some() {
            errors.add(
                "spec.updateStrategy.rollingUpdate",
                "must be left out where the type is \"OnDelete\"",
            );
        }
        let at = "spec.persistentVolumeClaimRetentionPolicy";
        let retention = spec.persistent_volume_claim_retention_policy.clone().unwrap_or_default();
        let both = ["Retain", "Delete"];
        words(&format!("{at}.whenDeleted"), retention.when_deleted.as_deref(), both, errors);
        words(&format!("{at}.whenScaled"), retention.when_scaled.as_deref(), both, errors);
        if self.start().checked_add(self.replicas()).is_none() {
            errors.add("spec.ordinals.start", "and replicas together are more than fits a name");
        }
    }

    fn validate_change(&self, old: &Self, errors: &mut Errors) {
        let fixed = |set: &Self| {
            let spec = &set.spec;
            let policy = set.is_ordered();
            (spec.volume_claim_templates.clone(), spec.service_name.clone(), policy)
        };
        if fixed(self) != fixed(old) {
            errors.add(
                "spec",
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
            );
        }
    }
}

/// The number in the name of a Pod of a StatefulSet.
#[must_use]
pub fn ordinal(set: &str, pod: &str) -> Option<u32> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    let number: u32 = digits.parse().ok()?;
    // `01` and `+1` are no numbers of Pods.
    (number.to_string() == digits).then_some(number)
}

impl Resource for StatefulSet {
    const NAMES: Names = Names {
        kind: "StatefulSet",
        plural: "statefulsets",
        singular: "statefulset",
        short: &["sts"],
        subresources: &[SCALE],
        // Its Pods' names are values of a label.
        longest_name: 52,
        ..Names::WORKLOAD
    };
    const FIELDS: &'static Message = &Message {
        name: "StatefulSet",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            object("spec", 2, &STATEFUL_SET_SPEC).required(),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in its namespace.", |o, _| cell::name(&o.metadata)),
        Column::text("Ready", "Pods that run, of those that are wanted.", |o, _| {
            format!("{}/{}", o.status.ready_replicas, o.replicas()).into()
        }),
        Column::text("Age", "Time since it was created.", |o, now| cell::age(&o.metadata, now)),
        Column::wide("Containers", "Names of the template's containers.", |o, _| {
            cell::containers(&o.spec.template.spec)
        }),
        Column::wide("Images", "Images of the containers.", |o, _| {
            cell::images(&o.spec.template.spec)
        }),
    ];

    fn default_fields(&mut self) {
        // As Kubernetes writes them: kubectl follows no rollout of a set without a type.
        self.spec.replicas.get_or_insert(1);
        self.spec.pod_management_policy.get_or_insert_with(|| "OrderedReady".into());
        if self.spec.update_strategy.kind.is_empty() {
            self.spec.update_strategy.kind = "RollingUpdate".into();
        }
        for template in &mut self.spec.volume_claim_templates {
            template.spec.default_fields();
        }
    }

    fn validate(&self, old: Option<&Self>, errors: &mut Errors) {
        self.validate_strategy(errors);
        self.validate_claims(errors);
        if let Some(old) = old {
            self.validate_change(old, errors);
        }
        let old = old.map(|old| &old.spec.selector);
        let history = self.spec.revision_history_limit;
        validate_workload(&self.spec.selector, old, &self.spec.template, history, errors);
    }

    fn prepare_for_update(&mut self, old: &Self) {
        self.status = old.status.clone();
    }

    fn prepare_for_create(&mut self) {
        self.status = StatefulSetStatus::default();
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

/// The set of an object, if it is one.
#[must_use]
pub fn of(object: &Object) -> Option<&StatefulSet> {
    match object {
        Object::StatefulSet(set) => Some(set),
        _ => None,
    }
}

/// The fields of [`StatefulSetSpec`].
const STATEFUL_SET_SPEC: Message = Message {
    name: "StatefulSetSpec",
    fields: &[
        count("replicas", 1).optional(),
        object("selector", 2, &LABEL_SELECTOR).optional().required(),
        object("template", 3, &POD_TEMPLATE).required(),
        objects("volumeClaimTemplates", 4, &CLAIM_TEMPLATE),
        text("serviceName", 5),
        text("podManagementPolicy", 6).optional(),
        object("updateStrategy", 7, &UPDATE_STRATEGY),
        count("revisionHistoryLimit", 8).optional(),
        count("minReadySeconds", 9),
        object("persistentVolumeClaimRetentionPolicy", 10, &RETENTION).optional(),
        object("ordinals", 11, &ORDINALS).optional(),
    ],
};

/// As API servers write it: a whole claim. Its type has no number in protobuf; these are none of Kubernetes'.
const CLAIM_TEMPLATE: Message = Message {
    name: "PersistentVolumeClaim",
    fields: &[
        object("metadata", 1, &OBJECT_META),
        object("spec", 2, &CLAIM_SPEC),
        written("status", 3),
        written("apiVersion", 1000),
        written("kind", 1001),
    ],
};

const UPDATE_STRATEGY: Message = Message {
    name: "StatefulSetUpdateStrategy",
    fields: &[text("type", 1), object("rollingUpdate", 2, &ROLLING).optional()],
};

const ROLLING: Message = Message {
    name: "RollingUpdateStatefulSetStrategy",
    fields: &[
        count("partition", 1).optional(),
        field("maxUnavailable", 2, Shape::CountOrPercent).optional(),
    ],
};

const RETENTION: Message = Message {
    name: "StatefulSetPersistentVolumeClaimRetentionPolicy",
    fields: &[text("whenDeleted", 1).optional(), text("whenScaled", 2).optional()],
};

const ORDINALS: Message = Message { name: "StatefulSetOrdinals", fields: &[count("start", 1)] };
