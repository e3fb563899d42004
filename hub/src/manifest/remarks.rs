//! What is taken and may not be what was meant: told once, when an object is applied, beside the answer.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Most that is said of one object: who mends a few sees the next ones.
const MOST: usize = 16;

/// The token that API servers mount into every Pod, by this volume.
const TOKEN_VOLUME: &str = "kube-api-access-";

/// Where kinds have the spec of a Pod.
const SPECS: [&[&str]; 3] = [
    &["spec"],
    &["spec", "template", "spec"],
    &["spec", "jobTemplate", "spec", "template", "spec"],
];

/// What may not be what was meant.
#[must_use]
pub fn remarks(object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for path in SPECS {
        let pointer = format!("/{}", path.join("/"));
        let Some(Value::Object(spec)) = object.pointer(&pointer) else { continue };
        let at = path.join(".");
        for (list, container, fields) in containers(spec) {
            let env = fields.get("env").and_then(Value::as_array).into_iter().flatten();
            let names = env.enumerate().filter_map(|(i, one)| Some((i, one["name"].as_str()?)));
            let (mut seen, mut told) = (BTreeSet::new(), BTreeSet::new());
            for (i, name) in names {
                if !seen.insert(name) && told.insert(name) {
                    found.push(format!(
                        "{at}.{list}[{container}].env[{i}]: hides an earlier value of {name:?}: the last one holds"
                    ));
                }
            }
        }
        found.extend(token_volumes(spec).into_iter().map(|name| {
            format!("{at}.volumes: {name} is left out: Pods are given no token of the API")
        }));
    }
    found.truncate(MOST);
    found
}

/// Leaves out what an API server has added to a Pod to give it a token: the volume, and where it is mounted.
pub(super) fn leave_out_tokens(object: &mut Map<String, Value>) {
    for path in SPECS {
        let mut spec = Some(&mut *object);
        for name in path {
            spec = spec.and_then(|fields| fields.get_mut(*name)?.as_object_mut());
        }
        let Some(spec) = spec else { continue };
        let names = token_volumes(spec);
        if names.is_empty() {
            continue;
        }
        let is_one = |value: &Value, field: &str| {
            value[field].as_str().is_some_and(|name| names.iter().any(|token| token == name))
        };
        if let Some(Value::Array(volumes)) = spec.get_mut("volumes") {
            volumes.retain(|volume| !is_one(volume, "name"));
        }
        for list in ["initContainers", "containers"] {
            let containers = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
            for container in containers {
                if let Some(mounts) =
                    container.get_mut("volumeMounts").and_then(Value::as_array_mut)
                {
                    mounts.retain(|mount| !is_one(mount, "name"));
                }
            }
        }
    }
}

fn containers(spec: &Map<String, Value>) -> Vec<(&'static str, usize, &Map<String, Value>)> {
    let lists = ["initContainers", "containers"].into_iter();
    let each = lists.flat_map(|list| {
        let items = spec.get(list).and_then(Value::as_array).into_iter().flatten();
        items.enumerate().filter_map(move |(i, item)| Some((list, i, item.as_object()?)))
    });
    each.collect()
}

/// Names of the volumes that an API server has added: who writes one by hand gives it another name.
fn token_volumes(spec: &Map<String, Value>) -> Vec<String> {
    let volumes = spec.get("volumes").and_then(Value::as_array).into_iter().flatten();
    let is_token = |volume: &&Value| {
        let sources = volume["projected"]["sources"].as_array().into_iter().flatten();
        sources.into_iter().any(|source| source.get("serviceAccountToken").is_some())
    };
    let names = volumes.filter(is_token).filter_map(|volume| volume["name"].as_str());
    names.filter(|name| name.starts_with(TOKEN_VOLUME)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {
            "containers": [{"name": "a", "image": "a",
                "env": [{"name": "A", "value": "1"}, {"name": "B"}, {"name": "A"}, {"name": "A"}],
                "volumeMounts": [
                    {"name": "data", "mountPath": "/data"},
                    {"name": "kube-api-access-x2x4z", "readOnly": true,
                        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
                ],
            }],
            "volumes": [
                {"name": "data", "emptyDir": {}},
                {"name": "kube-api-access-x2x4z", "projected": {"defaultMode": 420, "sources": [
                    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                    {"configMap": {"name": "kube-root-ca.crt"}},
                ]}},
                {"name": "kube-api-access-mine", "emptyDir": {}},
            ],
        }})
    }

    #[test]
    fn a_variable_that_is_there_again_and_again_is_told_once() {
        assert_eq!(
            remarks(&pod()),
            [
                "spec.containers[0].env[2]: hides an earlier value of \"A\": the last one holds",
                "spec.volumes: kube-api-access-x2x4z is left out: Pods are given no token of the API",
            ]
        );
        let job = json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": pod()["spec"]}}}}});
        assert_eq!(remarks(&job).len(), 2);
        assert_eq!(remarks(&json!({"spec": {"containers": 3}})), Vec::<String>::new());
    }

    #[test]
    fn the_token_that_a_server_has_added_is_left_out() {
        let mut pod = pod();
        leave_out_tokens(pod.as_object_mut().expect("fields"));
        let names = |list: &Value| {
            let names = list.as_array().expect("a list").iter();
            names.map(|item| item["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&pod["spec"]["volumes"]), ["data", "kube-api-access-mine"]);
        assert_eq!(names(&pod["spec"]["containers"][0]["volumeMounts"]), ["data"]);
    }
}
