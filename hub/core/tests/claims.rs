//! Claims and StatefulSets: data stays on its device and keeps its Pods there, nothing is removed that is in use, and there
//! are never two Pods of one name. What a device does with its claims is the world's, which looks at each assignment.

mod world;

use lichen_hub_core::{
    api::{Kind, Object},
    effect::Response,
    event::Request,
};
use serde_json::{Value, json};
use world::World;

fn world(devices: &[&str]) -> World {
    let mut world = World::new();
    for device in devices {
        world.join(device, &[]);
    }
    world.push_image("db:1", "one");
    world
}

fn claim(name: &str, size: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}})
}

fn pod_spec(volumes: &Value) -> Value {
    json!({"containers": [{"name": "main", "image": "db:1",
        "volumeMounts": [{"name": "data", "mountPath": "/data"}]}], "volumes": volumes})
}

fn deployment(name: &str, claim: &str, replicas: u32) -> Value {
    let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]);
    json!({"metadata": {"name": name}, "spec": {"replicas": replicas,
        "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}}, "spec": pod_spec(&volumes)}}})
}

fn set(replicas: u32, more: &Value) -> Value {
    let mut set = json!({"metadata": {"name": "db"}, "spec": {"replicas": replicas, "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}, "spec": pod_spec(&json!([]))},
        "volumeClaimTemplates": [{"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data"}, "spec": claim("data", "1Mi")["spec"]}]}});
    for (key, value) in more.as_object().into_iter().flatten() {
        set["spec"][key] = value.clone();
    }
    set
}

fn json_of(object: &Object) -> Value {
    serde_json::to_value(object).expect("JSON")
}

fn get(world: &mut World, kind: Kind, name: &str) -> Option<Value> {
    let namespace = if kind.namespaced() { "default".into() } else { String::new() };
    let answer = world.request(Request::Get { kind, namespace, name: name.into() });
    match answer {
        Ok(Response::Object { object, .. }) => Some(json_of(&object)),
        _ => None,
    }
}

fn delete(world: &mut World, kind: Kind, name: &str) {
    let namespace = if kind.namespaced() { "default".into() } else { String::new() };
    world.request(Request::Delete { kind, namespace, name: name.into() }).expect("deletable");
}

/// Name, device and phase of each Pod.
fn pods(world: &mut World) -> Vec<String> {
    let line = |pod: &Object| {
        let pod = json_of(pod);
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let going = if pod["metadata"]["deletionTimestamp"].is_null() { "" } else { " going" };
        let (name, node) = (text(&pod["metadata"]["name"]), text(&pod["spec"]["nodeName"]));
        format!("{name} {node} {}{going}", text(&pod["status"]["phase"]))
    };
    world.list(Kind::Pod).iter().map(line).collect()
}

fn why(world: &mut World, pod: &str) -> String {
    let pod = get(world, Kind::Pod, pod).expect("it is there");
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let said = conditions.iter().map(|c| c["message"].as_str().unwrap_or_default());
    format!("{} {}", said.collect::<Vec<_>>().join(" "), pod["status"]["message"])
}

fn volumes(world: &mut World) -> Vec<Value> {
    world.list(Kind::PersistentVolume).iter().map(json_of).collect()
}

#[test]
fn a_claim_is_bound_with_the_first_pod_and_keeps_its_pods_on_that_device() {
    let mut world = world(&["a", "b"]);
    world.apply(Kind::PersistentVolumeClaim, &claim("data", "5Mi")).expect("taken");
    let pending = get(&mut world, Kind::PersistentVolumeClaim, "data").expect("there");
    assert_eq!(pending["status"], json!({"phase": "Pending"}));
    assert_eq!(pending["spec"]["storageClassName"], "lichen-local");
    world.apply(Kind::Deployment, &deployment("web", "data", 2)).expect("taken");
    // Both on the one device, although there is another one.
    let first = pods(&mut world);
    assert_eq!(first.len(), 2);
    let device = first[0].split(' ').nth(1).expect("a device").to_owned();
    assert!(first.iter().all(|pod| pod.contains(&format!(" {device} Running"))), "{first:?}");
    let bound = get(&mut world, Kind::PersistentVolumeClaim, "data").expect("there");
    assert_eq!(bound["status"]["phase"], "Bound");
    assert_eq!(bound["status"]["capacity"]["storage"], "5Mi");
    let volume = &volumes(&mut world)[0];
    let uid = bound["metadata"]["uid"].as_str().expect("a uid");
    assert_eq!(volume["metadata"]["name"], format!("pvc-{uid}"));
    assert_eq!(bound["spec"]["volumeName"], volume["metadata"]["name"]);
    let path = format!("/var/lib/lichen/claims/{}", uid.replace('-', ""));
    assert_eq!(volume["spec"]["local"]["path"], path);
    assert_eq!(volume["spec"]["claimRef"]["name"], "data");
    // The device is away for long: its Pods have no place elsewhere, and none is made there.
    world.leave(&device);
    world.pass(3600);
    let later = pods(&mut world);
    assert!(later.iter().all(|pod| pod.contains(&format!(" {device} "))), "{later:?}");
    world.restart();
    world.join(&device, &[]);
    assert_eq!(world.devices[&device].pods(), 2);
    assert_eq!(world.devices[&device].starts, 2, "nothing was started anew\n{}", world.story);
}

#[test]
fn a_claim_in_use_stays_until_its_pods_are_gone_and_its_data_goes_with_it() {
    let mut world = world(&["a"]);
    world.apply(Kind::PersistentVolumeClaim, &claim("data", "5Mi")).expect("taken");
    world.apply(Kind::Deployment, &deployment("web", "data", 1)).expect("taken");
    delete(&mut world, Kind::PersistentVolumeClaim, "data");
    let going = get(&mut world, Kind::PersistentVolumeClaim, "data").expect("protected");
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(going["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    assert_eq!(world.devices["a"].claims.len(), 1);
    // Its device is away when the last Pod goes: it is told when it is back.
    world.leave("a");
    delete(&mut world, Kind::Deployment, "web");
    world.pass(20 * 24 * 3600);
    assert!(get(&mut world, Kind::PersistentVolumeClaim, "data").is_some());
    world.restart();
    world.join("a", &[]);
    assert!(get(&mut world, Kind::PersistentVolumeClaim, "data").is_none());
    assert!(world.devices["a"].claims.is_empty(), "{}", world.story);
    assert_eq!(volumes(&mut world), Vec::<Value>::new());
}

#[test]
fn what_is_to_be_retained_stays_and_another_policy_lets_it_go() {
    let mut world = world(&["a"]);
    let class = json!({"metadata": {"name": "kept"}, "provisioner": "lichen.dev/local", "reclaimPolicy": "Retain"});
    world.apply(Kind::StorageClass, &class).expect("taken");
    let mut data = claim("data", "5Mi");
    data["spec"]["storageClassName"] = json!("kept");
    world.apply(Kind::PersistentVolumeClaim, &data).expect("taken");
    world.apply(Kind::Deployment, &deployment("web", "data", 1)).expect("taken");
    delete(&mut world, Kind::Deployment, "web");
    delete(&mut world, Kind::PersistentVolumeClaim, "data");
    let volume = volumes(&mut world).remove(0);
    assert_eq!(volume["status"]["phase"], "Released");
    assert_eq!(world.devices["a"].claims.len(), 1);
    let mut changed = volume.clone();
    changed["spec"]["persistentVolumeReclaimPolicy"] = json!("Delete");
    world.apply(Kind::PersistentVolume, &changed).expect("taken");
    assert!(world.devices["a"].claims.is_empty(), "{}", world.story);
    assert_eq!(volumes(&mut world), Vec::<Value>::new());
}

#[test]
fn a_claim_grows_as_far_as_its_device_has_room_and_never_shrinks() {
    let mut world = world(&["a"]);
    world.apply(Kind::PersistentVolumeClaim, &claim("data", "600Mi")).expect("taken");
    let error = world.apply(Kind::PersistentVolumeClaim, &claim("data", "700Mi"));
    assert!(error.expect_err("it is not bound").contains("immutable after creation"));
    world.apply(Kind::Deployment, &deployment("web", "data", 1)).expect("taken");
    world.apply(Kind::PersistentVolumeClaim, &claim("data", "700Mi")).expect("it may grow");
    let grown = get(&mut world, Kind::PersistentVolumeClaim, "data").expect("there");
    assert_eq!(grown["status"]["capacity"]["storage"], "700Mi");
    assert_eq!(volumes(&mut world)[0]["spec"]["capacity"]["storage"], "700Mi");
    assert_eq!(world.devices["a"].starts, 1, "nothing restarts");
    let error = world.apply(Kind::PersistentVolumeClaim, &claim("data", "600Mi"));
    assert!(error.expect_err("less").contains("field can not be less than status.capacity"));
    // The device has 1 GiB.
    let error = world.apply(Kind::PersistentVolumeClaim, &claim("data", "2Gi"));
    assert!(error.expect_err("no room").contains("a has"));
    world.apply(Kind::PersistentVolumeClaim, &claim("more", "600Mi")).expect("taken");
    world.apply(Kind::Deployment, &deployment("other", "more", 1)).expect("taken");
    let other =
        world.list(Kind::Pod).iter().map(json_of).find(|pod| pod["spec"]["nodeName"].is_null());
    let other =
        other.expect("it has no place")["metadata"]["name"].as_str().expect("a name").to_owned();
    let said = why(&mut world, &other);
    assert!(said.contains("has not enough storage left"), "{said}");
}

#[test]
fn a_pod_says_which_claim_it_waits_for() {
    let mut world = world(&["a"]);
    world.apply(Kind::Deployment, &deployment("web", "data", 1)).expect("taken");
    let name = world.list(Kind::Pod)[0].meta().name.clone();
    let said = why(&mut world, &name);
    assert!(
        said.contains("persistentvolumeclaim \\\"data\\\" not found")
            || said.contains("persistentvolumeclaim \"data\" not found"),
        "{said}"
    );
    let mut one = claim("data", "1Mi");
    one["spec"]["accessModes"] = json!(["ReadWriteOncePod"]);
    world.apply(Kind::PersistentVolumeClaim, &one).expect("taken");
    assert_eq!(world.devices["a"].pods(), 1, "{}", world.story);
    world.apply(Kind::Deployment, &deployment("second", "data", 1)).expect("taken");
    assert_eq!(world.devices["a"].pods(), 1);
    let second = pods(&mut world).into_iter().find(|pod| pod.starts_with("second")).expect("there");
    let said = why(&mut world, second.split(' ').next().expect("a name"));
    assert!(said.contains("is for one Pod (ReadWriteOncePod)"), "{said}");
    delete(&mut world, Kind::Deployment, "web");
    assert_eq!(world.devices["a"].pods(), 1);
    assert!(pods(&mut world)[0].contains("second"));
}

#[test]
fn what_this_hub_does_not_do_is_refused_by_name() {
    let mut world = world(&[]);
    let with = |path: &str, value: Value| {
        let mut claim = claim("data", "1Mi");
        claim["spec"][path] = value;
        claim
    };
    for (claim, expected) in [
        (with("volumeMode", json!("Block")), "spec.volumeMode: \"Block\" is not possible"),
        (with("storageClassName", json!("")), "spec.storageClassName: \"\" asks for"),
        (with("volumeName", json!("mine")), "spec.volumeName: can't be written by hand"),
        (with("accessModes", json!([])), "spec.accessModes: at least 1 access mode"),
        (with("resources", json!({})), "spec.resources.requests.storage: must be given"),
    ] {
        let error = world.apply(Kind::PersistentVolumeClaim, &claim).expect_err("refused");
        assert!(error.contains(expected), "{error}");
    }
    let class = json!({"metadata": {"name": "fast"}, "provisioner": "ebs.csi.aws.com"});
    let error = world.apply(Kind::StorageClass, &class).expect_err("refused");
    assert!(error.contains("provisioner: \"ebs.csi.aws.com\" is not one of this hub"), "{error}");
    let built_in = Request::Delete {
        kind: Kind::StorageClass,
        namespace: String::new(),
        name: "lichen-local".into(),
    };
    let error = world.request(built_in).expect_err("refused");
    assert!(error.contains("can't be deleted"), "{error}");
}

#[test]
fn the_pods_of_a_set_come_in_order_each_with_its_claim_and_go_from_the_end() {
    let mut world = world(&["a", "b"]);
    world.apply(Kind::StatefulSet, &set(3, &json!({}))).expect("taken");
    let names: Vec<String> = pods(&mut world);
    assert_eq!(names.len(), 3, "{names:?}\n{}", world.story);
    assert!(names.iter().all(|pod| pod.contains("Running")), "{names:?}");
    let starts: Vec<&str> = world.story.lines().filter(|line| line.contains(" starts ")).collect();
    let order: Vec<&str> = starts.iter().map(|line| &line[line.len() - 4..]).collect();
    assert_eq!(order, ["db-0", "db-1", "db-2"]);
    let claims: Vec<String> =
        world.list(Kind::PersistentVolumeClaim).iter().map(|c| c.meta().name.clone()).collect();
    assert_eq!(claims, ["data-db-0", "data-db-1", "data-db-2"]);
    let pod = get(&mut world, Kind::Pod, "db-1").expect("there");
    assert_eq!(pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"], "1");
    assert_eq!(pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"], "db-1");
    assert_eq!(pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], "data-db-1");
    world.apply(Kind::StatefulSet, &set(1, &json!({}))).expect("taken");
    let stops: Vec<&str> = world.story.lines().filter(|line| line.contains(" stops ")).collect();
    let order: Vec<&str> = stops.iter().map(|line| &line[line.len() - 4..]).collect();
    assert_eq!(order, ["db-2", "db-1"]);
    assert_eq!(world.list(Kind::PersistentVolumeClaim).len(), 3, "claims stay");
    let status = get(&mut world, Kind::StatefulSet, "db").expect("there")["status"].clone();
    assert_eq!((&status["replicas"], &status["readyReplicas"]), (&json!(1), &json!(1)));
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    // They come back to their data.
    let device = |pod: &Value| pod["spec"]["nodeName"].clone();
    world.apply(Kind::StatefulSet, &set(2, &json!({}))).expect("taken");
    assert_eq!(device(&get(&mut world, Kind::Pod, "db-1").expect("there")), device(&pod));
}

#[test]
fn an_update_goes_down_to_the_partition_one_pod_at_a_time() {
    let mut world = world(&["a"]);
    world.apply(Kind::StatefulSet, &set(3, &json!({}))).expect("taken");
    world.push_image("db:2", "two");
    let updated = |partition: u32| {
        let mut set = set(
            3,
            &json!({"updateStrategy": {"type": "RollingUpdate",
            "rollingUpdate": {"partition": partition}}}),
        );
        set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("db:2");
        set
    };
    world.story.clear();
    world.apply(Kind::StatefulSet, &updated(1)).expect("taken");
    let order: Vec<String> = world
        .story
        .lines()
        .filter(|line| line.contains(" starts ") || line.contains(" stops "))
        .map(|line| line.trim().to_owned())
        .collect();
    assert_eq!(order, ["a stops db-2", "a starts db-2", "a stops db-1", "a starts db-1"]);
    let status = get(&mut world, Kind::StatefulSet, "db").expect("there")["status"].clone();
    assert_eq!((&status["updatedReplicas"], &status["currentReplicas"]), (&json!(2), &json!(1)));
    assert_ne!(status["currentRevision"], status["updateRevision"]);
    // One below the partition is made again as it was.
    delete(&mut world, Kind::Pod, "db-0");
    let pod = get(&mut world, Kind::Pod, "db-0").expect("made again");
    assert_eq!(pod["spec"]["containers"][0]["image"], "db:1");
    world.apply(Kind::StatefulSet, &updated(0)).expect("taken");
    let status = get(&mut world, Kind::StatefulSet, "db").expect("there")["status"].clone();
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    assert_eq!(status["updatedReplicas"], 3);
}

#[test]
fn a_pod_of_a_lost_device_is_not_made_a_second_time() {
    let mut world = world(&["a", "b"]);
    let mut no_claims = set(2, &json!({"podManagementPolicy": "Parallel"}));
    no_claims["spec"]["volumeClaimTemplates"] = json!([]);
    no_claims["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = json!([]);
    world.apply(Kind::StatefulSet, &no_claims).expect("taken");
    let on_a = pods(&mut world).into_iter().find(|pod| pod.contains(" a ")).expect("spread");
    let name = on_a.split(' ').next().expect("a name").to_owned();
    world.leave("a");
    world.pass(24 * 3600);
    delete(&mut world, Kind::Pod, &name);
    world.pass(24 * 3600);
    let now = pods(&mut world);
    assert!(
        now.contains(&format!("{name} a Running going"))
            || now.iter().any(|p| p.starts_with(&format!("{name} a"))),
        "{now:?}"
    );
    assert_eq!(now.len(), 2);
    // Its device lets go of it, and it is made again.
    world.join("a", &[]);
    world.pass(60);
    let now = pods(&mut world);
    assert!(now.iter().all(|pod| pod.ends_with("Running")), "{now:?}\n{}", world.story);
    assert_eq!(now.len(), 2);
}

#[test]
fn claims_go_with_the_set_where_it_says_so() {
    let mut world = world(&["a"]);
    let policy = json!({"persistentVolumeClaimRetentionPolicy":
        {"whenScaled": "Delete", "whenDeleted": "Delete"}});
    world.apply(Kind::StatefulSet, &set(2, &policy)).expect("taken");
    assert_eq!(world.devices["a"].claims.len(), 2);
    world.apply(Kind::StatefulSet, &set(1, &policy)).expect("taken");
    assert_eq!(world.devices["a"].claims.len(), 1, "{}", world.story);
    delete(&mut world, Kind::StatefulSet, "db");
    assert!(world.devices["a"].claims.is_empty(), "{}", world.story);
    assert!(world.list(Kind::PersistentVolumeClaim).is_empty());
}

#[test]
fn an_update_goes_on_beside_a_device_that_is_away_and_replaces_each_pod_once() {
    let mut world = world(&["a", "b"]);
    world.apply(Kind::StatefulSet, &set(2, &json!({}))).expect("taken");
    let pod = get(&mut world, Kind::Pod, "db-1").expect("there");
    let away = pod["spec"]["nodeName"].as_str().expect("a device").to_owned();
    world.leave(&away);
    world.pass(3600);
    world.push_image("db:2", "two");
    let mut updated = set(2, &json!({}));
    updated["spec"]["template"]["spec"]["containers"][0]["image"] = json!("db:2");
    world.apply(Kind::StatefulSet, &updated).expect("taken");
    world.pass(3600);
    let image = |pod: &Value| pod["spec"]["containers"][0]["image"].clone();
    assert_eq!(image(&get(&mut world, Kind::Pod, "db-0").expect("there")), "db:2");
    world.join(&away, &[]);
    world.pass(3600);
    assert_eq!(image(&get(&mut world, Kind::Pod, "db-1").expect("there")), "db:2");
    let starts = world.story.lines().filter(|line| line.contains(" starts ")).count();
    assert_eq!(starts, 4, "two Pods, each replaced once\n{}", world.story);
}
