//! Reports what a decision about access costs: `cargo run --release -p lichen-hub-core --example access`. It asserts
//! nothing.

use std::{hint::black_box, sync::Arc, time::Instant};

use lichen_hub_core::{
    actor::{Actor, Origin},
    api::{Key, Kind, Object},
    authorizer::{Attributes, Rules, check_grant, defaults},
};
use serde_json::{Value, json};

/// Decisions that are timed.
const ROUNDS: u32 = 20_000;

fn object(kind: Kind, json: Value) -> Arc<Object> {
    Arc::new(Object::from_value(kind, json).expect("an object"))
}

fn bind(namespace: &str, name: &str, role: &str, user: &str) -> Arc<Object> {
    let json = json!({
        "metadata": {"name": name, "namespace": namespace}, "roleRef": {"kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "name": user}],
    });
    object(Kind::RoleBinding, json)
}

fn time(what: &str, mut decide: impl FnMut()) {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        decide();
    }
    println!("{what:60} {:8.2} us", start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
}

fn main() {
    let mut rules = Rules::default();
    defaults::all().into_iter().for_each(|object| rules.put(&Arc::new(object)));
    // A hub of 100 namespaces with five bindings each.
    for namespace in 0..100 {
        for number in 0..5 {
            let (namespace, user) = (format!("n{namespace}"), format!("user-{number}"));
            rules.put(&bind(&namespace, &format!("b{number}"), "edit", &user));
        }
    }
    let pods = Key::new(Kind::Pod, "n7", "web");
    let (get, exec) = (Attributes::on("get", &pods), Attributes::on("sing", &pods));
    let ask = |what: &str, rules: &Rules, user: &str, asked: &Attributes| {
        let actor = Actor::user(user, &[], Origin::Hub);
        time(what, || _ = black_box(rules.decide(black_box(&actor), black_box(asked))));
    };
    ask("500 bindings: allowed", &rules, "user-3", &get);
    ask("500 bindings: denied", &rules, "user-3", &exec);
    ask("500 bindings: a stranger", &rules, "user-9", &get);
    let mut crowded = rules.clone();
    for number in 0..300 {
        let role = format!("r{number}");
        let rule =
            json!({"verbs": ["get", "list"], "apiGroups": ["apps"], "resources": [role, "x"]});
        let json = json!({"metadata": {"name": role}, "rules": [rule, rule, rule]});
        crowded.put(&object(Kind::ClusterRole, json));
        crowded.put(&bind("n7", &role, &role, "user-3"));
    }
    ask("and 300 more of one user in one namespace: denied", &crowded, "user-3", &exec);
    let actor = Actor::user("user-3", &[], Origin::Hub);
    let binding = bind("n7", "new", "edit", "friend");
    time("may an editor bind edit?", || {
        black_box(check_grant(&crowded, black_box(&actor), black_box(&binding))).expect("allowed");
    });
}
