//! JSON to an object. Every field that Lichen doesn't support is reported by its path, all of them at once.

use lichen_hub_core::api::{
    FieldError, KINDS, Kind, Object,
    resource::{Home, Verb},
};
use serde_json::{Map, Value};

use super::{remarks::leave_out_tokens, strict};

/// Reads an object. Nulls and fields that only the hub writes are left out, as Kubernetes does.
///
/// # Errors
/// Every field that is not supported, is missing or has a wrong type.
pub fn decode(value: &Value) -> Result<Object, Vec<FieldError>> {
    let Value::Object(fields) = value else {
        return Err(vec![FieldError::new(
            "",
            "must be an object with apiVersion, kind and metadata",
        )]);
    };
    let kind = kind_of(fields)?;
    let names = kind.names();
    if !names.allows(Verb::Create) && !names.allows(Verb::Update) {
        return Err(vec![FieldError::new("kind", names.made_by)]);
    }
    let mut fields = fields.clone();
    leave_out_tokens(&mut fields);
    let (read, errors) = strict::read(&fields, kind.fields(), names.confidential);
    if !errors.is_empty() {
        return Err(errors);
    }
    // What the table takes, the type takes.
    Object::from_value(kind, Value::Object(read)).map_err(|error| {
        let cause = error.to_string();
        vec![FieldError::new(
            "",
            if names.confidential { "is not usable".to_owned() } else { cause },
        )]
    })
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
    let Some(kind) = Kind::parse(&word) else {
        let kept = KINDS.iter().filter(|kind| kind.names().home != Home::Nowhere);
        let kinds: Vec<&str> = kept.map(|kind| kind.as_str()).collect();
        let known = kinds.join(", ");
        let hint = strict::nearest(&word, &kinds);
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
                {"name": "a", "image": "a", "volumeDevices": [], "volumeMount": []},
                {"name": "b", "image": "b", "env": [{"name": "X", "valueFrom": {"fileKeyRef": {}}}]},
            ],
            "schedulingGates": [],
        }));
        value["spec"]["replica"] = json!(3);
        value["specs"] = json!({});
        check(
            &value,
            &[
                "specs: Lichen does not support this field; did you mean spec?",
                "spec.replica: Lichen does not support this field; did you mean replicas?",
                "spec.template.spec.schedulingGates: Lichen does not support this field: apply the workload when its Pods may \
                 be placed",
                "spec.template.spec.containers[0].volumeDevices: Lichen does not support this field: there are no block volumes; mount a device by hostPath",
                "spec.template.spec.containers[0].volumeMount: Lichen does not support this field; \
                 did you mean volumeMounts?",
                "spec.template.spec.containers[1].env[0].valueFrom.fileKeyRef: Lichen does not support this field: write \
                 the value, or put it into a ConfigMap or Secret",
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
        check(&value, &["spec.template.spec.containers: must be a list, not a map"]);
        value = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}});
        check(&value, &["spec: is missing"]);
        value = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "x", "labels": {"lichen.dev/site": true}}, "spec": {}});
        check(
            &value,
            &[
                "metadata.labels[lichen.dev/site]: must be a string, not boolean `true`",
                "spec.selector: is missing",
                "spec.template: is missing",
            ],
        );
    }

    #[test]
    fn no_value_of_a_secret_is_told_and_bytes_are_base64() {
        let secret = |fields: Value| {
            let mut secret =
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}});
            secret
                .as_object_mut()
                .expect("fields")
                .extend(fields.as_object().expect("fields").clone());
            secret
        };
        check(
            &secret(json!({"data": {"a": "hunter2!", "b": 1234}, "stringData": {"pin": 1234}})),
            &[
                "data.a: is not base64",
                "data.b: must be a string, not a number",
                "stringData.pin: must be a string, not a number",
            ],
        );
        check(
            &secret(json!({"stringData": "hunter2"})),
            &["stringData: must be a map of names and values, not a string"],
        );
        decode(&secret(json!({"data": {"a": "aHVu\ndGVyMg==\n"}})))
            .expect("lines may end anywhere");
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
        let errors =
            decode(&json!({"apiVersion": "v1", "kind": "Deploymet"})).expect_err("refused");
        let said = errors.iter().map(ToString::to_string).collect::<String>();
        let begins = "kind: Lichen has no kind Deploymet; did you mean Deployment? it has Namespace, ConfigMap, ";
        assert!(said.starts_with(begins), "{said}");
        let listed = said.rsplit("it has ").next().unwrap_or_default().split(", ");
        let kept = KINDS.iter().filter(|kind| kind.names().home != Home::Nowhere);
        assert!(listed.eq(kept.map(|kind| kind.as_str())), "{said}");
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
