//! Whatever happened before, once every device is there and nothing more is asked, exactly what was declared runs; and
//! what did not have to restart did not.

mod world;

use std::collections::BTreeMap;

use lichen_hub_core::api::{Kind, Object};
use proptest::prelude::*;
use serde_json::json;
use world::World;

const DEVICES: [&str; 4] = ["a", "b", "c", "d"];
const NAMES: [&str; 3] = ["one", "two", "three"];

#[derive(Clone, Debug)]
enum Step {
    Join(usize),
    Leave(usize),
    Deploy {
        name: usize,
        replicas: u32,
        colour: u8,
    },
    Everywhere {
        name: usize,
        colour: u8,
    },
    Delete {
        name: usize,
        everywhere: bool,
    },
    /// Deleted and declared again in one turn, if it is there.
    Replace {
        name: usize,
        everywhere: bool,
        colour: u8,
    },
    Config(u8),
    /// So many changes of what Pods read, each of which is a generation for the devices that can be heard.
    Churn(u8),
    Wait(u16),
    /// A device's reports are lost, until they are not.
    Lossy(usize, bool),
    /// What a device is told to stop goes on, until it is told to end.
    SlowToStop(usize, bool),
    RestartHub,
    BackUp,
    Restore,
    Resume(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4usize).prop_map(Step::Join),
        3 => (0..4usize).prop_map(Step::Leave),
        4 => (0..3usize, 0..5u32, 0..3u8)
            .prop_map(|(name, replicas, colour)| Step::Deploy { name, replicas, colour }),
        2 => (0..3usize, 0..3u8).prop_map(|(name, colour)| Step::Everywhere { name, colour }),
        2 => (0..3usize, any::<bool>()).prop_map(|(name, everywhere)| Step::Delete { name, everywhere }),
        1 => (0..3usize, any::<bool>(), 0..3u8)
            .prop_map(|(name, everywhere, colour)| Step::Replace { name, everywhere, colour }),
        1 => (0..3u8).prop_map(Step::Config),
        3 => (0..900u16).prop_map(Step::Wait),
        1 => Just(Step::RestartHub),
        2 => (0..4usize, any::<bool>()).prop_map(|(device, lossy)| Step::Lossy(device, lossy)),
        2 => (0..4usize, any::<bool>()).prop_map(|(device, slow)| Step::SlowToStop(device, slow)),
    ]
}

/// The same, and the hub loses what it knew since its last backup.
fn forgetful_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => step(),
        2 => Just(Step::BackUp),
        2 => Just(Step::Restore),
        2 => (0..20u8).prop_map(Step::Churn),
        1 => (0..4usize).prop_map(Step::Resume),
    ]
}

fn workload(kind: Kind, name: &str, replicas: u32, colour: u8) -> serde_json::Value {
    let name = format!("{}-{name}", if kind == Kind::Deployment { "deploy" } else { "daemon" });
    let mut object = json!({"apiVersion": "apps/v1", "kind": kind.as_str(), "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {
                "volumes": [{"name": "c", "configMap": {"name": "settings"}}],
                "containers": [{"name": "main", "image": "hello:1",
                    "env": [{"name": "COLOUR", "value": colour.to_string()}]}]}}}});
    if kind == Kind::Deployment {
        object["spec"]["replicas"] = replicas.into();
    }
    object
}

/// What was declared: Pods by workload name; `None` for one on every device.
type Declared = BTreeMap<String, Option<u32>>;

/// A copy of the store, and what was declared then.
type Backup = (Vec<(String, Vec<u8>)>, Declared);

