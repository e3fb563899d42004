//! Stories of the hub, as text: each file under `scenarios/` holds commands (`$ …`) and, below each, what happened.
//! `UPDATE_SCENARIOS=1 cargo test -p lichen-hub-core --test scenarios` writes what happens now; read the difference.

mod world;

use std::{fs, path::PathBuf};

use firmware_compat::{
    frame::Kind as FrameKind,
    id::{AgentId, BootId},
};
use lichen_hub_core::{
    api::{KINDS, Kind, Object},
    effect::Response,
    event::{Board, Event, Request},
};
use serde_json::json;
use world::{World, work};

fn run(script: &str) -> String {
    let mut world = World::new();
    let mut backup = Vec::new();
    for line in script.lines() {
        let Some(command) = line.strip_prefix("$ ") else {
            if line.starts_with('#') || line.is_empty() {
                world.say(line);
            }
            continue;
        };
        world.say(line);
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["join", name, settings @ ..] => world.join(name, settings),
            ["leave", name] => world.leave(name),
            ["fall-back", name] => world.fall_back(name),
            ["crash", pattern] => world.crash(Some((*pattern).to_string())),
            ["lose-part", name, part] => {
                world.report_in_parts(name, part.parse().expect("a number"))
            }
            ["reconnect-unheard", name] => world.reconnect_unheard(name),
            ["taint", name, effect] => taint(&mut world, name, effect),
            // A hello of another protocol version, or one that does not decode.
            ["speak", name, version] => {
                world.garble(name, FrameKind::Hello, 0, version.parse().expect("a number"));
            }
            // Where the text of its version begins: it is cut short.
            ["garble", name] => world.garble(name, FrameKind::Hello, 42, 0xff),
            // The hub has other signing keys, newest first.
            ["keys", numbers @ ..] => {
                let numbers: Vec<u8> =
                    numbers.iter().map(|number| number.parse().expect("a number")).collect();
                world.change_keys(&numbers);
            }
            ["clock", hours] => {
                world.clock_off = hours.parse::<i64>().expect("a number") * 3_600_000;
            }
            ["events", pattern] => events(&mut world, pattern),
            ["lossy", name, on] => {
                world.devices.get_mut(*name).expect("it is there").lossy = *on == "yes";
            }
            ["overtakes", name, on] => {
                world.devices.get_mut(*name).expect("it is there").overtakes = *on == "yes";
            }
            ["silent", name, on] => {
                world.devices.get_mut(*name).expect("it is there").silent = *on == "yes";
            }
            ["link-drops", name] => {
                world.event(Event::FramesLost { device: (*name).into() });
            }
            ["two-boards", name, boots @ ..] => two_boards(&mut world, name, boots),
            ["stall", name] => world.stall(name),
            ["go-on", name] => world.go_on(name),
            ["repeat", times, rest @ ..] => repeat(&mut world, times, rest),
            ["last-word", name] => world.last_word(name),
            ["stopped", name] => world.stopped(name),
            ["heal"] => world.crash(None),
            ["forget", reference] => {
                let forgotten =
                    world.request(Request::ForgetImage { reference: (*reference).into() });
                world.say(forgotten.map_or_else(|e| format!("error: {e}"), |_| "forgotten".into()));
            }
            ["images"] => images(&mut world),
            ["push", reference, content] => world.push_image(reference, content),
            ["wait", seconds] => world.pass(seconds.parse().expect("seconds")),
            ["restart", "hub"] => world.restart(),
            ["backup", "hub"] => backup = world.backup(),
            ["restore", "hub"] => world.restore(backup.clone()),
            ["deployment", name, settings @ ..] => {
                apply(&mut world, Kind::Deployment, name, settings)
            }
            ["daemonset", name, settings @ ..] => {
                apply(&mut world, Kind::DaemonSet, name, settings)
            }
            ["replace", "deployment", name, settings @ ..] => {
                let object = workload(Kind::Deployment, name, settings);
                world.replace(Kind::Deployment, &object);
            }
            ["replace", "daemonset", name, settings @ ..] => {
                let object = workload(Kind::DaemonSet, name, settings);
                world.replace(Kind::DaemonSet, &object);
            }
            ["pod", name, settings @ ..] => {
                answer(&mut world, Kind::Pod, &work::pod(name, settings));
            }
            ["job", name, settings @ ..] => {
                answer(&mut world, Kind::Job, &work::job(name, settings));
            }
            ["jobs"] => world.say_jobs(),
            ["ends", prefix] => world.end(prefix, true),
            ["fails", prefix] => world.end(prefix, false),
            ["configmap", name, text] => {
                let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": name}, "data": {"text": text}});
                answer(&mut world, Kind::ConfigMap, &map);
            }
            ["secret", name, pairs @ ..] => secret(&mut world, name, pairs),
            ["enrol", name] => world.enrol(name),
            ["rekey", name, number] => world.rekey(name, number.parse().expect("a number")),
            ["sees", name] => world.sees(name, 0),
            ["sees", name, "with", number] => world.sees(name, number.parse().expect("a number")),
            ["delete", kind, name] => delete(&mut world, kind, name),
            ["resume", name] => {
                let result = world.resume(name);
                world.say(result.map_or_else(|e| format!("error: {e}"), |_| "resumed".into()));
            }
            ["explain", kind, name] => explain(&mut world, kind, name),
            ["status", kind, name] => status(&mut world, kind, name),
            ["pods"] => pods(&mut world),
            ["revisions"] => revisions(&mut world),
            ["nodes"] => nodes(&mut world),
            _ => panic!("unknown command {command}"),
        }
    }
    check_uids(&mut world);
    world.story
}

