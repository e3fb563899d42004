//! `batch/v1` Job: Pods that are to end well, so many times. [`status`] says how far it is, `rules` what it may say.

mod rules;
pub mod status;

use alloc::{
    borrow::{Cow, ToOwned},
    format,
    string::String,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::status::JobStatus;
use crate::api::{
    cell,
    core::pod::{POD_TEMPLATE, PodTemplate},
    field::{Message, count, flag, instead, object, text, written},
    meta::{Condition, Map, OBJECT_META, ObjectMeta, nullable},
    resource::{Column, Names, Resource, RestartRule},
    selector::{LABEL_SELECTOR, LabelSelector},
    time,
    validate::Errors,
};

/// Label and annotation of a Pod of an Indexed Job: which completion it is to do.
pub const COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// The label by which a Job knows its Pods: its uid.
const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
/// The label that names the Job.
const JOB_NAME: &str = "batch.kubernetes.io/job-name";
/// Both under the names that they had before, which tools still select by.
const FORMER: [&str; 2] = ["controller-uid", "job-name"];
/// Pods of one Job that have ended and are kept, with their logs: the newest. A device holds as many Pods as it can, and those
/// of a long Job that have ended are not to fill it.
pub const KEPT: u32 = 32;
/// Completions of an Indexed Job: Kubernetes' bound.
pub const MAX_INDEXES: u32 = 100_000;

/// Pods that are to end well, so many times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Name, labels and so on.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: JobSpec,
    /// How far it is. Written by the hub alone.
    #[serde(default, deserialize_with = "nullable")]
    pub status: JobStatus,
}

/// What a Job wants.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobSpec {
    /// Pods at once. Absent means 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parallelism: Option<u32>,
    /// Pods that are to end well. Absent with `parallelism`: until one did and none runs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub completions: Option<u32>,
    /// Seconds from the start after which it has failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub active_deadline_seconds: Option<u32>,
    /// Failed Pods that are replaced; one more and the Job has failed. Absent means 6.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub backoff_limit: Option<u32>,
    /// The labels of its Pods. Written by the hub, whatever was there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub selector: Option<LabelSelector>,
    /// Whether the operator chose the selector: refused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub manual_selector: Option<bool>,
    /// What each Pod is.
    pub template: PodTemplate,
    /// Seconds after its end after which it is deleted. Absent means never.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ttl_seconds_after_finished: Option<u32>,
    /// `NonIndexed` (default), or `Indexed`: each completion has a number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub completion_mode: Option<String>,
    /// Whether no Pod of it is to run for now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub suspend: Option<bool>,
    /// `TerminatingOrFailed`: a Pod is replaced when it is to go, not when it is gone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pod_replacement_policy: Option<String>,
}

impl Job {
    /// Pods at once.
    #[must_use]
    pub fn parallelism(&self) -> u32 {
        self.spec.parallelism.unwrap_or(1)
    }

    /// Failed Pods that are replaced.
    #[must_use]
    pub fn backoff_limit(&self) -> u32 {
        self.spec.backoff_limit.unwrap_or(6)
    }

    /// How many completions have a number each; none if they have none.
    #[must_use]
    pub fn indexes(&self) -> Option<u32> {
        self.is_indexed().then(|| self.spec.completions.unwrap_or(1))
    }

    fn is_indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }

    /// Whether no Pod of it is to run for now.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.spec.suspend.unwrap_or(false)
    }

    /// Whether a condition holds.
    #[must_use]
    pub fn is(&self, condition: &str) -> bool {
        let conditions = &self.status.conditions;
        conditions.iter().any(|known| known.kind == condition && known.status == "True")
    }

    /// The condition that says how it ended, once it has.
    #[must_use]
    pub fn end(&self) -> Option<&Condition> {
        let ends = |known: &&Condition| {
            matches!(known.kind.as_str(), "Complete" | "Failed") && known.status == "True"
        };
        self.status.conditions.iter().find(ends)
    }

    /// Where it is, in one word, as kubectl shows it.
    fn word(&self) -> &'static str {
        match self.end().map(|end| end.kind.as_str()) {
            Some("Complete") => "Complete",
            Some(_) => "Failed",
            None if self.metadata.deletion_timestamp.is_some() => "Terminating",
            None if self.is("Suspended") => "Suspended",
            None => "Running",
        }
    }

    fn completions_cell(&self) -> String {
        let done = self.status.succeeded;
        match (self.spec.completions, self.parallelism()) {
            (Some(wanted), _) => format!("{done}/{wanted}"),
            (None, at_once) if at_once > 1 => format!("{done}/1 of {at_once}"),
            (None, _) => format!("{done}/1"),
        }
    }

    fn duration(&self, now_ms: u64) -> Value {
        let Some(start) = self.status.start_time.as_deref() else { return "".into() };
        let end = self.end().and_then(|end| end.last_transition_time.as_deref());
        let end = end.and_then(time::unix_ms).unwrap_or(now_ms);
        time::age(Some(start), end).into()
    }
}

