//! `lichen token` and `lichen device`: what the hub is asked for each of them.

use serde_json::{Value, json};

use super::script::{Asked, Script, status};

const ENROLMENTS: &str = "/apis/lichen.dev/v1/enrolments";

fn entry(name: &str, kind: &str) -> Value {
    json!({"name": name, "singularName": kind.to_lowercase(), "kind": kind, "namespaced": false,
        "verbs": ["get", "list", "create", "patch", "delete"]})
}

fn enrolment(name: &str, phase: &str) -> Value {
    let status =
        json!({"phase": phase, "key": "0123456789abcdef".repeat(4), "address": "192.0.2.7"});
    let metadata = json!({"name": name, "resourceVersion": "7"});
    json!({"apiVersion": "lichen.dev/v1", "kind": "Enrolment", "metadata": metadata, "status": status})
}

fn node(ready: &str) -> Value {
    json!({"metadata": {"name": "x"}, "status": {"conditions": [{"type": "Ready", "status": ready}]}})
}

/// A hub with one device in each phase.
fn answer(asked: &Asked) -> (u16, Value) {
    let (method, path) = asked.line.split_once(' ').expect("a path");
    let path = path.split('?').next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    match (method, path) {
        ("GET", "/api/v1") => (200, json!({"resources": [entry("nodes", "Node")]})),
        ("GET", "/apis") => {
            (200, json!({"groups": [{"versions": [{"groupVersion": "lichen.dev/v1"}]}]}))
        }
        ("GET", "/apis/lichen.dev/v1") => (
            200,
            json!({"resources": [entry("enrolments", "Enrolment"), entry("jointokens", "JoinToken")]}),
        ),
        ("POST", "/lichen/v1/jointokens") => (
            201,
            json!({"name": "abc", "token": "lichen-join.eyJ-_9", "expirationTime": "2027-01-02T03:04:05Z"}),
        ),
        ("GET", "/apis/lichen.dev/v1/jointokens") => (
            200,
            json!({"kind": "Table", "metadata": {"resourceVersion": "1"},
                "columnDefinitions": [{"name": "Name", "format": "name"}, {"name": "Uses"}],
                "rows": [{"cells": ["abc", "0/1"], "object": {"metadata": {"name": "abc"}}}]}),
        ),
        ("GET", _) if path.starts_with("/api/v1/nodes/") => match name {
            "on" => (200, node("True")),
            "off" => (200, node("Unknown")),
            _ => status(404, "NotFound", "there is no such node"),
        },
        ("GET", _) => match name {
            "new" => (200, enrolment(name, "Pending")),
            "on" | "off" | "never" => (200, enrolment(name, "Enrolled")),
            _ => status(404, "NotFound", "there is no such enrolment"),
        },
        ("DELETE", "/apis/lichen.dev/v1/jointokens/gone") => status(404, "NotFound", "not found"),
        _ => (200, json!({"kind": "Status", "status": "Success"})),
    }
}

/// What a command printed, and what it asked the hub but for its kinds.
fn run(hub: &Script, line: &str) -> (String, Vec<String>) {
    let said = hub.lichen(line).well();
    (said, changes(hub))
}

fn changes(hub: &Script) -> Vec<String> {
    let reads = |line: &String| line.starts_with("GET ");
    hub.lines().into_iter().filter(|line| !reads(line)).collect()
}

#[test]
fn a_token_is_one_line_to_paste_on_the_device() {
    let hub = Script::start(answer);
    let (said, asked) = run(&hub, "token create");
    assert_eq!(said, "lichen-agent join lichen-join.eyJ-_9\n");
    assert_eq!(asked, ["POST /lichen/v1/jointokens {\"labels\":{},\"ttlS\":86400,\"uses\":1}"]);
    let line = "token create --ttl 2h30m --uses 20 --label tier=edge --label empty= --site barn --name kiosk-*";
    let (_, asked) = run(&hub, line);
    assert_eq!(
        asked,
        [
            "POST /lichen/v1/jointokens {\"labels\":{\"empty\":\"\",\"lichen.dev/site\":\"barn\",\"tier\":\"edge\"},\
          \"namePattern\":\"kiosk-*\",\"ttlS\":9000,\"uses\":20}"
        ]
    );
    let twice = hub.lichen("token create --site barn --label lichen.dev/site=field");
    assert_eq!(twice.code, 2);
    assert!(twice.err.contains("the label lichen.dev/site is given twice"), "{}", twice.err);
}

#[test]
fn what_is_no_token_is_not_printed_to_be_pasted() {
    let hub = Script::start(|_| (201, json!({"name": "abc", "token": "x; rm -rf /"})));
    let err = hub.lichen("token create").failed();
    assert!(err.contains("it holds no token") && !err.contains("rm -rf"), "{err}");
}