/// The link notices two boards with one name. Each has a boot, and the address of that number.
fn two_boards(world: &mut World, name: &str, boots: &[&str]) {
    let boards = [0, 1].map(|place| {
        let boot: u8 = boots[place].parse().expect("a number");
        let (agent, boot) = (AgentId([1; 16]), BootId([boot; 16]));
        Board { agent, boot, address: format!("10.0.0.{}", boots[place]) }
    });
    world.event(Event::TwoBoards { device: name.to_owned(), boards });
}

/// Deletes and declares a workload again, or changes it, so many times.
fn repeat(world: &mut World, times: &str, what: &[&str]) {
    for round in 0..times.parse().expect("a number") {
        let colour = format!("ROUND={round}");
        match what {
            ["delete-and-apply", kind, name] => {
                delete(world, kind, name);
                apply(world, kind_of(kind), name, &[]);
            }
            ["update", kind, name] => apply(world, kind_of(kind), name, &[&colour]),
            _ => panic!("unknown command {what:?}"),
        }
    }
}

/// Declares a Secret; no frame may hold its values from then on.
fn secret(world: &mut World, name: &str, pairs: &[&str]) {
    let mut data = json!({});
    for pair in pairs {
        let (key, value) = pair.split_once('=').expect("key=value");
        data[key] = value.into();
        world.secrets.push(value.to_owned());
    }
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    answer(world, Kind::Secret, &secret);
}

fn apply(world: &mut World, kind: Kind, name: &str, settings: &[&str]) {
    answer(world, kind, &workload(kind, name, settings));
}

