//! JSON to an object. Every field that Lichen doesn't support is reported by its path, all of them at once.

use lichen_hub_core::api::{FieldError, Kind, Object};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    harmless,
    strict::{self, Finding},
};

/// Reads an object. Nulls and fields that only a server writes are left out first, as Kubernetes does.
///
/// # Errors
/// Every field that is not supported, and the first value of a wrong type.
pub fn decode(value: &Value) -> Result<Object, Vec<FieldError>> {
    let Value::Object(fields) = value else {
        return Err(vec![FieldError::new(
            "",
            "must be an object with apiVersion, kind and metadata",
        )]);
    };
    let kind = kind_of(fields)?;
    let cleaned = harmless::without(kind, fields);
    let mut errors = unknown_at_the_top(kind, &cleaned);
    let cleaned = Value::Object(cleaned);
    let object = match kind {
        Kind::Namespace => read(&cleaned, Object::Namespace, &mut errors),
        Kind::ConfigMap => read(&cleaned, Object::ConfigMap, &mut errors),
        Kind::Deployment => read(&cleaned, Object::Deployment, &mut errors),
        Kind::DaemonSet => read(&cleaned, Object::DaemonSet, &mut errors),
        Kind::Node => read(&cleaned, Object::Node, &mut errors),
        Kind::Pod => read(&cleaned, Object::Pod, &mut errors),
        Kind::Event => read(&cleaned, Object::Event, &mut errors),
    };
    match object {
        Some(object) if errors.is_empty() => Ok(object),
        _ => Err(errors),
    }
}

/// The kind that a manifest names.
///
/// # Errors
/// It names none, or one that Lichen doesn't have.
pub fn kind_of(fields: &Map<String, Value>) -> Result<Kind, Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut text = |field: &str, example: &str| match fields.get(field) {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        _ => {
            errors.push(FieldError::new(field, format!("is missing: write for example {example}")));
            String::new()
        }
    };
    let (version, word) = (text("apiVersion", "apps/v1"), text("kind", "Deployment"));
    if !errors.is_empty() {
        return Err(errors);
    }
    let Some(kind) = Kind::EVERY.into_iter().find(|kind| kind.as_str() == word) else {
        let known = Kind::EVERY.map(Kind::as_str).join(", ");
        let hint = strict::nearest(&word, &Kind::EVERY.map(Kind::as_str));
        let hint = hint.map(|name| format!("did you mean {name}? ")).unwrap_or_default();
        let cause = format!("Lichen has no kind {word}; {hint}it has {known}");
        return Err(vec![FieldError::new("kind", cause)]);
    };
    if kind.api_version() != version {
        let cause = format!("{kind} is in {}, not in {version}", kind.api_version());
        return Err(vec![FieldError::new("apiVersion", cause)]);
    }
    Ok(kind)
}

fn read<T: DeserializeOwned>(
    value: &Value,
    wrap: fn(T) -> Object,
    errors: &mut Vec<FieldError>,
) -> Option<Object> {
    let (result, findings) = strict::read::<T>(value);
    errors.extend(findings.into_iter().map(unsupported));
    match result {
        Ok(object) => Some(wrap(object)),
        Err(error) => {
            errors.push(error);
            None
        }
    }
}

fn unsupported(finding: Finding) -> FieldError {
    let hint = strict::nearest(&finding.name, finding.known);
    FieldError::new(finding.path, format!("Lichen does not support this field{}", hint_text(hint)))
}

