//! One row of a table for each kind of object.

use lichen_hub_core::api::{
    ConfigMap, DaemonSet, Deployment, Event, Kind, Namespace, Node, Object, Pod, meta::Map,
};

use crate::cli::{
    age::since,
    kinds,
    table::{Cell, Table},
    ui::Tone,
};

/// What a table shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    /// More columns.
    pub wide: bool,
    /// A column with the namespace.
    pub namespaces: bool,
    /// The kind in front of each name.
    pub kinds: bool,
    /// Now.
    pub now_s: u64,
}

/// The label that names a device's site.
const SITE: &str = "lichen.dev/site";

/// A table of objects of one kind.
#[must_use]
pub fn table(kind: Kind, objects: &[Object], view: View) -> Table {
    let (narrow, wide) = headings(kind);
    let mut all: Vec<&'static str> = Vec::new();
    if view.namespaces && kind.namespaced() {
        all.push("NAMESPACE");
    }
    all.extend(narrow);
    if view.wide {
        all.extend(wide);
    }
    let mut table = Table::new(&all);
    for object in objects {
        table.add(row(object, view));
    }
    table
}

/// Headings of every table, and those that `-o wide` adds.
fn headings(kind: Kind) -> (&'static [&'static str], &'static [&'static str]) {
    match kind {
        Kind::Node => (
            &["NAME", "STATUS", "SITE", "ARCH", "RUNTIMES", "AGE", "VERSION"],
            &["CPU", "MEMORY", "KERNEL", "ASSIGNMENT", "TAINTS"],
        ),
        Kind::Pod => (
            &["NAME", "READY", "STATUS", "RESTARTS", "NODE", "AGE"],
            &["IMAGE", "RUNTIME", "MESSAGE"],
        ),
        Kind::Deployment => (
            &["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"],
            &["IMAGE", "RUNTIME", "SELECTOR"],
        ),
        Kind::DaemonSet => (
            &["NAME", "DESIRED", "CURRENT", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"],
            &["NODE-SELECTOR", "IMAGE", "RUNTIME"],
        ),
        Kind::ConfigMap => (&["NAME", "DATA", "AGE"], &["LABELS"]),
        Kind::Namespace => (&["NAME", "STATUS", "AGE"], &["LABELS"]),
        Kind::Event => (&["LAST-SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"], &["COUNT", "FROM"]),
    }
}

fn row(object: &Object, view: View) -> Vec<Cell> {
    let mut cells = Vec::new();
    if view.namespaces && object.kind().namespaced() {
        cells.push(object.meta().namespace.as_str().into());
    }
    let (narrow, wide) = match object {
        Object::Node(node) => node_cells(node, view),
        Object::Pod(pod) => pod_cells(pod, view),
        Object::Deployment(deployment) => deployment_cells(deployment, view),
        Object::DaemonSet(set) => daemon_set_cells(set, view),
        Object::ConfigMap(map) => config_map_cells(map, view),
        Object::Namespace(namespace) => namespace_cells(namespace, view),
        Object::Event(event) => event_cells(event, view),
    };
    cells.extend(narrow);
    if view.wide {
        cells.extend(wide);
    }
    cells
}

type Cells = (Vec<Cell>, Vec<Cell>);

fn name(object_kind: Kind, name: &str, view: View) -> Cell {
    match view.kinds {
        true => format!("{}/{name}", kinds::singular(object_kind)).into(),
        false => name.into(),
    }
}

fn age(time: Option<&String>, view: View) -> Cell {
    since(time.map(String::as_str), view.now_s).into()
}

fn node_cells(node: &Node, view: View) -> Cells {
    let status = &node.status;
    let usable: Vec<&str> =
        status.runtimes.iter().filter(|r| r.usable).map(|r| r.name.as_str()).collect();
    let held = status.assignment.acknowledged;
    let wanted = status.assignment.desired;
    let assignment = if held == wanted { held.to_string() } else { format!("{held} of {wanted}") };
    let taints: Vec<String> =
        node.spec.taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect();
    let amount = |name: &str| status.capacity.get(name).map_or("", |amount| amount.0.as_str());
    (
        vec![
            name(Kind::Node, &node.metadata.name, view),
            node_state(node),
            or_none(node.metadata.labels.get(SITE).map_or("", String::as_str)),
            status.node_info.architecture.as_str().into(),
            or_none(&usable.join(",")),
            age(node.metadata.creation_timestamp.as_ref(), view),
            status.node_info.kubelet_version.as_str().into(),
        ],
        vec![
            amount("cpu").into(),
            amount("memory").into(),
            status.node_info.kernel_version.as_str().into(),
            assignment.into(),
            or_none(&taints.join(",")),
        ],
    )
}

fn node_state(node: &Node) -> Cell {
    let condition = |kind: &str| {
        let mut conditions = node.status.conditions.iter();
        conditions.find(|condition| condition.kind == kind).map(|c| c.status.as_str())
    };
    let (mut state, mut tone) = match condition("Ready") {
        Some("True") => ("Ready".to_owned(), Tone::Good),
        _ => ("NotReady".to_owned(), Tone::Bad),
    };
    if condition("Paused") == Some("True") {
        (state, tone) = (state + ",Paused", Tone::Bad);
    }
    if node.spec.unschedulable {
        state.push_str(",SchedulingDisabled");
    }
    Cell::toned(&state, tone)
}

/// One word for what a Pod does.
#[must_use]
pub fn pod_state(pod: &Pod) -> &str {
    let status = &pod.status;
    match (&pod.metadata.deletion_timestamp, status.reason.as_str()) {
        (Some(_), _) => "Terminating",
        (None, "") => &status.phase,
        (None, reason) => reason,
    }
}

fn pod_tone(pod: &Pod) -> Tone {
    match (pod_state(pod), pod.status.phase.as_str()) {
        ("Running" | "Completed" | "Succeeded", _) => Tone::Good,
        ("Terminating" | "Assigned" | "Fetching" | "ContainerCreating" | "Pending", _) => {
            Tone::Warn
        }
        (_, "Running" | "Failed") => Tone::Bad,
        _ => Tone::Warn,
    }
}

fn pod_cells(pod: &Pod, view: View) -> Cells {
    let containers = &pod.status.container_statuses;
    let ready = containers.iter().filter(|container| container.ready).count();
    let all = containers.len().max(pod.spec.containers.len());
    let restarts: u32 = containers.iter().map(|container| container.restart_count).sum();
    (
        vec![
            name(Kind::Pod, &pod.metadata.name, view),
            format!("{ready}/{all}").into(),
            Cell::toned(pod_state(pod), pod_tone(pod)),
            restarts.to_string().into(),
            or_none(pod.spec.node_name.as_deref().unwrap_or_default()),
            age(pod.metadata.creation_timestamp.as_ref(), view),
        ],
        vec![
            image(&pod.spec).into(),
            runtime(&pod.spec).into(),
            pod.status.message.as_str().into(),
        ],
    )
}

fn image(spec: &lichen_hub_core::api::core::pod::PodSpec) -> &str {
    spec.containers.first().map_or("", |container| container.image.as_str())
}

fn runtime(spec: &lichen_hub_core::api::core::pod::PodSpec) -> &str {
    spec.runtime_class_name.as_deref().unwrap_or("container")
}

/// A count that should reach another.
fn reached(count: u32, wanted: u32, text: String) -> Cell {
    Cell::toned(&text, if count >= wanted { Tone::Good } else { Tone::Warn })
}

fn deployment_cells(deployment: &Deployment, view: View) -> Cells {
    let status = &deployment.status;
    let wanted = deployment.replicas();
    let spec = &deployment.spec.template.spec;
    let ready = status.ready_replicas;
    (
        vec![
            name(Kind::Deployment, &deployment.metadata.name, view),
            reached(ready, wanted, format!("{ready}/{wanted}")),
            status.updated_replicas.to_string().into(),
            status.available_replicas.to_string().into(),
            age(deployment.metadata.creation_timestamp.as_ref(), view),
        ],
        vec![
            image(spec).into(),
            runtime(spec).into(),
            pairs(&deployment.spec.selector.match_labels).into(),
        ],
    )
}

fn daemon_set_cells(set: &DaemonSet, view: View) -> Cells {
    let status = &set.status;
    let spec = &set.spec.template.spec;
    let wanted = status.desired_number_scheduled;
    (
        vec![
            name(Kind::DaemonSet, &set.metadata.name, view),
            wanted.to_string().into(),
            status.current_number_scheduled.to_string().into(),
            reached(status.number_ready, wanted, status.number_ready.to_string()),
            status.updated_number_scheduled.to_string().into(),
            status.number_available.to_string().into(),
            age(set.metadata.creation_timestamp.as_ref(), view),
        ],
        vec![or_none(&pairs(&spec.node_selector)), image(spec).into(), runtime(spec).into()],
    )
}

fn config_map_cells(map: &ConfigMap, view: View) -> Cells {
    (
        vec![
            name(Kind::ConfigMap, &map.metadata.name, view),
            (map.data.len() + map.binary_data.len()).to_string().into(),
            age(map.metadata.creation_timestamp.as_ref(), view),
        ],
        vec![or_none(&pairs(&map.metadata.labels))],
    )
}

fn namespace_cells(namespace: &Namespace, view: View) -> Cells {
    (
        vec![
            name(Kind::Namespace, &namespace.metadata.name, view),
            namespace.status.phase.as_str().into(),
            age(namespace.metadata.creation_timestamp.as_ref(), view),
        ],
        vec![or_none(&pairs(&namespace.metadata.labels))],
    )
}

fn event_cells(event: &Event, view: View) -> Cells {
    let object = &event.involved_object;
    let tone = if event.severity == "Normal" { Tone::Plain } else { Tone::Warn };
    let source = match event.source.host.as_str() {
        "" => event.source.component.clone(),
        host => format!("{}, {host}", event.source.component),
    };
    (
        vec![
            age(event.last_timestamp.as_ref(), view),
            Cell::toned(&event.severity, tone),
            event.reason.as_str().into(),
            format!("{}/{}", object.kind.to_ascii_lowercase(), object.name).into(),
            event.message.as_str().into(),
        ],
        vec![event.count.to_string().into(), source.into()],
    )
}

fn or_none(text: &str) -> Cell {
    if text.is_empty() { Cell::toned("<none>", Tone::Dim) } else { text.into() }
}

/// `a=b,c=d`.
fn pairs(map: &Map) -> String {
    map.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::ui::Ui;

    fn check(kind: Kind, items: &[Value], view: View, expected: &str) {
        let objects: Vec<Object> = items
            .iter()
            .map(|item| Object::from_json(kind, item.to_string().as_bytes()).expect("an object"))
            .collect();
        let (ui, _, _) = Ui::captured();
        let lines = table(kind, &objects, view).lines(&ui);
        assert_eq!(lines.join("\n"), expected.trim_start_matches('\n'));
        assert!(view.wide || lines.iter().all(|line| line.chars().count() <= 100), "100 columns");
    }

    fn pod(name: &str, status: Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"nodeName": "pi-7", "runtimeClassName": "wasm", "containers": [{"name": "main", "image": "hello:1"}]},
            "status": status,
        })
    }

    #[test]
    fn pods_say_what_they_do_and_where() {
        let running = pod(
            "web-7c9f8d-x2k4p",
            json!({"phase": "Running", "containerStatuses":
            [{"name": "main", "ready": true, "restartCount": 2}]}),
        );
        let waiting = pod(
            "web-7c9f8d-b8s2m",
            json!({"phase": "Pending", "reason": "ImageUnknown",
            "message": "the hub has no image hello:1"}),
        );
        let mut going = running.clone();
        going["metadata"]["name"] = "web-old".into();
        going["metadata"]["deletionTimestamp"] = "1970-01-01T00:01:00Z".into();
        let pods = [running, waiting, going];
        let view = View { now_s: 42, ..View::default() };
        check(
            Kind::Pod,
            &pods,
            view,
            "
NAME               READY   STATUS         RESTARTS   NODE   AGE
web-7c9f8d-x2k4p   1/1     Running        2          pi-7   42s
web-7c9f8d-b8s2m   0/1     ImageUnknown   0          pi-7   42s
web-old            1/1     Terminating    2          pi-7   42s",
        );
        let view = View { wide: true, namespaces: true, kinds: true, now_s: 42 };
        check(Kind::Pod, &pods[1..2], view, "
NAMESPACE   NAME                   READY   STATUS         RESTARTS   NODE   AGE   IMAGE     RUNTIME   MESSAGE
shop        pod/web-7c9f8d-b8s2m   0/1     ImageUnknown   0          pi-7   42s   hello:1   wasm      the hub has no image hello:1");
    }

    #[test]
    fn nodes_say_whether_they_are_there_and_what_they_can_run() {
        let node = |name: &str, ready: &str, runtimes: Value| {
            json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": name, "labels": {"lichen.dev/site": "north"},
                    "creationTimestamp": "1970-01-01T00:00:00Z"},
                "status": {"conditions": [{"type": "Ready", "status": ready}], "runtimes": runtimes,
                    "nodeInfo": {"architecture": "arm64", "kubeletVersion": "0.1.0"},
                    "assignment": {"desired": 4, "acknowledged": 3}},
            })
        };
        let both = json!([{"name": "crun", "usable": true}, {"name": "wasmtime", "usable": true}]);
        let nodes = [node("pi-7", "True", both), node("pi-8", "Unknown", json!([]))];
        let view = View { now_s: 7200, ..View::default() };
        check(
            Kind::Node,
            &nodes,
            view,
            "
NAME   STATUS     SITE    ARCH    RUNTIMES        AGE    VERSION
pi-7   Ready      north   arm64   crun,wasmtime   120m   0.1.0
pi-8   NotReady   north   arm64   <none>          120m   0.1.0",
        );
    }

    #[test]
    fn workloads_say_how_far_they_are() {
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers":
            [{"name": "main", "image": "hello:1"}], "nodeSelector": {"lichen.dev/site": "north"}}});
        let selector = json!({"matchLabels": {"app": "web"}});
        let meta = json!({"name": "web", "namespace": "shop", "creationTimestamp": "1970-01-01T00:00:00Z"});
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
            "spec": {"replicas": 3, "selector": selector, "template": template},
            "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}});
        let view = View { now_s: 600, wide: true, ..View::default() };
        check(
            Kind::Deployment,
            &[deployment],
            view,
            "
NAME   READY   UP-TO-DATE   AVAILABLE   AGE   IMAGE     RUNTIME     SELECTOR
web    2/3     3            2           10m   hello:1   container   app=web",
        );
        let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta,
            "spec": {"selector": selector, "template": template},
            "status": {"desiredNumberScheduled": 2, "currentNumberScheduled": 2, "numberReady": 1,
                "numberAvailable": 1, "updatedNumberScheduled": 2}});
        check(Kind::DaemonSet, &[set], view, "
NAME   DESIRED   CURRENT   READY   UP-TO-DATE   AVAILABLE   AGE   NODE-SELECTOR           IMAGE     RUNTIME
web    2         2         1       2            1           10m   lichen.dev/site=north   hello:1   container");
    }

    #[test]
    fn events_say_what_happened_last() {
        let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "shop"},
            "involvedObject": {"kind": "Pod", "name": "web-1"}, "reason": "Started", "type": "Normal",
            "message": "started on pi-7", "lastTimestamp": "1970-01-01T00:00:30Z", "count": 3,
            "source": {"component": "agent", "host": "pi-7"}});
        check(
            Kind::Event,
            &[event],
            View { now_s: 42, wide: true, ..View::default() },
            "
LAST-SEEN   TYPE     REASON    OBJECT      MESSAGE           COUNT   FROM
12s         Normal   Started   pod/web-1   started on pi-7   3       agent, pi-7",
        );
    }
}