fn workload(kind: Kind, name: &str, settings: &[&str]) -> serde_json::Value {
    let mut container = json!({"name": "main", "image": "hello:1"});
    let mut spec = json!({"containers": []});
    let mut replicas = 1;
    let mut more = json!({});
    let strategy = if kind == Kind::Deployment { "strategy" } else { "updateStrategy" };
    for setting in settings {
        let (key, value) = setting.split_once('=').expect("key=value");
        match key {
            "strategy" => more[strategy]["type"] = value.into(),
            "unavailable" => more[strategy]["rollingUpdate"]["maxUnavailable"] = amount(value),
            "surge" => more[strategy]["rollingUpdate"]["maxSurge"] = amount(value),
            "min-ready" => more["minReadySeconds"] = amount(value),
            "deadline" => more["progressDeadlineSeconds"] = amount(value),
            "paused" => more["paused"] = (value == "yes").into(),
            "host-port" => {
                spec["hostNetwork"] = true.into();
                container["ports"] = json!([{"containerPort": amount(value)}]);
            }
            "replicas" => replicas = value.parse().expect("a number"),
            "image" => container["image"] = value.into(),
            "init" => {
                spec["initContainers"] = json!([{"name": value, "image": "hello:1"}]);
            }
            "memory" => container["resources"] = json!({"requests": {"memory": value}}),
            "runtime" => spec["runtimeClassName"] = value.into(),
            "node" => spec["nodeName"] = value.into(),
            "selector" => {
                let (k, v) = value.split_once(':').expect("k:v");
                spec["nodeSelector"] = json!({k: v});
            }
            "config" => {
                spec["volumes"] = json!([{"name": "c", "configMap": {"name": value}}]);
                container["volumeMounts"] = json!([{"name": "c", "mountPath": "/c"}]);
            }
            "secret" => {
                spec["volumes"] =
                    json!([{"name": "s", "secret": {"secretName": value, "defaultMode": 0o400}}]);
                container["volumeMounts"] = json!([{"name": "s", "mountPath": "/s"}]);
            }
            "secret-env" | "config-env" => {
                let [variable, of, which] =
                    value.split(':').collect::<Vec<_>>().try_into().expect("VARIABLE:name:key");
                let (which, optional) =
                    which.strip_suffix('?').map_or((which, false), |key| (key, true));
                let of = json!({"name": of, "key": which, "optional": optional});
                let kind = if key == "secret-env" { "secretKeyRef" } else { "configMapKeyRef" };
                push(&mut container["env"], json!({"name": variable, "valueFrom": {kind: of}}));
            }
            "field" | "resource" => {
                let (variable, of) = value.split_once(':').expect("VARIABLE:path");
                let from = match key {
                    "field" => json!({"fieldRef": {"fieldPath": of}}),
                    _ => json!({"resourceFieldRef": {"resource": of, "divisor": "1"}}),
                };
                push(&mut container["env"], json!({"name": variable, "valueFrom": from}));
            }
            // Files of a ConfigMap, of a Secret, and about the Pod, in one volume.
            "projected" => {
                let (map, secret) = value.split_once(':').expect("map:secret");
                let about = json!([
                    {"path": "about/name", "fieldRef": {"fieldPath": "metadata.name"}},
                    {"path": "about/labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                    {"path": "cpus", "mode": 0o400,
                        "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu"}},
                ]);
                spec["volumes"] = json!([{"name": "all", "projected": {"sources": [
                    {"configMap": {"name": map}},
                    {"secret": {"name": secret, "optional": true}},
                    {"downwardAPI": {"items": about}},
                ]}}]);
                container["volumeMounts"] = json!([{"name": "all", "mountPath": "/all"}]);
            }
            "secret-all" | "config-all" => {
                let kind = if key == "secret-all" { "secretRef" } else { "configMapRef" };
                push(&mut container["envFrom"], json!({"prefix": "P_", kind: {"name": value}}));
            }
            // Fills that many KiB of the assignment.
            "fill" => {
                let words: usize = value.parse().expect("a number");
                container["args"] = vec!["x".repeat(1024); words].into();
            }
            "patience" => {
                let seconds: u32 = value.parse().expect("a number");
                spec["tolerations"] = json!([{"key": "node.kubernetes.io/unreachable",
                    "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]);
            }
            _ => push(&mut container["env"], json!({"name": key, "value": value})),
        }
    }
    spec["containers"] = json!([container]);
    let mut object = json!({"apiVersion": "apps/v1", "kind": kind.as_str(), "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec}}});
    if kind == Kind::Deployment {
        object["spec"]["replicas"] = replicas.into();
    }
    for (field, value) in more.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    object
}

fn push(list: &mut serde_json::Value, item: serde_json::Value) {
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut().expect("a list").push(item);
}

/// A number, or a percentage.
fn amount(text: &str) -> serde_json::Value {
    text.parse::<u32>().map_or_else(|_| text.into(), Into::into)
}

fn answer(world: &mut World, kind: Kind, object: &serde_json::Value) {
    match world.apply(kind, object) {
        Ok(_) => {}
        Err(error) => world.say(format!("error: {error}")),
    }
}

fn taint(world: &mut World, name: &str, effect: &str) {
    let nodes = world.list(Kind::Node);
    let mut node = nodes.into_iter().find(|node| node.meta().name == name).expect("it is there");
    if let Object::Node(node) = &mut node {
        node.spec.taints = serde_json::from_value(json!([{"key": "lab", "effect": effect}]))
            .expect("a good taint");
    }
    let replaced = world.request(Request::Replace { object: node, create: false });
    world.say(replaced.map_or_else(|e| format!("error: {e}"), |_| "tainted".into()));
}

fn status(world: &mut World, kind: &str, name: &str) {
    let objects = world.list(kind_of(kind));
    let object = objects.into_iter().find(|object| object.meta().name == name);
    let Some(Object::Deployment(deployment)) = object else { return };
    let status = &deployment.status;
    world.say(format!(
        "  {} Pods, {} updated, {} ready, {} available",
        status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas
    ));
    for condition in &status.conditions {
        world.say(format!("  {}={} ({})", condition.kind, condition.status, condition.reason));
    }
}

fn kind_of(word: &str) -> Kind {
    KINDS.iter().copied().find(|kind| kind.as_str().eq_ignore_ascii_case(word)).expect("a kind")
}

fn delete(world: &mut World, kind: &str, name: &str) {
    let request =
        Request::Delete { kind: kind_of(kind), namespace: "default".into(), name: name.into() };
    if let Err(error) = world.request(request) {
        world.say(format!("error: {error}"));
    }
}

fn explain(world: &mut World, kind: &str, name: &str) {
    let request =
        Request::Explain { kind: kind_of(kind), namespace: "default".into(), name: name.into() };
    match world.request(request) {
        Ok(Response::Explanation(lines)) => {
            for line in lines {
                let mark = if line.good { "+" } else { "-" };
                world.say(format!("  {}{mark} {}", "  ".repeat(line.depth.into()), line.text));
            }
        }
        other => world.say(format!("error: {other:?}")),
    }
}

fn pods(world: &mut World) {
    for object in world.list(Kind::Pod) {
        let Object::Pod(pod) = object else { continue };
        let going = if pod.metadata.deletion_timestamp.is_some() { " (going)" } else { "" };
        world.say(format!(
            "  {} on {}: {}{}{going}",
            pod.metadata.name,
            pod.spec.node_name.as_deref().unwrap_or("-"),
            pod.status.phase,
            if pod.status.reason.is_empty() {
                String::new()
            } else {
                format!(" ({})", pod.status.reason)
            },
        ));
    }
}

fn revisions(world: &mut World) {
    for object in world.list(Kind::ReplicaSet) {
        let Object::ReplicaSet(set) = object else { continue };
        world.say(format!(
            "  {} is revision {}: {} of {} Pods ready",
            set.metadata.name,
            set.metadata.annotations["deployment.kubernetes.io/revision"],
            set.status.ready_replicas,
            set.spec.replicas,
        ));
    }
    for object in world.list(Kind::ControllerRevision) {
        let Object::ControllerRevision(saved) = object else { continue };
        world.say(format!("  {} is revision {}", saved.metadata.name, saved.revision));
    }
}

fn images(world: &mut World) {
    let Ok(Response::Images(images)) = world.request(Request::ListImages) else { return };
    for image in images {
        let users: Vec<String> = image.used_by.iter().map(ToString::to_string).collect();
        world.say(format!("  {}: {}", image.reference, users.join(", ")));
    }
}

/// Every event about an object that is still there carries a uid.
fn check_uids(world: &mut World) {
    for kind in [Kind::Pod, Kind::Node, Kind::Deployment, Kind::DaemonSet, Kind::Job] {
        for object in world.list(kind) {
            let meta = object.meta().clone();
            let about = |event: &Object| match event {
                Object::Event(event) => {
                    let about = &event.involved_object;
                    let same = (about.kind.as_str(), &about.namespace, &about.name)
                        == (kind.as_str(), &meta.namespace, &meta.name);
                    same.then(|| about.uid.clone())
                }
                _ => None,
            };
            for uid in world.list(Kind::Event).iter().filter_map(about) {
                assert!(!uid.is_empty(), "{kind} {} has an event without uid", meta.name);
            }
        }
    }
}

/// Events whose reason contains a pattern.
fn events(world: &mut World, pattern: &str) {
    for object in world.list(Kind::Event) {
        let Object::Event(event) = object else { continue };
        if event.reason.contains(pattern) {
            let about = &event.involved_object;
            world.say(format!(
                "  {} {} {} x{}: {}",
                about.kind, about.name, event.reason, event.count, event.message
            ));
        }
    }
}

fn nodes(world: &mut World) {
    for object in world.list(Kind::Node) {
        let Object::Node(node) = object else { continue };
        let conditions: Vec<_> = node
            .status
            .conditions
            .iter()
            .map(|c| format!("{}={} ({})", c.kind, c.status, c.reason))
            .collect();
        world.say(format!(
            "  {}: {}, generation {} of {}",
            node.metadata.name,
            conditions.join(", "),
            node.status.assignment.acknowledged,
            node.status.assignment.desired
        ));
    }
}

#[test]
fn every_scenario_happens_as_recorded() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let update = std::env::var_os("UPDATE_SCENARIOS").is_some();
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        let recorded = fs::read_to_string(&path).expect("it can be read");
        let happened = run(&recorded);
        if update {
            fs::write(&path, &happened).expect("it can be written");
        } else {
            assert_eq!(happened, recorded, "{}", path.display());
        }
        count += 1;
    }
    assert!(count >= 8, "the scenarios are there");
}
