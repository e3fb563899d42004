//! Field selectors, as they stand in a query: `spec.nodeName=pi,status.phase!=Failed`. Only the fields that tools ask
//! for; another one is refused with the list.

use lichen_hub_core::api::{Kind, Object};

/// All requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    field: Field,
    value: String,
    equal: bool,
}

/// A field that can be selected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Name,
    Namespace,
    NodeName,
    Phase,
    RestartPolicy,
    InvolvedKind,
    InvolvedNamespace,
    InvolvedName,
    InvolvedUid,
    Reason,
    Severity,
    Unschedulable,
}

/// Why a text is no field selector for a kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectorError {
    /// Neither `=` nor `!=`.
    #[error(
        "could not read the field selector at {0:?}; write it like metadata.name=web,status.phase!=Failed"
    )]
    Syntax(String),
    /// A field that this kind can't be selected by.
    #[error("{kind} can't be selected by the field {field:?}; it can by {}", known(*kind))]
    Field {
        /// The kind.
        kind: Kind,
        /// The field.
        field: String,
    },
}

/// Every field, and the kind that has it; `None` for all kinds.
const FIELDS: [(&str, Field, Option<Kind>); 12] = [
    ("metadata.name", Field::Name, None),
    ("metadata.namespace", Field::Namespace, None),
    ("spec.nodeName", Field::NodeName, Some(Kind::Pod)),
    ("spec.restartPolicy", Field::RestartPolicy, Some(Kind::Pod)),
    ("status.phase", Field::Phase, Some(Kind::Pod)),
    ("spec.unschedulable", Field::Unschedulable, Some(Kind::Node)),
    ("involvedObject.kind", Field::InvolvedKind, Some(Kind::Event)),
    ("involvedObject.namespace", Field::InvolvedNamespace, Some(Kind::Event)),
    ("involvedObject.name", Field::InvolvedName, Some(Kind::Event)),
    ("involvedObject.uid", Field::InvolvedUid, Some(Kind::Event)),
    ("reason", Field::Reason, Some(Kind::Event)),
    ("type", Field::Severity, Some(Kind::Event)),
];

