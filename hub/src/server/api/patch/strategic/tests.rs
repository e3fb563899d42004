//! Patches as text in and text out, some of them as kubectl sends them.

use super::*;
use lichen_hub_core::api::{
    core::pod::{POD_SPEC, container::CONTAINER},
    meta::OBJECT_META,
};
use proptest::prelude::*;
use serde_json::json;

fn check_in(table: &'static Message, target: Value, patch: Value, expected: Value) {
    assert_eq!(super::merge(&target, &patch, table), Ok(expected), "{target} with {patch}");
}

fn check(target: Value, patch: Value, expected: Value) {
    check_in(&CONTAINER, target, patch, expected);
}

fn merge(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    super::merge(target, patch, &CONTAINER)
}

#[test]
fn a_list_that_would_take_minutes_to_merge_is_refused() {
    let items = |count: usize| -> Vec<Value> {
        (0..count).map(|n| json!({"name": n.to_string()})).collect()
    };
    let merged = merge(&json!({"env": items(500)}), &json!({"env": items(524)}));
    assert_eq!(merged, Ok(json!({"env": items(524)})));
    let error = merge(&json!({"env": items(500)}), &json!({"env": items(525)}));
    let error = error.expect_err("too many").to_string();
    assert_eq!(error, "env has 1025 items; at most 1024 are merged");
}

#[test]
fn many_lists_that_would_take_long_together_are_refused() {
    let containers = |count: usize, value: &str| {
        let env: Vec<Value> =
            (0..256).map(|n| json!({"name": n.to_string(), "value": value})).collect();
        let one = |n: usize| json!({"name": n.to_string(), "env": env});
        json!({"containers": (0..count).map(one).collect::<Vec<_>>()})
    };
    let (before, patch) = (containers(10, "1"), containers(10, "2"));
    assert!(super::merge(&before, &patch, &POD_SPEC).is_ok_and(|merged| merged == patch));
    let refused = super::merge(&containers(11, "1"), &containers(11, "2"), &POD_SPEC);
    assert_eq!(refused, Err(PatchError::TooMuch));
    // A list of few items, each of which has to be tried on each: all have one key.
    let same = |protocol: &str| -> Vec<Value> {
        (0..500).map(|n| json!({"containerPort": 80, "name": format!("{protocol}{n}")})).collect()
    };
    let refused = merge(&json!({"ports": same("a")}), &json!({"ports": same("b")}));
    assert_eq!(refused, Err(PatchError::TooMuch));
}

#[test]
fn maps_are_merged_and_null_removes() {
    check_in(
        &OBJECT_META,
        json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "x": 1}),
        json!({"metadata": {"labels": {"a": null, "c": "3"}}, "y": {"z": null, "k": 1}}),
        json!({"metadata": {"labels": {"b": "2", "c": "3"}}, "x": 1, "y": {"k": 1}}),
    );
}

#[test]
fn containers_are_merged_by_name_and_their_lists_by_their_own_keys() {
    check_in(
        &POD_SPEC,
        json!({"containers": [
            {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}],
             "command": ["run", "x"]},
            {"name": "b", "image": "b:1"},
        ]}),
        json!({"containers": [
            {"name": "a", "image": "a:2", "env": [{"name": "Y", "value": "3"}, {"name": "Z", "value": "4"}],
             "command": ["go"], "ports": [{"containerPort": 80}]},
        ]}),
        json!({"containers": [
            {"name": "a", "image": "a:2",
             "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "3"}, {"name": "Z", "value": "4"}],
             "command": ["go"], "ports": [{"containerPort": 80}]},
            {"name": "b", "image": "b:1"},
        ]}),
    );
}

#[test]
fn an_item_is_deleted_by_its_key() {
    check(
        json!({"env": [{"name": "X"}, {"name": "Y"}]}),
        json!({"env": [{"name": "X", "$patch": "delete"}, {"name": "W", "$patch": "delete"}]}),
        json!({"env": [{"name": "Y"}]}),
    );
}

#[test]
fn a_list_and_a_map_are_replaced_whole_where_the_patch_says_so() {
    check(
        json!({"env": [{"name": "X"}], "nodeSelector": {"a": "1"}}),
        json!({"env": [{"$patch": "replace"}, {"name": "Z"}], "nodeSelector": {"$patch": "replace", "b": "2"}}),
        json!({"env": [{"name": "Z"}], "nodeSelector": {"b": "2"}}),
    );
    check(
        json!({"nodeSelector": {"a": "1"}}),
        json!({"nodeSelector": {"$patch": "delete"}}),
        json!({"nodeSelector": {}}),
    );
}

#[test]
fn the_source_of_a_volume_changes_with_retain_keys() {
    check_in(
        &POD_SPEC,
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"$retainKeys": ["name", "hostPath"], "name": "v", "hostPath": {"path": "/x"}}]}),
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}),
    );
}

#[test]
fn the_order_of_the_manifest_wins_and_what_only_the_server_has_keeps_its_place() {
    let names = |list: &[&str]| -> Value {
        list.iter().map(|name| json!({"name": name})).collect::<Vec<_>>().into()
    };
    let order = |list: &[&str]| names(list);
    check(
        json!({"env": names(&["a", "s", "b"])}),
        json!({"$setElementOrder/env": order(&["b", "c", "a"]), "env": names(&["c"])}),
        json!({"env": names(&["s", "b", "c", "a"])}),
    );
    check(
        json!({"env": names(&["a", "b", "s"])}),
        json!({"$setElementOrder/env": order(&["b", "a"])}),
        json!({"env": names(&["b", "a", "s"])}),
    );
}

