//! Every plan is linted before it is carried out: here are bad ones, one for each fault, against a small fleet that
//! really runs.

mod world;

use std::{sync::Arc, time::Duration};

use firmware_compat::{id::PodId, time::Instant};
use lichen_hub_core::{
    api::{Key, Kind},
    controller::{
        Plan, Scope, Step, View, Why,
        check::{Fault, check},
    },
    pod::Revision,
    state::Progress,
};
use serde_json::{Value, json};
use world::World;

fn workload(kind: Kind, colour: &str, more: &Value) -> Value {
    let name = kind.as_str().to_lowercase();
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": kind.as_str(), "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "main", "image": "hello:1",
                "env": [{"name": "COLOUR", "value": colour}]}]},
        }},
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    object
}

/// Three devices with a workload of three Pods.
fn world_with(kind: Kind, more: &Value) -> (World, Key) {
    let mut world = World::new();
    for device in ["a", "b", "c"] {
        world.join(device, &[]);
    }
    world.push_image("hello:1", "one");
    world.apply(kind, &workload(kind, "red", more)).expect("it is a good manifest");
    let name = kind.as_str().to_lowercase();
    (world, Key::new(kind, "default", &name))
}

/// What the lint says of steps, with the revision that the workload has or with another one that is the newest.
fn judge(world: &World, key: &Key, newest: Option<&Revision>, steps: Vec<Step>) -> Option<Fault> {
    let state = world.engine.state();
    let stored = state.objects.get(key).expect("it was applied");
    let declared = stored.revision.clone().expect("a workload has a revision");
    let revision = newest.map_or(declared, |newest| Arc::new(newest.clone()));
    let view = View {
        key,
        revision: &revision,
        state,
        scope: &Scope::All,
        no_room: false,
        room: usize::MAX,
        lost_after: Duration::from_secs(300),
        progress: &Progress::default(),
        tally: &stored.tally,
        unix_ms: 0,
        now: Instant(0),
    };
    let plan = Plan { steps, ..Plan::default() };
    check(stored.object.as_ref(), &view, &plan).err()
}

fn pods(world: &World, key: &Key) -> Vec<PodId> {
    world.engine.state().pods.of(key).map(|pod| pod.id).collect()
}

fn delete(pod: PodId, why: Why) -> Step {
    Step::Delete { pod, why }
}

fn create(device: &str) -> Step {
    Step::Create { device: Some(device.into()), index: None, after: Vec::new(), waiting: None }
}

#[test]
fn a_plan_is_about_pods_and_devices_that_are_there_and_about_each_once() {
    let (mut world, key) = world_with(Kind::Deployment, &json!({"replicas": 3}));
    let own = pods(&world, &key);
    assert_eq!(own.len(), 3);
    assert_eq!(judge(&world, &key, None, vec![]), None);
    let daemon = workload(Kind::DaemonSet, "red", &json!({}));
    world.apply(Kind::DaemonSet, &daemon).expect("it is a good manifest");
    let others = pods(&world, &Key::new(Kind::DaemonSet, "default", "daemonset"));
    let foreign = judge(&world, &key, None, vec![delete(others[0], Why::Evicted)]);
    assert_eq!(foreign, Some(Fault::Foreign(others[0])));
    let unheard = PodId([9; 16]);
    let foreign = judge(&world, &key, None, vec![delete(unheard, Why::Evicted)]);
    assert_eq!(foreign, Some(Fault::Foreign(unheard)));
    let twice = vec![delete(own[0], Why::Evicted), delete(own[0], Why::Lost)];
    assert_eq!(judge(&world, &key, None, twice), Some(Fault::Twice(own[0])));
    let nowhere = vec![delete(own[0], Why::Evicted), create("z")];
    assert_eq!(judge(&world, &key, None, nowhere), Some(Fault::UnknownDevice("z".into())));
}