fn hint_text(hint: Option<&str>) -> String {
    hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

/// serde takes `apiVersion` and `kind` from the same map as the other fields and can't tell what is left over there.
fn unknown_at_the_top(kind: Kind, fields: &Map<String, Value>) -> Vec<FieldError> {
    let known: &'static [&'static str] = match kind {
        Kind::Namespace => &["apiVersion", "kind", "metadata"],
        Kind::ConfigMap => &["apiVersion", "kind", "metadata", "data", "binaryData"],
        Kind::Deployment | Kind::DaemonSet | Kind::Node | Kind::Pod => {
            &["apiVersion", "kind", "metadata", "spec"]
        }
        Kind::Event => &[
            "apiVersion",
            "kind",
            "metadata",
            "involvedObject",
            "reason",
            "message",
            "type",
            "source",
            "firstTimestamp",
            "lastTimestamp",
            "count",
        ],
    };
    let unknown = fields.keys().filter(|name| !known.contains(&name.as_str()));
    unknown
        .map(|name| unsupported(Finding { path: name.clone(), name: name.clone(), known }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(spec: Value) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec},
            },
        })
    }

    fn check(value: &Value, expected: &[&str]) {
        let errors = decode(value).expect_err("should be refused");
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors, expected);
    }

    #[test]
    fn every_unsupported_field_is_named_with_its_path() {
        let mut value = deployment(json!({
            "containers": [
                {"name": "a", "image": "a", "livenessProbe": {}, "volumeMount": []},
                {"name": "b", "image": "b", "env": [{"name": "X", "valueFrom": {}}]},
            ],
            "serviceAccountName": "x",
        }));
        value["spec"]["replica"] = json!(3);
        value["specs"] = json!({});
        value["metadata"]["generateName"] = json!("x-");
        check(
            &value,
            &[
                "specs: Lichen does not support this field; did you mean spec?",
                "metadata.generateName: Lichen does not support this field",
                "spec.replica: Lichen does not support this field; did you mean replicas?",
                "spec.template.spec.serviceAccountName: Lichen does not support this field",
                "spec.template.spec.containers[0].livenessProbe: Lichen does not support this field",
                "spec.template.spec.containers[0].volumeMount: Lichen does not support this field; \
                 did you mean volumeMounts?",
                "spec.template.spec.containers[1].env[0].valueFrom: Lichen does not support this field",
            ],
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_with_its_path() {
        let mut value = deployment(json!({"containers": [{"name": "a", "image": 3}]}));
        check(
            &value,
            &["spec.template.spec.containers[0].image: must be a string, not integer `3`"],
        );
        value = deployment(json!({"containers": {}}));
        check(&value, &["spec.template.spec.containers: must be a list, not map"]);
        value = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}});
        check(&value, &["spec: is missing"]);
        value = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "x", "labels": {"lichen.dev/site": true}}, "spec": {}});
        check(&value, &["metadata.labels[lichen.dev/site]: must be a string, not boolean `true`"]);
    }

    #[test]
    fn what_a_server_writes_and_what_says_nothing_is_left_out() {
        let mut value = deployment(json!({
            "containers": [{"name": "a", "image": "a", "resources": {}, "env": null}],
            "securityContext": {},
        }));
        value["status"] = json!({"anything": [1, 2]});
        value["spec"]["strategy"] = json!({});
        value["spec"]["template"]["metadata"]["creationTimestamp"] = Value::Null;
        value["metadata"] = json!({
            "name": "web", "managedFields": [{}], "selfLink": "/x", "uid": "1", "generation": 9,
            "creationTimestamp": "2020-01-01T00:00:00Z", "resourceVersion": "12",
        });
        let object = decode(&value).expect("harmless");
        assert_eq!(object.meta().resource_version, "12");
        assert_eq!((object.meta().uid.as_str(), object.meta().generation), ("", 0));
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"},
            "spec": {}, "status": {}});
        decode(&namespace).expect("what kubectl create namespace sends");
    }

    #[test]
    fn a_kind_that_lichen_has_not_is_refused_with_the_ones_it_has() {
        check(
            &json!({"apiVersion": "v1", "kind": "Deploymet"}),
            &["kind: Lichen has no kind Deploymet; did you mean Deployment? it has Namespace, \
               ConfigMap, Deployment, DaemonSet, Node, Pod, Event"],
        );
        check(
            &json!({"apiVersion": "extensions/v1beta1", "kind": "Deployment"}),
            &["apiVersion: Deployment is in apps/v1, not in extensions/v1beta1"],
        );
        check(
            &json!({}),
            &[
                "apiVersion: is missing: write for example apps/v1",
                "kind: is missing: write for example Deployment",
            ],
        );
        check(&json!([]), &[": must be an object with apiVersion, kind and metadata"]);
    }
}
