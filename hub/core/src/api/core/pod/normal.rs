//! One form for all templates that mean the same: defaults left out, quantities in one unit. Two templates that differ
//! only in how they are written are of one revision, and nothing restarts.

mod security;
mod supervision;

use alloc::{borrow::ToOwned, format, string::String};

use super::{
    Container, ContainerPort, DnsConfig, DownwardFile, DownwardVolume, EnvFrom, EnvVar,
    EnvVarSource, FieldRef, KeyToPath, POD_TEMPLATE, PodSpec, PodTemplate, ProjectedVolume,
    Projection, ResourceFieldRef, Resources, Toleration, Volume, VolumeMount,
};
use crate::{
    api::quantity::{Amounts, Quantity},
    resolve::{DEFAULT_GRACE_S, downward::account},
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
        names(spec);
        let account = account(spec);
        let containers = spec.init_containers.iter_mut().chain(&mut spec.containers);
        containers.for_each(|one| container(one, &account));
        spec.volumes.iter_mut().for_each(volume);
        spec.tolerations.iter_mut().for_each(toleration);
        security::pod(spec);
        with_effect(normal)
    }
}

/// A template without what has no effect on a device, as its table of fields says.
fn with_effect(template: PodTemplate) -> PodTemplate {
    let mut json = serde_json::to_value(&template).unwrap_or_default();
    json.as_object_mut().into_iter().for_each(|object| POD_TEMPLATE.remove_without_effect(object));
    // It reads what it has written.
    serde_json::from_value(json).unwrap_or(template)
}

fn unless(text: &mut Option<String>, defaults: &[&str]) {
    text.take_if(|text| defaults.contains(&text.as_str()));
}

/// One spelling for all ways to ask for the device's name servers.
fn names(spec: &mut PodSpec) {
    unless(&mut spec.dns_policy, &["", "ClusterFirst", "ClusterFirstWithHostNet", "Default"]);
    unless(&mut spec.hostname, &[""]);
    unless(&mut spec.subdomain, &[""]);
    if let Some(config) = &mut spec.dns_config {
        config.options.iter_mut().for_each(|option| unless(&mut option.value, &[""]));
    }
    spec.dns_config.take_if(|config| *config == DnsConfig::default());
}

/// `account` is what the Pod's containers may be told of its account, which has no effect otherwise.
fn variable(variable: &mut EnvVar, account: &str) {
    let Some(from) = &mut variable.value_from else { return };
    let EnvVarSource { config_map_key_ref, secret_key_ref, field_ref, resource_field_ref } = from;
    for of in [config_map_key_ref, secret_key_ref].into_iter().flatten() {
        of.optional.take_if(|optional| !*optional);
    }
    resource_field_ref.iter_mut().for_each(resource_field);
    field_ref.iter_mut().for_each(field);
    if field_ref.as_ref().is_some_and(|field| field.field_path == "spec.serviceAccountName") {
        account.clone_into(&mut variable.value);
        variable.value_from = None;
    }
}

fn field(field: &mut FieldRef) {
    if field.api_version == "v1" {
        field.api_version.clear();
    }
}

fn resource_field(field: &mut ResourceFieldRef) {
    field.divisor.take_if(|divisor| matches!(divisor.in_milli(), Some(0 | 1000)));
}

fn container(container: &mut Container, account: &str) {
    supervision::container(container);
    unless(&mut container.working_dir, &[""]);
    container.env.iter_mut().for_each(|one| variable(one, account));
    for EnvFrom { config_map_ref, secret_ref, .. } in &mut container.env_from {
        for of in [config_map_ref, secret_ref].into_iter().flatten() {
            of.optional.take_if(|optional| !*optional);
        }
    }
    for ContainerPort { protocol, .. } in &mut container.ports {
        unless(protocol, &["TCP"]);
    }
    for VolumeMount { sub_path, sub_path_expr, read_only, .. } in &mut container.volume_mounts {
        unless(sub_path, &[""]);
        unless(sub_path_expr, &[""]);
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
    if let Some(DownwardVolume { items, default_mode }) = &mut volume.downward_api {
        downward(items, default_mode.unwrap_or(DEFAULT_MODE));
        default_mode.take_if(|mode| *mode == DEFAULT_MODE);
    }
    if let Some(ProjectedVolume { sources, default_mode }) = &mut volume.projected {
        let mode = default_mode.unwrap_or(DEFAULT_MODE);
        for Projection { secret, downward_api, config_map } in sources {
            for of in [secret, config_map].into_iter().flatten() {
                of.optional.take_if(|optional| !*optional);
                of.items.iter_mut().for_each(|item| _ = item.mode.take_if(|own| *own == mode));
            }
            downward_api.iter_mut().for_each(|of| downward(&mut of.items, mode));
        }
        default_mode.take_if(|mode| *mode == DEFAULT_MODE);
    }
}

fn downward(items: &mut [DownwardFile], mode: u32) {
    for item in items {
        item.mode.take_if(|own| *own == mode);
        item.field_ref.iter_mut().for_each(field);
        item.resource_field_ref.iter_mut().for_each(resource_field);
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
                "livenessProbe": {"httpGet": {"port": 80}},
                "readinessProbe": {"tcpSocket": {"port": "http"}, "successThreshold": 2},
                "startupProbe": {"grpc": {"port": 81}},
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
                "livenessProbe": {
                    "httpGet": {"port": 80, "path": "/", "scheme": "HTTP", "host": "", "httpHeaders": []},
                    "initialDelaySeconds": 0, "timeoutSeconds": 1, "periodSeconds": 10,
                    "successThreshold": 1, "failureThreshold": 3,
                },
                "readinessProbe": {
                    "tcpSocket": {"port": "http", "host": ""},
                    "successThreshold": 2, "failureThreshold": 0,
                },
                "startupProbe": {"grpc": {"port": 81, "service": ""}},
                "lifecycle": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
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
    fn what_has_no_effect_makes_no_difference() {
        let short = json!({"containers": [{"name": "a", "image": "a",
            "ports": [{"containerPort": 80}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]});
        let long = json!({
            "serviceAccountName": "a", "serviceAccount": "a", "automountServiceAccountToken": true,
            "enableServiceLinks": false, "schedulerName": "default-scheduler", "hostUsers": true,
            "setHostnameAsFQDN": false, "os": {"name": "linux"},
            "containers": [{"name": "a", "image": "a", "imagePullPolicy": "Always",
                "stdin": false, "stdinOnce": false, "tty": false,
                "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
                "ports": [{"containerPort": 80, "hostPort": 80}],
                "volumeMounts": [{"name": "v", "mountPath": "/v", "recursiveReadOnly": "Disabled"}],
            }],
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
