//! What operators write: the few settings that histories vary, and the Kubernetes objects made from them.

use std::collections::BTreeMap;

use firmware_compat::id::Hash;
use lichen_hub_core::api::{Kind, Object, core::pod::PodTemplate};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::board::Program;

/// The image of init containers.
const BRIEF: &str = "brief:1";

/// A workload, as an operator declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Copies; `None` for a DaemonSet.
    pub replicas: Option<u32>,
    pub image: String,
    /// An init container that ends well, in front.
    pub init: bool,
    /// The image of a second container.
    pub beside: Option<String>,
    pub wasm: bool,
    /// Something in the template that is changed by an update.
    pub version: u64,
    /// `key=value` that its devices must have.
    pub selector: Option<(String, String)>,
    pub config: Option<String>,
    /// In a variable and in a volume.
    pub secret: Option<String>,
    pub tolerates: bool,
    pub memory_mi: u64,
}

impl Workload {
    pub fn kind(&self) -> Kind {
        if self.replicas.is_some() { Kind::Deployment } else { Kind::DaemonSet }
    }

    /// Every image that it needs.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        let others = self.beside.as_deref().into_iter().chain(self.init.then_some(BRIEF));
        std::iter::once(self.image.as_str()).chain(others)
    }

    /// Whether its Pods run most of the time.
    pub fn stays_up(&self) -> bool {
        let main = std::iter::once(self.image.as_str()).chain(self.beside.as_deref());
        main.map(Program::named).all(Program::stays_up)
    }

    fn template(&self, name: &str) -> Value {
        let mut container = json!({
            "name": "main",
            "image": self.image,
            "env": [{"name": "VERSION", "value": self.version.to_string()}],
        });
        if let Some(secret) = &self.secret {
            let from = json!({"secretKeyRef": {"name": secret, "key": "token"}});
            container["env"] = json!([{"name": "TOKEN", "valueFrom": from}]);
        }
        if self.memory_mi > 0 {
            container["resources"] =
                json!({"requests": {"memory": format!("{}Mi", self.memory_mi)}});
        }
        let mut spec = json!({"terminationGracePeriodSeconds": 10});
        if let Some(config) = &self.config {
            spec["volumes"] = json!([{"name": "settings", "configMap": {"name": config}}]);
            container["volumeMounts"] = json!([{"name": "settings", "mountPath": "/settings"}]);
        }
        if let Some(secret) = &self.secret {
            let volume = json!({"name": "secret", "secret": {"secretName": secret}});
            let mount = json!({"name": "secret", "mountPath": "/secret"});
            for (list, one) in
                [(&mut spec["volumes"], volume), (&mut container["volumeMounts"], mount)]
            {
                let all = list.as_array().cloned().unwrap_or_default();
                *list = all.into_iter().chain([one]).collect();
            }
        }
        let mut containers = vec![container];
        if let Some(image) = &self.beside {
            containers.push(json!({"name": "beside", "image": image}));
        }
        spec["containers"] = json!(containers);
        if self.init {
            spec["initContainers"] = json!([{"name": "init", "image": BRIEF}]);
        }
        if self.wasm {
            spec["runtimeClassName"] = json!("wasm");
        }
        if let Some((key, value)) = &self.selector {
            spec["nodeSelector"] = json!({ key: value });
        }
        if self.tolerates {
            spec["tolerations"] = json!([{"operator": "Exists"}]);
        }
        json!({"metadata": {"labels": {"app": name}}, "spec": spec})
    }

    /// The object of the API.
    pub fn object(&self, name: &str) -> Option<Object> {
        let mut spec = json!({
            "selector": {"matchLabels": {"app": name}},
            "template": self.template(name),
        });
        if let Some(replicas) = self.replicas {
            spec["replicas"] = json!(replicas);
        }
        let kind = self.kind();
        parse(
            kind,
            &json!({
                "apiVersion": "apps/v1",
                "kind": kind.as_str(),
                "metadata": {"name": name, "namespace": "default"},
                "spec": spec,
            }),
        )
    }

    /// The template as the hub understands it.
    pub fn pod_template(&self, name: &str) -> Option<PodTemplate> {
        match self.object(name)? {
            Object::Deployment(deployment) => Some(deployment.spec.template),
            Object::DaemonSet(set) => Some(set.spec.template),
            _ => None,
        }
    }
}

/// What an operator writes on a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSettings {
    pub labels: BTreeMap<String, String>,
    /// Effects of the taint `world/closed`.
    pub taints: Vec<String>,
    pub cordoned: bool,
}

impl NodeSettings {
    pub fn object(&self, name: &str) -> Option<Object> {
        let taints: Vec<Value> = self
            .taints
            .iter()
            .map(|effect| json!({"key": "world/closed", "value": "", "effect": effect}))
            .collect();
        parse(
            Kind::Node,
            &json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "labels": self.labels},
                "spec": {"taints": taints, "unschedulable": self.cordoned},
            }),
        )
    }
}

/// A ConfigMap with one key.
pub fn config(name: &str, version: u64) -> Option<Object> {
    parse(
        Kind::ConfigMap,
        &json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default"},
            "data": {"settings.txt": format!("version {version}")},
        }),
    )
}

/// A claim.
pub fn claim(name: &str) -> Option<Object> {
    parse(
        Kind::PersistentVolumeClaim,
        &json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": "default"},
            "spec": claim_spec(),
        }),
    )
}

fn claim_spec() -> Value {
    json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}})
}

/// A StatefulSet whose Pods have a claim each.
pub fn stateful_set(name: &str, replicas: u64, version: u64) -> Option<Object> {
    let template = json!({"metadata": {"labels": {"app": name}}, "spec": {
        "terminationGracePeriodSeconds": 10,
        "containers": [{"name": "main", "image": "steady:1",
            "env": [{"name": "VERSION", "value": version.to_string()}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}});
    parse(
        Kind::StatefulSet,
        &json!({
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "replicas": replicas,
                "serviceName": name,
                "selector": {"matchLabels": {"app": name}},
                "template": template,
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim_spec()}],
                "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Delete"},
            },
        }),
    )
}

/// What every secret value begins with, and nothing else. Of three bytes each, so that base64 shows it whole.
pub const MARK: &str = "Tr0ub4dor+3!";

/// As it stands in objects of the API.
pub const MARK_IN_BASE64: &str = "VHIwdWI0ZG9yKzMh";

/// A value that nobody may see.
pub fn secret_value(version: u64) -> String {
    format!("{MARK} of version {version}")
}

/// A Secret with one key.
pub fn secret(name: &str, version: u64) -> Option<Object> {
    parse(
        Kind::Secret,
        &json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": "default"},
            "stringData": {"token": secret_value(version)},
        }),
    )
}

/// A board is expected, and may join; or may not come in any more.
pub fn enrolment(name: &str, revoked: bool) -> Option<Object> {
    parse(
        Kind::Enrolment,
        &json!({
            "apiVersion": "lichen.dev/v1",
            "kind": "Enrolment",
            "metadata": {"name": name},
            "spec": {"serialNumber": name, "approved": true, "revoked": revoked},
        }),
    )
}

/// Digest of the image that a push number of a name brought.
pub fn root(reference: &str, push: u64) -> Hash {
    Hash(Sha256::digest(format!("{reference} {push}")).into())
}

fn parse(kind: Kind, json: &Value) -> Option<Object> {
    Object::from_json(kind, json.to_string().as_bytes()).ok()
}
