//! Pods that end, and the Jobs that want them to.

use firmware_compat::v1::owned::{Exit, Phase, Text};
use lichen_hub_core::api::{Kind, Object};
use serde_json::{Value, json};

use super::World;

/// How a container of a Pod that has ended for good did so.
pub fn exit(phase: Phase) -> Exit {
    let succeeded = phase == Phase::Succeeded;
    Exit {
        code: i32::from(!succeeded),
        reason: Text::cut(if succeeded { "Completed" } else { "Error" }),
        message: Text::default(),
        started_ms: super::START_MS,
        at_ms: super::START_MS,
    }
}

impl World {
    /// Pods whose name begins so end on their devices, heard or not.
    pub fn end(&mut self, prefix: &str, succeeded: bool) {
        for device in self.devices.values_mut() {
            let fits = |(_, run): &(_, &(String, _))| run.0.starts_with(prefix);
            let ends = device.running.iter().filter(fits).map(|(id, _)| *id);
            let new = ends.filter(|id| !device.ended.contains_key(id)).collect::<Vec<_>>();
            device.ended.extend(new.into_iter().map(|id| (id, succeeded)));
        }
        let online = self.devices.iter().filter(|(_, device)| device.online);
        for name in online.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.report(&name, false, Vec::new());
        }
        self.settle();
    }

    /// Every Job in one line.
    pub fn say_jobs(&mut self) {
        for object in self.list(Kind::Job) {
            let Object::Job(job) = &object else { continue };
            let status = &job.status;
            let conditions = status.conditions.iter();
            let conditions: Vec<String> =
                conditions.map(|c| format!("{}={} ({})", c.kind, c.status, c.reason)).collect();
            let cells = object.cells(super::START_MS);
            let text = |index: usize| cells[index].as_str().unwrap_or_default().to_owned();
            self.say(format!(
                "  {}: {} {}, {} active, {} ready, {} terminating, {} succeeded, {} failed{}{}",
                job.metadata.name,
                text(1),
                text(2),
                status.active,
                status.ready,
                status.terminating,
                status.succeeded,
                status.failed,
                match status.completed_indexes.as_str() {
                    "" => String::new(),
                    indexes => format!(", done {indexes}"),
                },
                match conditions.is_empty() {
                    true => String::new(),
                    false => format!(": {}", conditions.join(", ")),
                },
            ));
        }
    }
}

/// A Pod's spec, as its settings say.
fn spec(settings: &[&str], restart: &str) -> Value {
    let mut container = json!({"name": "main", "image": "hello:1"});
    let mut spec = json!({"restartPolicy": restart});
    for setting in settings {
        let (key, value) = setting.split_once('=').expect("key=value");
        match key {
            "image" => container["image"] = value.into(),
            "memory" => container["resources"] = json!({"requests": {"memory": value}}),
            "restart" => spec["restartPolicy"] = value.into(),
            "node" => spec["nodeName"] = value.into(),
            "patience" => {
                let seconds: u32 = value.parse().expect("a number");
                spec["tolerations"] = json!([{"key": "node.kubernetes.io/unreachable",
                    "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]);
            }
            _ => {}
        }
    }
    spec["containers"] = json!([container]);
    spec
}

/// A Pod that no workload made.
pub fn pod(name: &str, settings: &[&str]) -> Value {
    let mut labels = json!({});
    for label in settings.iter().filter_map(|setting| setting.strip_prefix("label=")) {
        let (key, value) = label.split_once(':').expect("k:v");
        labels[key] = value.into();
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": spec(settings, "Always")})
}

/// A Job.
pub fn job(name: &str, settings: &[&str]) -> Value {
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {"spec": spec(settings, "Never")}}});
    for setting in settings {
        let (key, value) = setting.split_once('=').expect("key=value");
        let number = || Value::from(value.parse::<u32>().expect("a number"));
        let field = match key {
            "completions" | "parallelism" => key,
            "backoff" => "backoffLimit",
            "deadline" => "activeDeadlineSeconds",
            "ttl" => "ttlSecondsAfterFinished",
            "mode" => {
                job["spec"]["completionMode"] = value.into();
                continue;
            }
            "suspend" => {
                job["spec"]["suspend"] = (value == "yes").into();
                continue;
            }
            _ => continue,
        };
        job["spec"][field] = number();
    }
    job
}
