//! Whoever may write workloads and nothing else: what a manifest can't ask for, and names that are none.

use lichen_tests::{
    api::collection,
    hub::Hub,
    samples::{deployment, pod_spec, wasm_deployment},
};
use serde_json::{Value, json};

use crate::site::Site;

/// The hub's refusal.
fn refusal(hub: &Hub, kind: &str, object: &Value) -> String {
    match hub.api().post(&collection(kind), object) {
        Ok(_) => panic!("it should be refused: {object:#}"),
        Err(refused) => {
            assert!(matches!(refused.status, 400 | 422), "{object}: {refused:?}");
            refused.text
        }
    }
}

#[test]
fn a_manifest_asks_in_vain_for_more_than_its_sandbox() {
    let hub = Hub::start();
    for (path, value) in [
        (
            "/securityContext",
            json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "../x"}}),
        ),
        ("/securityContext", json!({"sysctls": [{"name": "kernel.core_pattern", "value": "|/x"}]})),
        ("/hostname", json!("../web")),
        ("/containers/0/volumeDevices", json!([{"name": "x", "devicePath": "/dev/sda"}])),
        ("/runtimeClassName", json!("../../bin/sh")),
        ("/nodeName", json!("../pi")),
    ] {
        let mut web = deployment("web", "hello:1", 1);
        let (parent, field) = path.rsplit_once('/').unwrap();
        pod_spec(&mut web).pointer_mut(parent).unwrap()[field] = value.clone();
        let said = refusal(&hub, "deployments", &web);
        assert!(said.contains(field), "{path} {value}: {said}");
    }
    assert!(hub.api().list("/apis/apps/v1/deployments").is_empty());
}

#[test]
fn a_namespaces_level_keeps_manifests_to_their_sandboxes() {
    let hub = Hub::start();
    let level = "pod-security.kubernetes.io/enforce";
    let default = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "default", "labels": {level: "baseline"}}});
    hub.api().put("/api/v1/namespaces/default", &default).unwrap();
    let host = json!([{"name": "disk", "hostPath": {"path": "/dev/sda"}}]);
    for (path, value, said) in [
        ("/hostPID", json!(true), "hostPID=true"),
        ("/hostIPC", json!(true), "hostIPC=true"),
        ("/hostNetwork", json!(true), "hostNetwork=true"),
        ("/volumes", host, "hostPath volumes (volume \"disk\")"),
        ("/containers/0/securityContext", json!({"privileged": true}), "privileged=true"),
        (
            "/containers/0/securityContext",
            json!({"capabilities": {"add": ["SYS_ADMIN"]}}),
            "must not include \"SYS_ADMIN\"",
        ),
        ("/containers/0/securityContext", json!({"procMount": "Unmasked"}), "procMount"),
        (
            "/securityContext",
            json!({"seccompProfile": {"type": "Unconfined"}}),
            "must not set securityContext.seccompProfile.type",
        ),
    ] {
        let mut web = deployment("web", "hello:1", 1);
        let (parent, field) = path.rsplit_once('/').unwrap();
        pod_spec(&mut web).pointer_mut(parent).unwrap()[field] = value;
        let refused = hub.api().post(&collection("deployments"), &web).expect_err("refused");
        assert_eq!(refused.status, 403, "{refused:?}");
        let text = refused.text;
        let begin = "deployments.apps \\\"web\\\" is forbidden: violates PodSecurity";
        assert!(text.contains(begin), "{text}");
        assert!(text.replace('\\', "").contains(said), "{said}: {text}");
    }
    assert!(hub.api().list("/apis/apps/v1/deployments").is_empty());
    hub.api().post(&collection("deployments"), &deployment("web", "hello:1", 1)).unwrap();
}