fn play(world: &mut World, declared: &mut Declared, backup: &mut Backup, step: &Step) {
    match step {
        Step::BackUp => *backup = (world.backup(), declared.clone()),
        Step::Restore => {
            world.restore(backup.0.clone());
            declared.clone_from(&backup.1);
        }
        // Refused for one that the hub does not know; without a conflict it changes nothing.
        Step::Resume(device) => {
            if world.is_paused(DEVICES[*device]) {
                world.resume(DEVICES[*device]).expect("a paused device can be resumed");
            }
        }
        Step::Join(device) => world.join(DEVICES[*device], &[]),
        Step::Leave(device) => {
            if world.devices.contains_key(DEVICES[*device]) {
                world.leave(DEVICES[*device]);
            }
        }
        Step::Deploy { name, replicas, colour } => {
            let object = workload(Kind::Deployment, NAMES[*name], *replicas, *colour);
            world.apply(Kind::Deployment, &object).expect("a good object is taken");
            declared.insert(format!("deploy-{}", NAMES[*name]), Some(*replicas));
        }
        Step::Everywhere { name, colour } => {
            let object = workload(Kind::DaemonSet, NAMES[*name], 0, *colour);
            world.apply(Kind::DaemonSet, &object).expect("a good object is taken");
            declared.insert(format!("daemon-{}", NAMES[*name]), None);
        }
        Step::Delete { name, everywhere } => {
            let (kind, prefix) = if *everywhere {
                (Kind::DaemonSet, "daemon")
            } else {
                (Kind::Deployment, "deploy")
            };
            let name = format!("{prefix}-{}", NAMES[*name]);
            let request = lichen_hub_core::event::Request::Delete {
                kind,
                namespace: "default".into(),
                name: name.clone(),
            };
            let known = declared.remove(&name).is_some();
            assert_eq!(world.request(request).is_ok(), known, "{name}");
        }
        Step::Replace { name, everywhere, colour } => {
            let (kind, prefix) = if *everywhere {
                (Kind::DaemonSet, "daemon")
            } else {
                (Kind::Deployment, "deploy")
            };
            let known = declared.get(&format!("{prefix}-{}", NAMES[*name])).copied();
            if let Some(replicas) = known {
                let object = workload(kind, NAMES[*name], replicas.unwrap_or(0), *colour);
                world.replace(kind, &object);
            }
        }
        Step::Config(text) => {
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "settings"}, "data": {"text": text.to_string()}});
            world.apply(Kind::ConfigMap, &map).expect("a good object is taken");
        }
        Step::Churn(times) => {
            for time in 0..*times {
                play(world, declared, backup, &Step::Config(10 + time));
            }
        }
        Step::Wait(seconds) => world.pass(u64::from(*seconds)),
        Step::Lossy(device, lossy) => {
            if let Some(device) = world.devices.get_mut(DEVICES[*device]) {
                device.lossy = *lossy;
            }
        }
        Step::SlowToStop(device, slow) => {
            stop_at_once(world, DEVICES[*device]);
            if let Some(device) = world.devices.get_mut(DEVICES[*device]) {
                device.slow_to_stop = *slow;
            }
        }
        Step::RestartHub => world.restart(),
    }
}

/// A device ends what it was told to stop, now and from now on.
fn stop_at_once(world: &mut World, name: &str) {
    if let Some(device) = world.devices.get_mut(name) {
        device.slow_to_stop = false;
    }
    world.stopped(name);
}

/// A device's reports get through from now on.
fn hear_again(world: &mut World, name: &str) {
    if let Some(device) = world.devices.get_mut(name) {
        device.lossy = false;
    }
    world.last_word(name);
}

fn pods(world: &mut World) -> Vec<lichen_hub_core::api::Pod> {
    let objects = world.list(Kind::Pod);
    objects
        .into_iter()
        .filter_map(|object| if let Object::Pod(pod) = object { Some(pod) } else { None })
        .collect()
}

/// Every Pod that does not run, or is not known to, has a reason.
fn reasons_are_there(world: &mut World) {
    for pod in pods(world) {
        let ready = pod.status.conditions.iter().any(|c| c.kind == "Ready" && c.status == "True");
        assert!(ready || !pod.status.reason.is_empty(), "{pod:?}");
    }
}

