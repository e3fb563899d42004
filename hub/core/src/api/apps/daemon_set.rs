//! `apps/v1` DaemonSet: one Pod on every matching device.

use alloc::{borrow::Cow, format};

use serde::{Deserialize, Serialize};

use super::{
    rollout::{DAEMON_SET_STRATEGY, DAEMON_SET_SURGE, Strategy},
    validate_workload,
};
use crate::api::{
    cell,
    core::pod::{POD_TEMPLATE, PodTemplate},
    field::{Message, count, object, written},
    meta::{OBJECT_META, ObjectMeta, is_zero, nullable},
    resource::{Column, Names, Resource, RestartRule},
    selector::{LABEL_SELECTOR, LabelSelector},
    validate::Errors,
};

/// One Pod on every matching device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DaemonSet {
    /// Name, labels and so on.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: DaemonSetSpec,
    /// How far it is. Written by the hub alone.
    #[serde(default, deserialize_with = "nullable")]
    pub status: DaemonSetStatus,
}

/// What a DaemonSet wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DaemonSetSpec {
    /// Must match the template's labels, and never changes.
    pub selector: LabelSelector,
    /// What each Pod is.
    pub template: PodTemplate,
    /// How Pods of an older template are replaced.
    #[serde(default, skip_serializing_if = "Strategy::is_empty", deserialize_with = "nullable")]
    pub update_strategy: Strategy,
    /// Seconds for which a Pod must be ready before it counts as available. Absent means 0.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub min_ready_seconds: Option<u32>,
    /// Old templates that are kept. Absent means 10.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub revision_history_limit: Option<u32>,
}

/// How far a DaemonSet is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonSetStatus {
    /// The spec's generation that these figures are about.
    #[serde(skip_serializing_if = "is_zero")]
    pub observed_generation: u64,
    /// Devices that should run a Pod.
    pub desired_number_scheduled: u32,
    /// Devices that should and have one.
    pub current_number_scheduled: u32,
    /// Devices that should not and have one.
    pub number_misscheduled: u32,
    /// Pods that run.
    pub number_ready: u32,
    /// Pods that have been ready for `minReadySeconds`.
    pub number_available: u32,
    /// Pods that are not available.
    pub number_unavailable: u32,
    /// Pods of the newest template.
    pub updated_number_scheduled: u32,
}

impl Resource for DaemonSet {
    const NAMES: Names = Names {
        kind: "DaemonSet",
        plural: "daemonsets",
        singular: "daemonset",
        short: &["ds"],
        ..Names::WORKLOAD
    };
    const FIELDS: &'static Message = &Message {
        name: "DaemonSet",
        fields: &[
            object("metadata", 1, &OBJECT_META).required(),
            object("spec", 2, &DAEMON_SET_SPEC).required(),
            written("status", 3),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Name", "Unique in its namespace.", |o, _| cell::name(&o.metadata)),
        Column::number("Desired", "Devices that should run it.", |o, _| {
            o.status.desired_number_scheduled.into()
        }),
        Column::number("Current", "Devices that should and have it.", |o, _| {
            o.status.current_number_scheduled.into()
        }),
        Column::number("Ready", "Devices on which it runs.", |o, _| o.status.number_ready.into()),
        Column::number("Up-to-date", "Devices with the newest template.", |o, _| {
            o.status.updated_number_scheduled.into()
        }),
        Column::number(
            "Available",
            "Devices on which it has been ready for long enough.",
            |o, _| o.status.number_available.into(),
        ),
        Column::text("Node Selector", "Labels that a device must have.", |o, _| {
            cell::pairs(&o.spec.template.spec.node_selector)
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
        self.spec.update_strategy.validate(
            "spec.updateStrategy",
            "OnDelete",
            DAEMON_SET_SURGE,
            errors,
        );
        self.without_neighbours(errors);
        let old = old.map(|old| &old.spec.selector);
        let history = self.spec.revision_history_limit;
        validate_workload(&self.spec.selector, old, &self.spec.template, history, errors);
    }

    fn prepare_for_update(&mut self, old: &Self) {
        self.status = old.status.clone();
    }

    fn prepare_for_create(&mut self) {
        self.status = DaemonSetStatus::default();
    }

    fn template(&self) -> Option<(Cow<'_, PodTemplate>, RestartRule)> {
        Some((Cow::Borrowed(&self.spec.template), RestartRule::Always))
    }

    fn selector(&self) -> Option<&LabelSelector> {
        Some(&self.spec.selector)
    }
}

impl DaemonSet {
    /// What a DaemonSet can't honour: its Pods have their devices, whatever else is there.
    fn without_neighbours(&self, errors: &mut Errors) {
        let spec = &self.spec.template.spec;
        let affinity = spec.affinity.as_ref();
        let parts = [
            ("affinity.podAffinity", affinity.is_some_and(|of| of.pod_affinity.is_some())),
            ("affinity.podAntiAffinity", affinity.is_some_and(|of| of.pod_anti_affinity.is_some())),
            ("topologySpreadConstraints", !spec.topology_spread_constraints.is_empty()),
        ];
        for (field, _) in parts.into_iter().filter(|(_, is_there)| *is_there) {
            errors.add(
                format!("spec.template.spec.{field}"),
                "has no meaning for a DaemonSet, which runs one Pod on each matching device whatever else is there; choose devices by nodeSelector or nodeAffinity",
            );
        }
    }
}

/// The fields of [`DaemonSetSpec`].
const DAEMON_SET_SPEC: Message = Message {
    name: "DaemonSetSpec",
    fields: &[
        object("selector", 1, &LABEL_SELECTOR).optional().required(),
        object("template", 2, &POD_TEMPLATE).required(),
        object("updateStrategy", 3, &DAEMON_SET_STRATEGY),
        count("minReadySeconds", 4),
        count("revisionHistoryLimit", 6).optional(),
    ],
};