#[test]
fn a_manifest_leads_out_of_no_directory_and_no_text_of_it_is_more_than_text() {
    let hub = Hub::start();
    let mounted = |volume: Value, mount: Value| {
        let mut web = deployment("web", "hello:1", 1);
        let spec = pod_spec(&mut web);
        spec["volumes"] = json!([volume]);
        spec["containers"][0]["volumeMounts"] = json!([mount]);
        web
    };
    let map = |item: &str| json!({"name": "v", "configMap": {"name": "m", "items": [{"key": "k", "path": item}]}});
    let at = |path: &str| json!({"name": "v", "mountPath": path});
    for (volume, mount) in [
        (map("../x"), at("/etc/app")),
        (map("a/../../x"), at("/etc/app")),
        (map("/etc/passwd"), at("/etc/app")),
        (map("x\u{0}y"), at("/etc/app")),
        (json!({"name": "../v", "emptyDir": {}}), json!({"name": "../v", "mountPath": "/x"})),
        (json!({"name": "v", "emptyDir": {}}), at("relative/../..")),
        (json!({"name": "v", "emptyDir": {}}), at("/x\u{0}")),
        (
            json!({"name": "v", "emptyDir": {}}),
            json!({"name": "v", "mountPath": "/x", "subPath": "../.."}),
        ),
        (json!({"name": "v", "hostPath": {"path": "/srv/../etc"}}), at("/x")),
        (json!({"name": "v", "hostPath": {"path": "../etc"}}), at("/x")),
    ] {
        refusal(&hub, "deployments", &mounted(volume, mount));
    }
    for key in ["../x", "..", ".", "a/b", "x\u{0}", "#", "", &"a".repeat(300)] {
        let map = json!({"metadata": {"name": "m"}, "data": {key: "text"}});
        refusal(&hub, "configmaps", &map);
    }
    for (path, value) in [("/containers/0/name", "../x"), ("/containers/0/image", "hello:1\u{0}")] {
        let mut web = deployment("web", "hello:1", 1);
        *pod_spec(&mut web).pointer_mut(path).unwrap() = json!(value);
        refusal(&hub, "deployments", &web);
    }
    for variable in ["A=B", "", "A\u{0}"] {
        let mut web = deployment("web", "hello:1", 1);
        pod_spec(&mut web)["containers"][0]["env"] = json!([{"name": variable, "value": "x"}]);
        refusal(&hub, "deployments", &web);
    }
    assert!(hub.api().list("/apis/apps/v1/deployments").is_empty());
}

#[test]
fn names_that_are_none_become_no_object() {
    let hub = Hub::start();
    let long = "a".repeat(300);
    for name in [
        "../web",
        "..",
        ".",
        "a/b",
        "#",
        "+",
        "web#",
        "a+b",
        "web\u{0}",
        "\u{0}",
        "WEB",
        "w\u{e9}b",
        "web ",
        " web",
        "web\n",
        "-web",
        "web-",
        "%2e%2e",
        "$(reboot)",
        "`reboot`",
        "web;reboot",
        "",
        &long,
    ] {
        let mut web = wasm_deployment("web", "hello:1", 1);
        web["metadata"]["name"] = json!(name);
        refusal(&hub, "deployments", &web);
        let map = json!({"metadata": {"name": name}, "data": {"k": "v"}});
        refusal(&hub, "configmaps", &map);
        let label = json!({"metadata": {"name": "m", "labels": {"app": format!("{name}/\u{0}")}}});
        refusal(&hub, "configmaps", &label);
    }
    for kind in ["deployments", "configmaps"] {
        assert!(hub.api().list(&collection(kind)).is_empty(), "{kind}");
    }
}

#[test]
fn a_workload_has_the_secrets_of_its_own_namespace_alone() {
    let site = Site::new();
    let object = |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
    let mut secret = object("Secret", "herbs");
    secret["metadata"]["namespace"] = json!("farm");
    secret["stringData"] = json!({"word": "fennel"});
    let wanting = |reference: Value| {
        let mut web = wasm_deployment("web", "hello:1", 1);
        pod_spec(&mut web)["containers"][0]["env"] =
            json!([{"name": "NAME", "valueFrom": {"secretKeyRef": reference}}]);
        web
    };
    site.cli().apply(&[&object("Namespace", "farm"), &secret]);
    for name in ["farm/herbs", "../farm/herbs", "farm.herbs/"] {
        refusal(&site.hub, "deployments", &wanting(json!({"name": name, "key": "word"})));
    }
    let elsewhere = json!({"name": "herbs", "namespace": "farm", "key": "word"});
    refusal(&site.hub, "deployments", &wanting(elsewhere));
    // Of that name there is one in another namespace: here there is none, and the Pod waits and says why.
    site.api().apply("deployments", &wanting(json!({"name": "herbs", "key": "word"})));
    site.api().until_pods("it says what it lacks", "web", |pods| {
        pods.len() == 1 && !pods[0].ready && pods[0].message.contains("herbs")
    });
    assert_eq!(site.agent.processes(), [0; 0]);
}