impl FieldSelector {
    /// Reads a selector for a kind; an empty text selects everything.
    pub(crate) fn parse(kind: Kind, text: &str) -> Result<Self, SelectorError> {
        let parts = text.split(',').filter(|part| !part.is_empty());
        parts.map(|part| Requirement::parse(kind, part)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it selects an object.
    pub(crate) fn selects(&self, object: &Object) -> bool {
        self.0.iter().all(|requirement| requirement.holds(object))
    }
}

impl Requirement {
    fn parse(kind: Kind, part: &str) -> Result<Self, SelectorError> {
        let (field, value, equal) = if let Some((field, value)) = part.split_once("!=") {
            (field, value, false)
        } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('='))
        {
            (field, value, true)
        } else {
            return Err(SelectorError::Syntax(part.chars().take(100).collect()));
        };
        match fields_of(kind).find(|(name, _)| *name == field) {
            Some((_, field)) => Ok(Self { field, value: value.to_owned(), equal }),
            None => Err(SelectorError::Field { kind, field: field.chars().take(100).collect() }),
        }
    }

    fn holds(&self, object: &Object) -> bool {
        let value = value(self.field, object);
        // An event that does not know the uid of its object is about every object of that name. kubectl asks for the
        // events of a node twice, once with the name as uid: that is none.
        if self.field == Field::InvolvedUid && value.is_empty() && self.equal {
            return !matches!(object, Object::Event(event) if event.involved_object.name == self.value);
        }
        (value == self.value) == self.equal
    }
}

fn fields_of(kind: Kind) -> impl Iterator<Item = (&'static str, Field)> {
    let of_kind = move |of: Option<Kind>| of.is_none_or(|of| of == kind);
    FIELDS.into_iter().filter(move |(_, _, of)| of_kind(*of)).map(|(name, field, _)| (name, field))
}

fn known(kind: Kind) -> String {
    fields_of(kind).map(|(name, _)| name).collect::<Vec<_>>().join(", ")
}

/// The field's value; empty where the object has none, as in Kubernetes.
fn value(field: Field, object: &Object) -> &str {
    match (field, object) {
        (Field::Name, object) => &object.meta().name,
        (Field::Namespace, object) => &object.meta().namespace,
        (Field::NodeName, Object::Pod(pod)) => pod.spec.node_name.as_deref().unwrap_or_default(),
        (Field::RestartPolicy, Object::Pod(pod)) => {
            pod.spec.restart_policy.as_deref().unwrap_or("Always")
        }
        (Field::Phase, Object::Pod(pod)) => &pod.status.phase,
        (Field::Unschedulable, Object::Node(node)) => {
            if node.spec.unschedulable {
                "true"
            } else {
                "false"
            }
        }
        (Field::InvolvedKind, Object::Event(event)) => &event.involved_object.kind,
        (Field::InvolvedNamespace, Object::Event(event)) => &event.involved_object.namespace,
        (Field::InvolvedName, Object::Event(event)) => &event.involved_object.name,
        (Field::InvolvedUid, Object::Event(event)) => &event.involved_object.uid,
        (Field::Reason, Object::Event(event)) => &event.reason,
        (Field::Severity, Object::Event(event)) => &event.severity,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pod(node: &str, phase: &str) -> Object {
        let json = format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"x","namespace":"a"}},
                "spec":{{"nodeName":"{node}"}},"status":{{"phase":"{phase}"}}}}"#
        );
        Object::from_json(Kind::Pod, json.as_bytes()).expect("pod")
    }

    #[test]
    fn pods_are_selected_as_kubectl_describe_node_asks() {
        let check = |selector: &str, expected: bool| {
            let parsed = FieldSelector::parse(Kind::Pod, selector).expect(selector);
            assert_eq!(parsed.selects(&pod("pi", "Running")), expected, "{selector}");
        };
        check("", true);
        check("spec.nodeName=pi,status.phase!=Succeeded,status.phase!=Failed", true);
        check("spec.nodeName==pi", true);
        check("spec.nodeName=other", false);
        check("status.phase!=Running", false);
        check("metadata.name=x,metadata.namespace=a", true);
        check("metadata.namespace=b", false);
    }

    #[test]
    fn an_unknown_field_is_refused_with_the_known_ones() {
        let error = FieldSelector::parse(Kind::Node, "spec.nodeName=pi").expect_err("refused");
        assert_eq!(
            error.to_string(),
            "Node can't be selected by the field \"spec.nodeName\"; it can by metadata.name, \
             metadata.namespace, spec.unschedulable"
        );
        assert!(FieldSelector::parse(Kind::Pod, "status.phase").is_err());
    }

    #[test]
    fn events_without_a_uid_are_found_by_the_name_of_their_object() {
        let event = |uid: &str| {
            let json = format!(
                r#"{{"apiVersion":"v1","kind":"Event","metadata":{{"name":"x"}},
                    "involvedObject":{{"kind":"Node","name":"pi","uid":"{uid}"}}}}"#
            );
            Object::from_json(Kind::Event, json.as_bytes()).expect("event")
        };
        let check = |selector: &str, uid: &str, expected: bool| {
            let parsed = FieldSelector::parse(Kind::Event, selector).expect(selector);
            assert_eq!(parsed.selects(&event(uid)), expected, "{selector} on {uid:?}");
        };
        check("involvedObject.name=pi,involvedObject.uid=1-2-3", "", true);
        check("involvedObject.name=pi,involvedObject.uid=pi", "", false);
        check("involvedObject.name=pi,involvedObject.uid=1-2-3", "1-2-3", true);
        check("involvedObject.name=pi,involvedObject.uid=1-2-3", "4-5-6", false);
    }

    proptest! {
        #[test]
        fn any_text_is_a_selector_or_refused(text in "((metadata.name|status.phase|x)?(=|!=|==)?[a-z]{0,3},?){0,4}|.{0,30}") {
            let _ = FieldSelector::parse(Kind::Pod, &text);
        }

        #[test]
        fn a_requirement_and_its_opposite_part_the_world(value in "[a-z]{0,3}", phase in "[a-z]{0,3}") {
            let parse = |text: String| FieldSelector::parse(Kind::Pod, &text).expect("valid");
            let pod = pod("pi", &phase);
            let equal = parse(format!("status.phase={value}")).selects(&pod);
            prop_assert_ne!(equal, parse(format!("status.phase!={value}")).selects(&pod));
        }
    }
}
