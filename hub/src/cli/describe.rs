//! `lichen describe`: everything about an object that a person may want to know, ending with why it is as it is.

mod lines;

use lichen_hub_core::api::{
    ConfigMap, DaemonSet, Deployment, Event, Kind, Namespace, Node, Object, ObjectMeta, Pod,
};

use super::{
    Context,
    age::{now_s, since},
    args::NamedArgs,
    error::CliError,
    explain, get,
    kinds::{self, DEFAULT_NAMESPACE},
};
use lines::{Lines, container, container_status, template};

/// Runs the command.
///
/// # Errors
/// There is no such object, or the hub can't be reached.
pub fn run(context: &mut Context, args: &NamedArgs) -> Result<(), CliError> {
    let namespace = args.namespace.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let keys = kinds::objects(&args.words, namespace, "describe")?;
    for (index, key) in keys.iter().enumerate() {
        if index > 0 {
            context.ui.line("\n")?;
        }
        let (_, object) = context.must_read(key)?;
        let mut lines = Lines::default();
        describe(&object, &mut lines);
        for line in lines.into_text() {
            context.ui.line(&line)?;
        }
        if matches!(key.kind, Kind::Deployment | Kind::DaemonSet | Kind::Pod | Kind::Node) {
            context.ui.line("Explanation:")?;
            for line in explain::lines(context, key)? {
                let line = format!("  {}", explain::shown(context, &line));
                context.ui.line(&line)?;
            }
        }
    }
    Ok(())
}

fn describe(object: &Object, lines: &mut Lines) {
    meta(object.meta(), lines);
    match object {
        Object::Node(node) => describe_node(node, lines),
        Object::Pod(pod) => describe_pod(pod, lines),
        Object::Deployment(deployment) => describe_deployment(deployment, lines),
        Object::DaemonSet(set) => describe_daemon_set(set, lines),
        Object::ConfigMap(map) => describe_config_map(map, lines),
        Object::Namespace(namespace) => describe_namespace(namespace, lines),
        Object::Event(event) => describe_event(event, lines),
    }
}

fn meta(meta: &ObjectMeta, lines: &mut Lines) {
    lines.field("Name", &meta.name);
    lines.field("Namespace", &meta.namespace);
    lines.map("Labels", &meta.labels);
    lines.map("Annotations", &meta.annotations);
    if let Some(created) = &meta.creation_timestamp {
        let age = since(Some(created), now_s());
        lines.field("Created", &format!("{created} ({age} ago)"));
    }
    if let Some(deleted) = &meta.deletion_timestamp {
        lines.field("Deleted", &format!("{deleted}; it goes when its device has let go of it"));
    }
    if let Some(owner) = meta.owner_references.first() {
        lines.field("Owner", &format!("{}/{}", owner.kind.to_ascii_lowercase(), owner.name));
    }
}

fn describe_node(node: &Node, lines: &mut Lines) {
    let status = &node.status;
    let info = &status.node_info;
    let taints: Vec<String> = node
        .spec
        .taints
        .iter()
        .map(|taint| format!("{}={}:{}", taint.key, taint.value, taint.effect))
        .collect();
    lines.list("Taints", &taints);
    lines.field("Schedulable", if node.spec.unschedulable { "no" } else { "yes" });
    lines.heading("Conditions");
    for condition in &status.conditions {
        let since = condition.last_transition_time.as_deref().unwrap_or_default();
        let text = format!("{}: {} since {since}", condition.status, condition.message);
        lines.inner(&condition.kind, text.trim_end_matches(" since "));
    }
    lines.heading("System");
    lines.inner("Architecture", &info.architecture);
    lines.inner("Kernel", &format!("{} {}", info.operating_system, info.kernel_version));
    lines.inner("Agent", &info.kubelet_version);
    lines.inner("Boot", &info.boot_id);
    lines.inner("Wasm", &info.wasm);
    lines.heading("Capacity");
    for (name, amount) in &status.capacity {
        lines.inner(name, &amount.0);
    }
    lines.heading("Assignment");
    lines.inner("Wanted", &format!("generation {}", status.assignment.desired));
    lines.inner("Held", &format!("generation {}", status.assignment.acknowledged));
}

fn describe_pod(pod: &Pod, lines: &mut Lines) {
    let status = &pod.status;
    lines.field("Node", pod.spec.node_name.as_deref().unwrap_or("none yet"));
    lines.field("Status", get::pod_state(pod));
    lines.field("Message", &status.message);
    if let Some(started) = &status.start_time {
        lines.field("Started", started);
    }
    lines.field("Runtime", pod.spec.runtime_class_name.as_deref().unwrap_or("container"));
    for spec in &pod.spec.containers {
        lines.heading(&format!("Container {}", spec.name));
        if let Some(status) = status.container_statuses.iter().find(|s| s.name == spec.name) {
            container_status(status, lines);
        }
        container(spec, lines);
    }
    lines::volumes(&pod.spec, lines);
    lines::placement(&pod.spec, lines);
}

fn describe_deployment(deployment: &Deployment, lines: &mut Lines) {
    let status = &deployment.status;
    lines.map("Selector", &deployment.spec.selector.match_labels);
    lines.field(
        "Replicas",
        &format!(
            "{} wanted, {} exist, {} of the newest template, {} run",
            deployment.replicas(),
            status.replicas,
            status.updated_replicas,
            status.ready_replicas
        ),
    );
    template(&deployment.spec.template, lines);
}

fn describe_daemon_set(set: &DaemonSet, lines: &mut Lines) {
    let status = &set.status;
    lines.map("Selector", &set.spec.selector.match_labels);
    lines.field(
        "Devices",
        &format!(
            "{} should run it, {} have it, {} with the newest template, {} run it",
            status.desired_number_scheduled,
            status.current_number_scheduled,
            status.updated_number_scheduled,
            status.number_ready
        ),
    );
    template(&set.spec.template, lines);
}

fn describe_config_map(map: &ConfigMap, lines: &mut Lines) {
    lines.heading("Data");
    for (name, text) in &map.data {
        lines.inner(name, &format!("{} bytes", text.len()));
        for line in text.lines() {
            lines.raw(line);
        }
    }
    for name in map.binary_data.keys() {
        lines.inner(name, "binary");
    }
}

fn describe_namespace(namespace: &Namespace, lines: &mut Lines) {
    lines.field("Status", &namespace.status.phase);
}

fn describe_event(event: &Event, lines: &mut Lines) {
    let object = &event.involved_object;
    lines.field("Object", &format!("{}/{}", object.kind.to_ascii_lowercase(), object.name));
    lines.field("Type", &event.severity);
    lines.field("Reason", &event.reason);
    lines.field("Message", &event.message);
    lines.field("Count", &event.count.to_string());
    lines.field("First", event.first_timestamp.as_deref().unwrap_or_default());
    lines.field("Last", event.last_timestamp.as_deref().unwrap_or_default());
}