#[test]
fn other_lists_are_replaced() {
    check_in(
        &POD_SPEC,
        json!({"tolerations": [{"key": "a"}], "args": ["1"]}),
        json!({"tolerations": [{"key": "b"}], "args": ["2", "3"]}),
        json!({"tolerations": [{"key": "b"}], "args": ["2", "3"]}),
    );
}

#[test]
fn a_patch_that_makes_no_sense_is_refused() {
    let refused = |patch: Value| {
        merge(&json!({"env": [{"name": "X"}]}), &patch).expect_err("refused").to_string()
    };
    assert_eq!(refused(json!([])), "a patch must be a JSON object");
    assert_eq!(refused(json!({"env": [{"value": "1"}]})), "an item of env lacks its key name");
    assert_eq!(
        refused(json!({"$patch": "x"})),
        "$patch must be \"merge\", \"replace\" or \"delete\", not \"x\""
    );
    assert_eq!(refused(json!({"$retainKeys": 1})), "$retainKeys must be a list");
    assert!(refused(json!({"$deleteFromPrimitiveList/args": ["x"]})).contains("whole list"));
}

#[test]
fn lists_are_merged_by_the_keys_of_their_kind_and_field() {
    // A list of that name where no table has it is replaced.
    check_in(
        &POD_SPEC,
        json!({"env": [{"name": "X"}]}),
        json!({"env": [{"name": "Y"}]}),
        json!({"env": [{"name": "Y"}]}),
    );
    let (tcp, udp) = (
        json!({"containerPort": 53, "protocol": "TCP"}),
        json!({"containerPort": 53, "protocol": "UDP"}),
    );
    // Without a word from kubectl on the order, port and protocol tell ports apart.
    check(json!({"ports": [tcp]}), json!({"ports": [udp]}), json!({"ports": [tcp, udp]}));
    check(
        json!({"ports": [udp, {"containerPort": 53}]}),
        json!({"ports": [{"containerPort": 53, "name": "dns"}]}),
        json!({"ports": [udp, {"containerPort": 53, "name": "dns"}]}),
    );
    check(
        json!({"ports": [tcp, udp]}),
        json!({"ports": [{"containerPort": 53, "protocol": "UDP", "$patch": "delete"}]}),
        json!({"ports": [tcp]}),
    );
}

#[test]
fn what_kubectl_applies_in_turns_is_what_is_there() {
    let (tcp, udp) = (
        json!({"containerPort": 53, "protocol": "TCP"}),
        json!({"containerPort": 53, "protocol": "UDP"}),
    );
    let gone = json!({"containerPort": 53, "$patch": "delete"});
    let gone_tcp = json!({"containerPort": 53, "protocol": "TCP", "$patch": "delete"});
    // As kubectl 1.32 sends them: what was there, its patch, how many are to be there, what is then.
    for (before, patch, count, after) in [
        (vec![&tcp], vec![&udp], 1, vec![&udp]),
        (vec![&tcp], vec![&udp, &tcp], 2, vec![&tcp, &udp]),
        (vec![&udp], vec![&tcp], 2, vec![&tcp, &udp]),
        (vec![&tcp, &udp], vec![&gone], 1, vec![&udp]),
        (vec![&tcp, &udp], vec![&gone_tcp], 1, vec![&tcp]),
        (vec![&tcp, &udp], vec![&gone], 0, vec![]),
    ] {
        let patch = json!({
            "ports": patch, "$setElementOrder/ports": vec![json!({"containerPort": 53}); count],
        });
        check(json!({"ports": before}), patch.clone(), json!({"ports": after}));
        check(json!({"ports": after}), patch, json!({"ports": after}));
    }
    let variable = |value: &str| json!({"name": "A", "value": value});
    let deleted = |value: Value| json!({"name": "A", "$patch": "delete", "value": value});
    let order = json!([{"name": "A"}]);
    for (patch, after) in [
        (json!([{"name": "A", "$patch": "delete"}]), variable("2")),
        (json!([deleted("1".into())]), variable("1")),
    ] {
        check(
            json!({"env": [variable("1"), variable("2")]}),
            json!({"env": patch, "$setElementOrder/env": order}),
            json!({"env": [after]}),
        );
    }
    let both = json!({"env": [variable("1"), variable("2")]});
    check(json!({}), both.clone(), both.clone());
    check(both.clone(), both.clone(), both);
    let named = json!({"containerPort": 53, "name": "dns"});
    let error = merge(
        &json!({"ports": [tcp, udp]}),
        &json!({"ports": [named], "$setElementOrder/ports": [{"containerPort": 53}, {"containerPort": 53}]}),
    );
    assert!(matches!(error, Err(PatchError::Ambiguous { .. })), "{error:?}");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        "[a-c]".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name = prop_oneof![
            Just("env"),
            Just("name"),
            Just("a"),
            Just("$patch"),
            Just("$setElementOrder/env"),
            Just("$retainKeys")
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name, inner, 0..4).prop_map(|map| Value::Object(
                map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn any_patch_is_applied_or_refused(target in value(), patch in value()) {
        let _ = merge(&target, &patch);
    }

    #[test]
    fn applying_a_patch_twice_is_applying_it_once(target in value(), patch in value()) {
        if let Ok(once) = merge(&target, &patch) {
            prop_assert_eq!(merge(&once, &patch), Ok(once));
        }
    }
}