/// A template without the labels that the hub writes.
fn own_template(template: &PodTemplate) -> PodTemplate {
    let mut own = template.clone();
    own.metadata.labels.retain(|name, _| {
        ![CONTROLLER_UID, JOB_NAME].contains(&name.as_str()) && !FORMER.contains(&name.as_str())
    });
    own
}

impl Resource for Job {
    const NAMES: Names = Names {
        api_version: "batch/v1",
        kind: "Job",
        plural: "jobs",
        singular: "job",
        // Its name is a label of its Pods.
        longest_name: 63,
        ..Names::WORKLOAD
    };
    const FIELDS: &'static Message = &Message {
        name: "Job",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            object("spec", 2, &JOB_SPEC).required(),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in its namespace.", |o, _| cell::name(&o.metadata)),
        Column::text("Status", "Whether it runs, and how it ended.", |o, _| o.word().into()),
        Column::text("Completions", "Pods that ended well, of those wanted.", |o, _| {
            o.completions_cell().into()
        }),
        Column::text("Duration", "Time from its start to its end.", |o, now| o.duration(now)),
        Column::text("Age", "Time since it was created.", |o, now| cell::age(&o.metadata, now)),
        Column::wide("Containers", "Names of the template's containers.", |o, _| {
            cell::containers(&o.spec.template.spec)
        }),
        Column::wide("Images", "Images of the containers.", |o, _| {
            cell::images(&o.spec.template.spec)
        }),
        Column::wide("Selector", "Labels of its Pods.", |o, _| {
            let none = Map::new();
            cell::pairs(o.spec.selector.as_ref().map_or(&none, |selector| &selector.match_labels))
        }),
    ];

    fn default_fields(&mut self) {
        let spec = &mut self.spec;
        if spec.completions.is_none() && spec.parallelism.is_none() {
            spec.completions = Some(1);
        }
        spec.parallelism.get_or_insert(1);
        spec.backoff_limit.get_or_insert(6);
        spec.completion_mode.get_or_insert_with(|| "NonIndexed".to_owned());
        spec.suspend.get_or_insert(false);
        spec.pod_replacement_policy.get_or_insert_with(|| "TerminatingOrFailed".to_owned());
    }

    fn validate(&self, old: Option<&Self>, errors: &mut Errors) {
        rules::validate(self, old, errors);
    }

    fn prepare_for_update(&mut self, old: &Self) {
        self.status = old.status.clone();
        self.spec.selector.clone_from(&old.spec.selector);
        self.spec.template = old.spec.template.clone();
    }

    fn prepare_for_create(&mut self) {
        self.status = JobStatus::default();
        self.spec.selector = None;
        self.spec.template = own_template(&self.spec.template);
    }

    fn set_uid(&mut self, uid: &str) {
        let [former_uid, former_name] = FORMER;
        let name = self.metadata.name.clone();
        let labels = &mut self.spec.template.metadata.labels;
        for (label, value) in
            [(CONTROLLER_UID, uid), (JOB_NAME, &name), (former_uid, uid), (former_name, &name)]
        {
            labels.insert(label.to_owned(), value.to_owned());
        }
        let match_labels = Map::from([(CONTROLLER_UID.to_owned(), uid.to_owned())]);
        self.spec.selector = Some(LabelSelector { match_labels, ..LabelSelector::default() });
    }

    fn template(&self) -> Option<(Cow<'_, PodTemplate>, RestartRule)> {
        Some((Cow::Borrowed(&self.spec.template), RestartRule::Ends))
    }

    fn replicas(&self) -> u32 {
        self.parallelism().saturating_add(KEPT)
    }

    fn selector(&self) -> Option<&LabelSelector> {
        self.spec.selector.as_ref()
    }
}

/// The fields of [`JobSpec`].
const JOB_SPEC: Message = Message {
    name: "JobSpec",
    fields: &[
        count("parallelism", 1).optional(),
        count("completions", 2).optional(),
        count("activeDeadlineSeconds", 3).optional(),
        object("selector", 4, &LABEL_SELECTOR).optional(),
        flag("manualSelector", 5).optional(),
        object("template", 6, &POD_TEMPLATE).required(),
        count("backoffLimit", 7).optional(),
        count("ttlSecondsAfterFinished", 8).optional(),
        text("completionMode", 9).optional(),
        flag("suspend", 10).optional(),
        instead(
            "podFailurePolicy",
            11,
            "a failed Pod counts towards backoffLimit, whatever its exit code; leave it out",
        ),
        instead(
            "backoffLimitPerIndex",
            12,
            "failed Pods of all indexes count towards backoffLimit together",
        ),
        instead("maxFailedIndexes", 13, "a Job fails as a whole, by backoffLimit; leave it out"),
        text("podReplacementPolicy", 14).optional(),
        instead("managedBy", 15, "the hub is the only one that rules Jobs; leave it out"),
        instead(
            "successPolicy",
            16,
            "a Job is complete when all of its completions are; make it of the ones that count",
        ),
    ],
};
