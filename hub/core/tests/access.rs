//! The engine's part in who may do what: nobody stores a role or a binding that gives away what they do not have, by
//! whichever request, and the default roles are there after every start.

mod world;

use lichen_hub_core::{
    actor::{Actor, Origin},
    api::{Kind, Object},
    event::{Alter, Request},
};
use serde_json::{Value, json};
use world::World;

/// A hub where `ann` rules the default namespace, and is the one who asks.
fn world() -> World {
    let mut world = World::new();
    let binding = json!({
        "metadata": {"name": "ann", "namespace": "default"}, "roleRef": {"kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "User", "name": "ann"}],
    });
    world.apply(Kind::RoleBinding, &binding).expect("the hub itself may");
    world.actor = Actor::user("ann", &[], Origin::Hub).into();
    world
}

fn role(rules: &Value) -> Object {
    let json = json!({"metadata": {"name": "r", "namespace": "default"}, "rules": rules});
    Object::from_value(Kind::Role, json).expect("a role")
}

fn rules(world: &mut World, kind: Kind, name: &str) -> Value {
    let found = world.list(kind).into_iter().find(|object| object.meta().name == name);
    serde_json::to_value(found.expect("it is there")).expect("JSON")["rules"].clone()
}

#[test]
fn no_request_gives_away_more_than_its_sender_has() {
    let mut world = world();
    let less = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "secrets"]}]);
    let more = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]}]);
    world.request(Request::Create(role(&less))).expect("she has all of it");
    let (kind, namespace, name) = (Kind::Role, "default".to_owned(), "r".to_owned());
    let wanted = role(&more);
    let alter = Alter::new(move |_| Ok(wanted.clone()));
    let mut new = role(&more);
    "s".clone_into(&mut new.meta_mut().name);
    for request in [
        Request::Create(new.clone()),
        Request::Replace { object: new, create: true },
        Request::Replace { object: role(&more), create: false },
        Request::Alter { kind, namespace, name, alter },
    ] {
        let said = world.request(request).expect_err("refused");
        assert!(said.contains("not currently held: get nodes in API group \"\""), "{said}");
    }
    assert_eq!(rules(&mut world, Kind::Role, "r"), less);
    world.actor = Actor::hub().into();
    world
        .request(Request::Replace { object: role(&more), create: false })
        .expect("the hub itself may");
    // What is there already is no gift, and neither is what stays as it is.
    world.actor = Actor::user("ann", &[], Origin::Hub).into();
    world
        .request(Request::Replace { object: role(&more), create: false })
        .expect("nothing changes");
    let said =
        world.request(Request::Replace { object: role(&json!([more[0], less[0]])), create: false });
    said.expect_err("she still has not all of it");
}

#[test]
fn a_binding_counts_for_what_its_subjects_store() {
    let mut world = world();
    let all = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    let ben = Actor::user("ben", &[], Origin::Hub);
    world.actor = ben.clone().into();
    world.request(Request::Create(role(&all))).expect_err("ben has nothing");
    world.actor = Actor::hub().into();
    let binding = json!({
        "metadata": {"name": "ben"}, "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "User", "name": "ben"}],
    });
    world.apply(Kind::ClusterRoleBinding, &binding).expect("the hub itself may");
    // Also after a restart: the rules are made of the records.
    world.restart();
    world.actor = ben.into();
    world.request(Request::Create(role(&all))).expect("ben has everything");
}

#[test]
fn the_default_roles_are_there_after_every_start() {
    let mut world = World::new();
    let (view, roles) =
        (rules(&mut world, Kind::ClusterRole, "view"), world.list(Kind::ClusterRole));
    let saves = world.saves;
    world.restart();
    assert_eq!(
        world.list(Kind::ClusterRole),
        roles,
        "a start changes nothing of what is as it should be"
    );
    assert!(world.saves <= saves + 1, "and writes nothing of it");
    let delete = |kind: Kind, name: &str| Request::Delete {
        kind,
        namespace: String::new(),
        name: name.to_owned(),
    };
    world.request(delete(Kind::ClusterRole, "edit")).expect("deleted");
    world.request(delete(Kind::ClusterRoleBinding, "cluster-admin")).expect("deleted");
    let emptied = json!({"metadata": {"name": "view"}, "rules": []});
    world.apply(Kind::ClusterRole, &emptied).expect("emptied");
    assert_eq!(rules(&mut world, Kind::ClusterRole, "view"), json!([]));
    world.restart();
    assert_eq!(rules(&mut world, Kind::ClusterRole, "view"), view);
    let names = |objects: &[Object]| objects.iter().map(|object| object.key()).collect::<Vec<_>>();
    assert_eq!(names(&world.list(Kind::ClusterRole)), names(&roles));
    assert!(
        world
            .list(Kind::ClusterRoleBinding)
            .iter()
            .any(|object| object.meta().name == "cluster-admin")
    );
}
