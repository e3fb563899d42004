//! The columns of each kind and the cells of its rows. Names and order are kubectl's where Kubernetes has the column;
//! what only the edge has (device, architecture, engines, site) is shown beside it.

use std::collections::BTreeSet;

use lichen_hub_core::api::{
    Kind, Object,
    apps::{DaemonSet, Deployment},
    core::pod::{Pod, PodSpec},
    core::{event::Event, node::Node},
    meta::Map,
};
use serde_json::Value;

use super::{Column, age::since, pod};

/// The label that says where a device is.
const SITE_LABEL: &str = "lichen.dev/site";

const fn text(name: &'static str, description: &'static str) -> Column {
    Column { name, priority: 0, number: false, description }
}

const fn wide(name: &'static str, description: &'static str) -> Column {
    Column { name, priority: 1, number: false, description }
}

const fn number(name: &'static str, description: &'static str) -> Column {
    Column { name, priority: 0, number: true, description }
}

const NAME: Column = text("Name", "Unique in its kind and namespace.");
const AGE: Column = text("Age", "Time since it was created.");
const CONTAINERS: Column = wide("Containers", "Names of the template's containers.");
const IMAGES: Column = wide("Images", "Images of the containers.");
const SELECTOR: Column = wide("Selector", "Labels of the pods.");

const NAMESPACE: [Column; 3] = [NAME, text("Status", "Active or Terminating."), AGE];
const CONFIG_MAP: [Column; 3] = [NAME, number("Data", "How many keys it holds."), AGE];
const DEPLOYMENT: [Column; 8] = [
    NAME,
    text("Ready", "Pods that run, of those declared."),
    number("Up-to-date", "Pods of the newest template."),
    number("Available", "Pods that run."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];
const DAEMON_SET: [Column; 11] = [
    NAME,
    number("Desired", "Devices that should run it."),
    number("Current", "Devices that should and have it."),
    number("Ready", "Devices on which it runs."),
    number("Up-to-date", "Devices with the newest template."),
    number("Available", "Devices on which it runs."),
    text("Node Selector", "Labels that a device must have."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];
const NODE: [Column; 9] = [
    NAME,
    text("Status", "Whether the device is in touch, and takes new pods."),
    text("Arch", "Its architecture."),
    text("Runtimes", "The engines that it can use."),
    AGE,
    text("Version", "Its agent's version."),
    wide("Site", "Where it is: its label lichen.dev/site."),
    wide("OS", "Its operating system."),
    wide("Kernel", "Its kernel."),
];
const POD: [Column; 8] = [
    NAME,
    text("Ready", "Containers that run, of those declared."),
    text("Status", "What it does, or why it does not run."),
    number("Restarts", "How often its containers were started again."),
    AGE,
    text("Node", "The device that it is on."),
    wide("Runtime", "The engine that runs it."),
    IMAGES,
];
const EVENT: [Column; 8] = [
    text("Last Seen", "Time since it last happened."),
    text("Type", "Normal or Warning."),
    text("Reason", "In one word."),
    text("Object", "What it is about."),
    text("Message", "In words."),
    wide("Source", "Who noticed."),
    Column { name: "Count", priority: 1, number: true, description: "How often it happened." },
    Column { name: "Name", priority: 1, number: false, description: "The event's own name." },
];

pub(super) fn of(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Namespace => &NAMESPACE,
        Kind::ConfigMap => &CONFIG_MAP,
        Kind::Deployment => &DEPLOYMENT,
        Kind::DaemonSet => &DAEMON_SET,
        Kind::Node => &NODE,
        Kind::Pod => &POD,
        Kind::Event => &EVENT,
    }
}

pub(super) fn cells(object: &Object, now_ms: u64) -> Vec<Value> {
    let meta = object.meta();
    let name = || Value::from(meta.name.as_str());
    let age = || Value::from(since(meta.creation_timestamp.as_deref(), now_ms));
    match object {
        Object::Namespace(namespace) => {
            vec![name(), namespace.status.phase.as_str().into(), age()]
        }
        Object::ConfigMap(map) => {
            vec![name(), (map.data.len() + map.binary_data.len()).into(), age()]
        }
        Object::Deployment(deployment) => deployment_cells(deployment, name(), age()),
        Object::DaemonSet(set) => daemon_set_cells(set, name(), age()),
        Object::Node(node) => node_cells(node, name(), age()),
        Object::Pod(pod) => pod_cells(pod, name(), age()),
        Object::Event(event) => event_cells(event, name(), now_ms),
    }
}

fn deployment_cells(deployment: &Deployment, name: Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&deployment.spec, &deployment.status);
    vec![
        name,
        format!("{}/{}", status.ready_replicas, deployment.replicas()).into(),
        status.updated_replicas.into(),
        status.available_replicas.into(),
        age,
        containers(&spec.template.spec),
        images(&spec.template.spec),
        pairs(&spec.selector.match_labels),
    ]
}