#[test]
fn only_pods_of_others_that_matter_less_make_way() {
    let (mut world, key) = world_with(Kind::Deployment, &json!({"replicas": 3}));
    let own = pods(&world, &key);
    let daemon = workload(Kind::DaemonSet, "red", &json!({}));
    world.apply(Kind::DaemonSet, &daemon).expect("it is a good manifest");
    let others = pods(&world, &Key::new(Kind::DaemonSet, "default", "daemonset"));
    let makes_way =
        |world: &World, pod| judge(world, &key, None, vec![delete(pod, Why::Preempted)]);
    assert_eq!(makes_way(&world, others[0]), Some(Fault::Unequal(others[0])));
    let high = json!({"metadata": {"name": "high"}, "value": 1});
    world.apply(Kind::PriorityClass, &high).expect("it is good");
    let mut more = workload(Kind::Deployment, "red", &json!({"replicas": 3}));
    more["spec"]["template"]["spec"]["priorityClassName"] = json!("high");
    world.apply(Kind::Deployment, &more).expect("it is good");
    assert_eq!(makes_way(&world, others[0]), None);
    assert_eq!(makes_way(&world, own[0]), Some(Fault::Unequal(own[0])));
}

#[test]
fn a_plan_for_a_deployment_keeps_what_is_declared() {
    let strategy = json!({"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}});
    let (world, key) = world_with(Kind::Deployment, &json!({"replicas": 3, "strategy": strategy}));
    let own = pods(&world, &key);
    let judge = |steps| judge(&world, &key, None, steps);
    assert_eq!(judge(vec![delete(own[0], Why::Updated), create("a"), create("b")]), None);
    assert_eq!(
        judge(vec![delete(own[0], Why::Updated), delete(own[1], Why::Updated)]),
        Some(Fault::Unavailable { left: 1, least: 2 })
    );
    // What goes for another reason counts as well.
    assert_eq!(
        judge(vec![delete(own[0], Why::Updated), delete(own[1], Why::Lost)]),
        Some(Fault::Unavailable { left: 1, least: 2 })
    );
    assert_eq!(judge(vec![create("a"), create("b")]), Some(Fault::TooMany { count: 5, most: 4 }));
    assert_eq!(judge(vec![delete(own[0], Why::Unhealthy)]), Some(Fault::Healthy(own[0])));
    assert_eq!(judge(vec![delete(own[0], Why::Excess)]), Some(Fault::Missed { left: 2, least: 3 }));
}

#[test]
fn a_plan_that_recreates_starts_nothing_before_the_old_pods_have_ended() {
    let more = json!({"replicas": 3, "strategy": {"type": "Recreate"}});
    let (world, key) = world_with(Kind::Deployment, &more);
    let own = pods(&world, &key);
    let old = world.engine.state().pods.get(own[0]).expect("it runs").revision.clone();
    let Revision { template, resolved, roots, .. } = old.as_ref();
    let newest = Revision::saved("ffffffffff".into(), template, resolved.clone(), roots.clone());
    let judge = |steps| judge(&world, &key, Some(&newest), steps);
    let all = || own.iter().map(|pod| delete(*pod, Why::Updated)).collect::<Vec<_>>();
    assert_eq!(judge(all()), None);
    let mut early = all();
    early.push(create("a"));
    assert_eq!(judge(early), Some(Fault::Early(3)));
    assert_eq!(judge(vec![create("a")]), Some(Fault::TooMany { count: 4, most: 3 }));
}

#[test]
fn a_plan_for_a_daemon_set_keeps_one_pod_a_device_and_enough_of_them() {
    let (world, key) = world_with(Kind::DaemonSet, &json!({}));
    let own = pods(&world, &key);
    let on = |pod: PodId| {
        let pod = world.engine.state().pods.get(pod).expect("it runs");
        pod.device.clone().expect("it is placed")
    };
    let judge = |steps| judge(&world, &key, None, steps);
    assert_eq!(judge(vec![delete(own[0], Why::Updated), create(&on(own[0]))]), None);
    assert_eq!(
        judge(vec![create(&on(own[0]))]),
        Some(Fault::Crowded { device: on(own[0]), count: 2 })
    );
    assert_eq!(
        judge(vec![delete(own[0], Why::Updated), delete(own[1], Why::Updated)]),
        Some(Fault::Unavailable { left: 1, least: 2 })
    );
    assert_eq!(judge(vec![delete(own[0], Why::Excess)]), Some(Fault::Missed { left: 0, least: 1 }));
    assert_eq!(judge(own.iter().map(|pod| delete(*pod, Why::Unwanted)).collect()), None);
}

#[test]
fn a_plan_for_a_job_does_each_number_once_and_counts_each_pod_once() {
    let spec = json!({"completions": 3, "parallelism": 2, "completionMode": "Indexed"});
    let mut job = workload(Kind::Job, "red", &spec);
    job["apiVersion"] = "batch/v1".into();
    job["spec"]["template"]["spec"]["restartPolicy"] = "Never".into();
    let mut world = World::new();
    world.join("a", &[]);
    world.push_image("hello:1", "one");
    world.apply(Kind::Job, &job).expect("it is a good manifest");
    let key = Key::new(Kind::Job, "default", "job");
    let own = pods(&world, &key);
    assert_eq!(own.len(), 2);
    let judge = |steps| judge(&world, &key, None, steps);
    let number = |index| Step::Create {
        device: Some("a".into()),
        index: Some(index),
        after: Vec::new(),
        waiting: None,
    };
    assert_eq!(judge(vec![number(2)]), Some(Fault::TooMany { count: 3, most: 2 }));
    assert_eq!(judge(vec![number(0)]), Some(Fault::Needless("0".into())));
    let both = own.iter().map(|pod| delete(*pod, Why::Excess));
    let twice: Vec<Step> = both.chain([number(2), number(2)]).collect();
    assert_eq!(judge(twice), Some(Fault::Needless("2".into())));
    let early = Step::Count { pod: own[0], succeeded: true };
    assert_eq!(judge(vec![early]), Some(Fault::Miscounted(own[0])));
    world.end("job-0", true);
    assert_eq!(world.engine.state().objects.get(&key).map(|job| job.tally.succeeded), Some(1));
    let ended = pods(&world, &key)
        .into_iter()
        .find(|id| world.engine.state().pods.get(*id).is_some_and(|pod| pod.finished().is_some()));
    let again = Step::Count { pod: ended.expect("it is kept"), succeeded: true };
    let fault = self::judge(&world, &key, None, vec![again]);
    assert_eq!(fault, Some(Fault::Miscounted(ended.expect("it is kept"))));
    let done = self::judge(&world, &key, None, vec![number(0)]);
    assert_eq!(done, Some(Fault::Needless("0".into())));
}

#[test]
fn a_pod_without_a_workload_is_never_made_again() {
    let mut world = World::new();
    world.join("a", &[]);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tool"},
        "spec": {"containers": [{"name": "main", "image": "hello:1"}]}});
    world.apply(Kind::Pod, &pod).expect("it is a good manifest");
    let key = Key::new(Kind::Pod, "default", "tool");
    assert_eq!(judge(&world, &key, None, vec![]), None);
    let made = judge(&world, &key, None, vec![create("a")]);
    assert_eq!(made, Some(Fault::TooMany { count: 2, most: 0 }));
}

