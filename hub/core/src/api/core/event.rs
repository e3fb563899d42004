//! `v1` Event: something that happened to an object.

use alloc::{format, string::String};

use serde::{Deserialize, Serialize};

use crate::api::{
    cell,
    field::{Message, count, object, text, unsupported, written},
    meta::{OBJECT_META, ObjectMeta, ObjectReference},
    resource::{Column, Home, Names, Resource, Selectable, Verb},
    time,
};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Name and namespace.
    pub metadata: ObjectMeta,
    /// What it is about.
    #[serde(default)]
    pub involved_object: ObjectReference,
    /// CamelCase.
    #[serde(default)]
    pub reason: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// `Normal` or `Warning`.
    #[serde(rename = "type", default)]
    pub severity: String,
    /// Who noticed.
    #[serde(default)]
    pub source: EventSource,
    /// RFC 3339.
    #[serde(default)]
    pub first_timestamp: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub last_timestamp: Option<String>,
    /// How often.
    #[serde(default)]
    pub count: u32,
}

/// Who noticed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventSource {
    /// `hub` or `agent`.
    pub component: String,
    /// The device, if one noticed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
}

impl Resource for Event {
    const NAMES: Names = Names {
        kind: "Event",
        plural: "events",
        singular: "event",
        short: &["ev"],
        verbs: &Verb::READ,
        home: Home::Events,
        made_by: "events can't be written by hand: the hub and the devices record what happens, and it expires",
        apply_order: 100,
        ..Names::CORE
    };
    const FIELDS: &'static Message = &Message {
        name: "Event",
        fields: &[
            object("metadata", 1, &OBJECT_META),
            object("involvedObject", 2, &OBJECT_REFERENCE),
            text("reason", 3),
            text("message", 4),
            object("source", 5, &EVENT_SOURCE),
            written("firstTimestamp", 6),
            written("lastTimestamp", 7),
            count("count", 8),
            text("type", 9),
            written("eventTime", 10),
            unsupported("series", 11),
            unsupported("action", 12),
            unsupported("related", 13),
            unsupported("reportingComponent", 14),
            unsupported("reportingInstance", 15),
        ],
    };
    const COLUMNS: &'static [Column<Self>] = &[
        Column::text("Last Seen", "Time since it last happened.", |o, now| {
            let last = o.last_timestamp.as_deref().or(o.first_timestamp.as_deref());
            time::age(last, now).into()
        }),
        Column::text("Type", "Normal or Warning.", |o, _| o.severity.as_str().into()),
        Column::text("Reason", "Why, in one word.", |o, _| o.reason.as_str().into()),
        Column::text("Object", "What it is about.", |o, _| {
            format!("{}/{}", o.involved_object.kind.to_lowercase(), o.involved_object.name).into()
        }),
        Column::text("Message", "What happened.", |o, _| o.message.as_str().into()),
        Column::wide_number("Count", "How often it happened.", |o, _| o.count.into()),
        Column::wide("Source", "Who noticed.", |o, _| match o.source.host.as_str() {
            "" => o.source.component.as_str().into(),
            host => format!("{}, {host}", o.source.component).into(),
        }),
        Column::wide("Name", "The event's own name.", |o, _| cell::name(&o.metadata)),
    ];
    const SELECTABLE: &'static [Selectable<Self>] = &[
        Selectable::new("involvedObject.kind", |o| &o.involved_object.kind),
        Selectable::new("involvedObject.namespace", |o| &o.involved_object.namespace),
        Selectable::new("involvedObject.name", |o| &o.involved_object.name),
        Selectable::new("involvedObject.apiVersion", |o| &o.involved_object.api_version),
        Selectable {
            field: "involvedObject.uid",
            value: |o| &o.involved_object.uid,
            // An event that does not know the uid of its object is about every object of that name. kubectl asks for
            // the events of a node twice, once with the name as uid: that is none.
            without: Some(|o, uid| uid != o.involved_object.name),
        },
        Selectable::new("reason", |o| &o.reason),
        Selectable::new("type", |o| &o.severity),
    ];
}

/// The fields of [`ObjectReference`].
const OBJECT_REFERENCE: Message = Message {
    name: "ObjectReference",
    fields: &[
        text("kind", 1),
        text("namespace", 2),
        text("name", 3),
        text("uid", 4),
        text("apiVersion", 5),
        unsupported("resourceVersion", 6),
        unsupported("fieldPath", 7),
    ],
};

/// The fields of [`EventSource`].
const EVENT_SOURCE: Message =
    Message { name: "EventSource", fields: &[text("component", 1), text("host", 2)] };