#[test]
fn tokens_are_listed_by_the_hub_and_deleted_by_name() {
    let hub = Script::start(answer);
    assert_eq!(run(&hub, "token list").0, "NAME   USES\nabc    0/1\n");
    let (said, asked) = run(&hub, "token delete abc def");
    assert_eq!(said, "jointoken/abc deleted\njointoken/def deleted\n");
    assert_eq!(
        asked,
        ["DELETE /apis/lichen.dev/v1/jointokens/abc", "DELETE /apis/lichen.dev/v1/jointokens/def"]
    );
    let err = hub.lichen("token delete gone").failed();
    assert_eq!(err, "error: there is no token \"gone\"; see all with: lichen token list\n");
}

#[test]
fn devices_are_let_in_and_kept_out() {
    let hub = Script::start(answer);
    for (line, said, asked) in [
        (
            "device approve new on",
            "device/new approved\n  the board at 192.0.2.7 with the key 0123456789abcdef\n\
             device/on approved\n  the board at 192.0.2.7 with the key 0123456789abcdef\n",
            ["new", "on"]
                .map(|name| {
                    format!(
                        "PATCH {ENROLMENTS}/{name} {{\"metadata\":{{\"resourceVersion\":\"7\"}},\"spec\":\
                         {{\"approved\":true,\"revoked\":false}}}}"
                    )
                })
                .to_vec(),
        ),
        ("device deny new", "device/new denied\n", vec![format!("DELETE {ENROLMENTS}/new")]),
        (
            "device revoke on",
            "device/on revoked\n",
            vec![format!("PATCH {ENROLMENTS}/on {{\"spec\":{{\"revoked\":true}}}}")],
        ),
    ] {
        assert_eq!(run(&hub, line), (said.to_owned(), asked), "{line}");
    }
    let err = hub.lichen("device deny on").failed();
    assert!(err.contains("device on does not wait for a yes, it is Enrolled; keep it out with: lichen device revoke on"), "{err}");
    assert_eq!(changes(&hub), [] as [String; 0]);
    // One that is not there keeps no other from being tried.
    let said = hub.lichen("device revoke absent on");
    assert_eq!(said.out, "device/on revoked\n");
    assert!(
        said.failed()
            .contains("no device \"absent\" has asked to join; see all with: lichen device list")
    );
}

#[test]
fn a_device_is_approved_by_its_key_if_it_is_said() {
    let hub = Script::start(answer);
    let (_, asked) = run(&hub, "device approve new --key 0123456789ABCDEF0");
    assert_eq!(asked.len(), 1, "{asked:?}");
    let err = hub.lichen("device approve new --key 0123456789abcdee").failed();
    assert!(
        err.contains("device new has the key 0123456789abcdef, which is not 0123456789abcdee"),
        "{err}"
    );
    assert_eq!(hub.lichen("device approve new on --key 0123456789abcdef").code, 2);
    assert_eq!(changes(&hub), [] as [String; 0]);
}

#[test]
fn a_device_that_is_gone_is_forgotten_with_its_node_and_one_that_is_there_is_not() {
    let hub = Script::start(answer);
    let (said, asked) = run(&hub, "device forget off");
    assert_eq!(said, "device/off forgotten\nnode/off deleted\n");
    assert_eq!(asked, [format!("DELETE {ENROLMENTS}/off"), "DELETE /api/v1/nodes/off".to_owned()]);
    let said = hub.lichen("device forget on");
    assert!(
        said.err.contains("node/on is Ready and stays; remove it when the device is off"),
        "{said:?}"
    );
    assert_eq!(said.well(), "device/on forgotten\n");
    assert_eq!(changes(&hub), [format!("DELETE {ENROLMENTS}/on")]);
    assert_eq!(run(&hub, "device forget never").0, "device/never forgotten\n");
}

#[test]
fn a_device_is_expected_by_its_serial_number() {
    let hub = Script::start(answer);
    let (said, asked) = run(&hub, "device register --serial 10000000ABCDEF01");
    assert_eq!(said, "device/10000000abcdef01 registered\n");
    assert_eq!(
        asked,
        [format!(
            "POST {ENROLMENTS} {{\"apiVersion\":\"lichen.dev/v1\",\"kind\":\"Enrolment\",\"metadata\":{{\"name\":\
             \"10000000abcdef01\"}},\"spec\":{{\"approved\":true,\"labels\":{{}},\"serialNumber\":\"10000000ABCDEF01\"}}}}"
        )]
    );
    let (said, asked) = run(&hub, "device register --serial 7 --name kiosk-7 --site barn");
    assert_eq!(said, "device/kiosk-7 registered\n");
    assert!(
        asked[0].contains("\"labels\":{\"lichen.dev/site\":\"barn\"},\"serialNumber\":\"7\""),
        "{asked:?}"
    );
    let said = hub.lichen("device register --serial --");
    assert_eq!(said.code, 2);
}
