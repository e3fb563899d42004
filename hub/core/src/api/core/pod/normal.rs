//! One form for all templates that mean the same: defaults left out, quantities in one unit. Two templates that differ
//! only in how they are written are of one revision, and nothing restarts.

use alloc::{format, string::String};

use super::{
    Container, ContainerPort, EnvFrom, EnvVarSource, KeyToPath, PodTemplate, Resources, Toleration,
    Volume, VolumeMount,
};
use crate::{
    api::quantity::{Amounts, Quantity},
    resolve::DEFAULT_GRACE_S,
};

/// Permission bits of a file from a ConfigMap or Secret, where nothing is said.
pub(crate) const DEFAULT_MODE: u32 = 0o644;

impl PodTemplate {
    /// The template as it would be written by someone who writes nothing that goes without saying.
    #[must_use]
    pub fn normal(&self) -> Self {
        let mut normal = self.clone();
        let spec = &mut normal.spec;
        unless(&mut spec.restart_policy, &["", "Always"]);
        unless(&mut spec.runtime_class_name, &["", "crun"]);
        spec.termination_grace_period_seconds.take_if(|seconds| *seconds == DEFAULT_GRACE_S);
        spec.host_network.take_if(|shared| !*shared);
        unless(&mut spec.priority_class_name, &[""]);
        spec.affinity.take_if(|affinity| affinity.is_empty());
        for constraint in &mut spec.topology_spread_constraints {
            unless(&mut constraint.node_affinity_policy, &["Honor"]);
            unless(&mut constraint.node_taints_policy, &["Ignore"]);
            constraint.min_domains.take_if(|least| *least == 1);
        }
        spec.containers.iter_mut().for_each(container);
        spec.volumes.iter_mut().for_each(volume);
        spec.tolerations.iter_mut().for_each(toleration);
        normal
    }
}

fn unless(text: &mut Option<String>, defaults: &[&str]) {
    text.take_if(|text| defaults.contains(&text.as_str()));
}

fn container(container: &mut Container) {
    unless(&mut container.working_dir, &[""]);
    let sources = container.env.iter_mut().filter_map(|variable| variable.value_from.as_mut());
    for EnvVarSource { config_map_key_ref, secret_key_ref } in sources {
        for of in [config_map_key_ref, secret_key_ref].into_iter().flatten() {
            of.optional.take_if(|optional| !*optional);
        }
    }
    for EnvFrom { config_map_ref, secret_ref, .. } in &mut container.env_from {
        for of in [config_map_ref, secret_ref].into_iter().flatten() {
            of.optional.take_if(|optional| !*optional);
        }
    }
    for ContainerPort { protocol, .. } in &mut container.ports {
        unless(protocol, &["TCP"]);
    }
    for VolumeMount { sub_path, read_only, .. } in &mut container.volume_mounts {
        unless(sub_path, &[""]);
        read_only.take_if(|read_only| !*read_only);
    }
    let Resources { requests, limits } = &mut container.resources;
    // What has a limit and no request asks for its limit.
    for (name, limit) in &*limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
    amounts(requests);
    amounts(limits);
}

/// Amounts in the units that scheduling goes by. A limit or a request of nothing is none.
fn amounts(amounts: &mut Amounts) {
    for (name, amount) in &mut *amounts {
        let normal = match name.as_str() {
            "cpu" => amount.in_milli().map(|milli| format!("{milli}m")),
            _ => amount.in_units().map(|units| format!("{units}")),
        };
        *amount = normal.map_or_else(|| amount.clone(), Quantity);
    }
    amounts.retain(|_, amount| !matches!(amount.0.as_str(), "0" | "0m"));
}