fn settled(world: &mut World, declared: &Declared) {
    // The workload of each object that Pods may belong to.
    let mut workloads: BTreeMap<String, String> = BTreeMap::new();
    for object in [Kind::Deployment, Kind::DaemonSet].iter().flat_map(|kind| world.list(*kind)) {
        workloads.insert(object.meta().uid.clone(), object.meta().name.clone());
    }
    for set in world.list(Kind::ReplicaSet) {
        let owner = workloads.get(&set.meta().owner_references[0].uid).cloned();
        workloads.insert(set.meta().uid.clone(), owner.expect("revisions go with their workload"));
    }
    let mut running: BTreeMap<String, u32> = BTreeMap::new();
    for pod in pods(world) {
        assert_eq!(pod.metadata.deletion_timestamp, None, "{}\n{}", pod.metadata.name, world.story);
        assert_eq!(pod.status.phase, "Running", "{pod:?}\n{}", world.story);
        let Some(owner) = workloads.get(&pod.metadata.owner_references[0].uid) else {
            panic!("{} is of a deleted workload\n{}", pod.metadata.name, world.story);
        };
        *running.entry(owner.clone()).or_default() += 1;
    }
    for (name, replicas) in declared {
        let expected = replicas.unwrap_or(4);
        let found = running.remove(name).unwrap_or(0);
        assert_eq!(found, expected, "{name}\n{}", world.story);
    }
    assert!(running.is_empty(), "nobody declared {running:?}\n{}", world.story);
    let on_devices: usize = world.devices.values().map(|device| device.pods()).sum();
    assert_eq!(on_devices, pods(world).len(), "devices run what is listed\n{}", world.story);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn what_is_declared_runs_once_faults_stop(steps in proptest::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        let mut declared = Declared::new();
        world.push_image("hello:1", "one");
        play(&mut world, &mut declared, &mut Backup::default(), &Step::Config(0));
        for step in &steps {
            play(&mut world, &mut declared, &mut Backup::default(), step);
            reasons_are_there(&mut world);
        }
        for device in DEVICES {
            // Who is connected stays so: what was lost must heal without a new session.
            if world.devices.get(device).is_none_or(|device| !device.is_online()) {
                world.join(device, &[]);
            }
            stop_at_once(&mut world, device);
            hear_again(&mut world, device);
        }
        world.pass(3600);
        settled(&mut world, &declared);
        // Quiet: reconnects and a hub restart move nothing.
        let starts: Vec<u32> = world.devices.values().map(|device| device.starts).collect();
        for device in DEVICES {
            world.leave(device);
            world.join(device, &[]);
        }
        world.restart();
        world.pass(3600);
        let saves = world.saves;
        world.pass(3600);
        prop_assert_eq!(world.saves, saves, "a quiet hour needs no save");
        let after: Vec<u32> = world.devices.values().map(|device| device.starts).collect();
        prop_assert_eq!(starts, after, "a reconnect restarted something\n{}", world.story);
        settled(&mut world, &declared);
    }

    /// Every device of the world asserts at each step that it is not taken backwards.
    #[test]
    fn a_restored_hub_moves_no_device_before_it_is_resumed(
        steps in proptest::collection::vec(forgetful_step(), 1..60),
    ) {
        let mut world = World::new();
        let mut declared = Declared::new();
        world.push_image("hello:1", "one");
        let mut backup = (world.backup(), Declared::new());
        play(&mut world, &mut declared, &mut backup, &Step::Config(0));
        backup.0 = world.backup();
        for step in &steps {
            play(&mut world, &mut declared, &mut backup, step);
            reasons_are_there(&mut world);
        }
        for device in DEVICES {
            hear_again(&mut world, device);
            world.join(device, &[]);
            stop_at_once(&mut world, device);
            prop_assert_eq!(world.is_paused(device), world.ahead.contains(device), "{}", world.story);
            if world.is_paused(device) {
                world.resume(device).expect("a paused device can be resumed");
            }
        }
        world.pass(3600);
        settled(&mut world, &declared);
    }
}