#[test]
fn a_plan_for_a_stateful_set_makes_no_second_pod_of_a_name() {
    let (world, key) = world_with(Kind::StatefulSet, &json!({"replicas": 3}));
    let own = pods(&world, &key);
    let judge = |steps| judge(&world, &key, None, steps);
    let named = |name: &str| Step::CreateNamed {
        name: name.into(),
        revision: String::new(),
        device: Some("a".into()),
        waiting: None,
    };
    assert_eq!(judge(vec![named("statefulset-3")]), None);
    let taken = Some(Fault::Identity("statefulset-1".into()));
    assert_eq!(judge(vec![named("statefulset-1")]), taken);
    // It is there until its device has let go of it.
    let pod = world.engine.state().pods.get(own[1]).expect("it runs").name.clone();
    let anew = vec![delete(own[1], Why::Updated), named(&pod)];
    assert_eq!(judge(anew), Some(Fault::Identity(pod)));
    let twice = Some(Fault::Identity("statefulset-3".into()));
    assert_eq!(judge(vec![named("statefulset-3"), named("statefulset-3")]), twice);
    assert_eq!(
        judge(vec![delete(own[0], Why::Updated), delete(own[1], Why::Updated)]),
        Some(Fault::Unavailable { left: 1, least: 2 })
    );
}