fn volume(volume: &mut Volume) {
    if let Some(empty) = &mut volume.empty_dir {
        unless(&mut empty.medium, &[""]);
        let bytes = empty.size_limit.take();
        empty.size_limit = bytes
            .map(|size| size.in_units().map_or(size, |units| Quantity(format!("{units}"))))
            .filter(|size| size.0 != "0");
    }
    if let Some(claim) = &mut volume.persistent_volume_claim {
        claim.read_only.take_if(|read_only| !*read_only);
    }
    if let Some(host) = &mut volume.host_path {
        unless(&mut host.kind, &[""]);
    }
    if let Some(map) = &mut volume.config_map {
        map.optional.take_if(|optional| !*optional);
        modes(&mut map.default_mode, &mut map.items);
    }
    if let Some(secret) = &mut volume.secret {
        secret.optional.take_if(|optional| !*optional);
        modes(&mut secret.default_mode, &mut secret.items);
    }
}

fn modes(default: &mut Option<u32>, items: &mut [KeyToPath]) {
    let mode = default.unwrap_or(DEFAULT_MODE);
    default.take_if(|mode| *mode == DEFAULT_MODE);
    for item in items {
        item.mode.take_if(|own| *own == mode);
    }
}

fn toleration(toleration: &mut Toleration) {
    unless(&mut toleration.operator, &["", "Equal"]);
    if toleration.operator.is_some() {
        // `Exists` looks at no value.
        toleration.value.clear();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn normal(spec: &Value) -> Value {
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": spec});
        let template: PodTemplate = serde_json::from_value(template).expect("a template");
        assert_eq!(template.normal().normal(), template.normal());
        serde_json::to_value(template.normal().spec).expect("JSON")
    }

    #[test]
    fn what_goes_without_saying_makes_no_difference() {
        let short = json!({
            "containers": [{
                "name": "a", "image": "a",
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "a"}}}],
                "envFrom": [{"configMapRef": {"name": "m"}}],
                "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}},
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            }],
            "volumes": [
                {"name": "v", "configMap": {"name": "m", "items": [{"key": "a", "path": "a"}]}},
                {"name": "s", "secret": {"secretName": "m"}},
                {"name": "e", "emptyDir": {"sizeLimit": "1Ki"}},
                {"name": "h", "hostPath": {"path": "/dev"}},
            ],
            "tolerations": [{"key": "a", "value": "b"}, {"key": "c", "operator": "Exists"}],
        });
        let long = json!({
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "hostNetwork": false,
            "runtimeClassName": "crun",
            "containers": [{
                "name": "a", "image": "a", "workingDir": "", "args": [],
                "env": [{"name": "A", "value": "", "valueFrom":
                    {"secretKeyRef": {"name": "s", "key": "a", "optional": false}}}],
                "envFrom": [{"prefix": "", "configMapRef": {"name": "m", "optional": false}}],
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {
                    "limits": {"cpu": 0.5, "memory": "65536Ki"},
                    "requests": {"cpu": "0.5", "memory": 67_108_864},
                },
                "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "", "readOnly": false}],
            }],
            "volumes": [
                {"name": "v", "configMap": {"name": "m", "defaultMode": 420, "optional": false,
                    "items": [{"key": "a", "path": "a", "mode": 420}]}},
                {"name": "s", "secret": {"secretName": "m", "defaultMode": 420, "optional": false}},
                {"name": "e", "emptyDir": {"medium": "", "sizeLimit": "1024"}},
                {"name": "h", "hostPath": {"path": "/dev", "type": ""}},
            ],
            "tolerations": [{"key": "a", "operator": "Equal", "value": "b"},
                {"key": "c", "operator": "Exists", "value": "x"}],
        });
        assert_eq!(normal(&short), normal(&long));
    }

    #[test]
    fn what_is_said_makes_one() {
        let base = json!({"containers": [{"name": "a", "image": "a"}]});
        for (pointer, value) in [
            ("/restartPolicy", json!("Never")),
            ("/terminationGracePeriodSeconds", json!(31)),
            ("/hostNetwork", json!(true)),
            ("/runtimeClassName", json!("wasm")),
            ("/nodeName", json!("pi")),
            ("/imagePullSecrets", json!([{"name": "registry"}])),
        ] {
            let mut other = base.clone();
            other[&pointer[1..]] = value;
            assert_ne!(normal(&base), normal(&other), "{pointer}");
        }
        let mut other = base.clone();
        other["containers"][0]["resources"] = json!({"requests": {"cpu": "1m"}});
        assert_ne!(normal(&base), normal(&other));
    }
}
