//! A turn is bounded, whatever was asked for: whoever asks next is answered before all of it is done, and all of it is done
//! in the end.

mod world;

use std::collections::BTreeSet;

use firmware_compat::time::Instant;
use lichen_hub_core::{
    actor::Actor,
    api::{Key, Kind, Object},
    effect::Effect,
    engine::{Config, Engine},
    event::{Event, Now, Request, RequestId},
};
use serde_json::json;
use world::World;

const NOW: Now = Now { instant: Instant(1), unix_ms: 1_767_225_600_000 };
/// Far more than one turn makes, with suffixes of names that collide now and then.
const PODS: usize = 20_000;
/// What one turn may make, at the very most.
const MOST: usize = 1_000;

fn deployment(replicas: usize) -> Object {
    let json = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "web:1"}]},
        }},
    });
    Object::from_json(Kind::Deployment, json.to_string().as_bytes()).expect("a Deployment")
}

/// One turn: whether a request was answered, and how many effects there were.
fn turn(engine: &mut Engine) -> (bool, usize) {
    let effects = engine.drain();
    let answered = effects.iter().any(|effect| matches!(effect, Effect::Reply { .. }));
    (answered, effects.len())
}

/// Asks, and counts the turns until nothing is left to do. The first one answers.
fn turns_after(engine: &mut Engine, request: Request) -> usize {
    engine.handle(Event::Request { id: RequestId(1), actor: Actor::hub().into(), request }, NOW);
    let mut turns = 0;
    loop {
        let before = engine.state().pods.len();
        let (answered, effects) = turn(engine);
        assert_eq!(answered, turns == 0);
        assert!(engine.state().pods.len().abs_diff(before) <= MOST);
        if effects == 0 {
            assert!(!engine.has_more());
            return turns;
        }
        assert_eq!(engine.poll_timeout() == Some(NOW.instant), engine.has_more());
        turns += 1;
        assert!(turns <= PODS, "it ends");
    }
}

#[test]
fn a_large_workload_is_made_and_deleted_in_many_turns_and_its_request_is_answered_by_the_first() {
    let config = Config {
        seed: core::array::from_fn(|byte| byte as u8),
        lost_after_s: 300,
        ..Config::default()
    };
    let mut engine =
        Engine::load([], config, world::signer::signer(&[1]), NOW).expect("an empty store loads");
    let root = firmware_compat::id::Hash([1; 32]);
    turns_after(&mut engine, Request::NameImage { reference: "web:1".into(), root });

    let turns = turns_after(&mut engine, Request::Create(deployment(PODS)));
    assert!(turns >= PODS / MOST, "{turns} turns");
    let pods = &engine.state().pods;
    assert_eq!(pods.len(), PODS);
    let names: BTreeSet<Key> = pods.iter().map(|pod| pod.key()).collect();
    assert_eq!(names.len(), PODS, "every Pod has a name of its own");
    pods.check().expect("every index is true");

    let (kind, namespace, name) = (Kind::Deployment, "default".into(), "web".into());
    let turns = turns_after(&mut engine, Request::Delete { kind, namespace, name });
    assert!(turns >= PODS / MOST, "{turns} turns");
    assert!(engine.state().pods.is_empty());
}

#[test]
fn a_workload_on_every_device_looks_at_all_of_them_in_the_end() {
    // More than one turn looks at.
    const DEVICES: usize = 600;
    let mut world = World::new();
    for number in 0..DEVICES {
        world.join(&format!("d{number:04}"), &[]);
    }
    world.push_image("daemon:1", "one");
    let daemon = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "daemon"},
        "spec": {"selector": {"matchLabels": {"app": "daemon"}}, "template": {
            "metadata": {"labels": {"app": "daemon"}},
            "spec": {"containers": [{"name": "main", "image": "daemon:1"}]},
        }},
    });
    world.apply(Kind::DaemonSet, &daemon).expect("it is a good manifest");
    world.pass(1);
    let pods = &world.engine.state().pods;
    let places: BTreeSet<_> = pods.iter().filter_map(|pod| pod.device.clone()).collect();
    assert_eq!((pods.len(), places.len()), (DEVICES, DEVICES));
    let running = world.devices.values().map(|device| device.pods()).sum::<usize>();
    assert_eq!(running, DEVICES);
}