fn daemon_set_cells(set: &DaemonSet, name: Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&set.spec, &set.status);
    vec![
        name,
        status.desired_number_scheduled.into(),
        status.current_number_scheduled.into(),
        status.number_ready.into(),
        status.updated_number_scheduled.into(),
        status.number_available.into(),
        pairs(&spec.template.spec.node_selector),
        age,
        containers(&spec.template.spec),
        images(&spec.template.spec),
        pairs(&spec.selector.match_labels),
    ]
}

fn node_cells(node: &Node, name: Value, age: Value) -> Vec<Value> {
    let (status, info) = (&node.status, &node.status.node_info);
    let ready = status.conditions.iter().find(|condition| condition.kind == "Ready");
    let mut word = match ready.map(|condition| condition.status.as_str()) {
        Some("True") => "Ready".to_owned(),
        Some("False") => "NotReady".to_owned(),
        _ => "Unknown".to_owned(),
    };
    if node.spec.unschedulable {
        word.push_str(",SchedulingDisabled");
    }
    let usable = status.runtimes.iter().filter(|runtime| runtime.usable);
    let classes: BTreeSet<&str> = usable.map(|runtime| runtime.class.as_str()).collect();
    vec![
        name,
        word.into(),
        info.architecture.as_str().into(),
        joined(classes.into_iter()),
        age,
        info.kubelet_version.as_str().into(),
        or_none(node.metadata.labels.get(SITE_LABEL).map_or("", String::as_str)),
        info.operating_system.as_str().into(),
        info.kernel_version.as_str().into(),
    ]
}

fn pod_cells(of: &Pod, name: Value, age: Value) -> Vec<Value> {
    vec![
        name,
        pod::ready(of).into(),
        pod::status(of).into(),
        pod::restarts(of).into(),
        age,
        or_none(of.spec.node_name.as_deref().unwrap_or_default()),
        of.spec.runtime_class_name.as_deref().unwrap_or("crun").into(),
        images(&of.spec),
    ]
}

fn event_cells(event: &Event, name: Value, now_ms: u64) -> Vec<Value> {
    let last = event.last_timestamp.as_deref().or(event.first_timestamp.as_deref());
    let about = &event.involved_object;
    let source = match event.source.host.as_str() {
        "" => event.source.component.clone(),
        host => format!("{}, {host}", event.source.component),
    };
    vec![
        since(last, now_ms).into(),
        event.severity.as_str().into(),
        event.reason.as_str().into(),
        format!("{}/{}", about.kind.to_lowercase(), about.name).into(),
        event.message.as_str().into(),
        source.into(),
        event.count.into(),
        name,
    ]
}

fn containers(spec: &PodSpec) -> Value {
    joined(spec.containers.iter().map(|container| container.name.as_str()))
}

fn images(spec: &PodSpec) -> Value {
    joined(spec.containers.iter().map(|container| container.image.as_str()))
}

fn pairs(map: &Map) -> Value {
    let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
    joined(pairs.iter().map(String::as_str))
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> Value {
    or_none(&words.collect::<Vec<_>>().join(","))
}

fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}
