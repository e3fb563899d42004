//! What a manifest says of security, as it goes to a device, and what is refused by its name.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use serde_json::{Value, json};

use super::*;
use crate::{
    api::{core::pod::PodTemplate, resource::RestartRule},
    resolve::{Resolved, resolve},
};

fn resolved(spec: &Value) -> Result<Resolved, Vec<String>> {
    let template: PodTemplate = serde_json::from_value(json!({"spec": spec})).expect("a template");
    resolve("t", &template, RestartRule::Always)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn of(context: &Value, own: &Value) -> Result<Resolved, Vec<String>> {
    resolved(&json!({"securityContext": context,
        "containers": [{"name": "a", "image": "a", "securityContext": own}]}))
}

#[test]
fn a_containers_word_counts_before_its_pods() {
    let pod = json!({"runAsUser": 1, "runAsGroup": 2, "runAsNonRoot": true, "fsGroup": 3,
        "supplementalGroups": [4, 5], "supplementalGroupsPolicy": "Strict",
        "seccompProfile": {"type": "Unconfined"},
        "sysctls": [{"name": "net/ipv4/tcp_syncookies", "value": "1"}]});
    let plain = of(&pod, &json!({})).expect("taken");
    let own = &plain.containers[0].security;
    assert_eq!((own.user, own.group, own.non_root), (Some(1), Some(2), true));
    assert!(own.seccomp_unconfined && !own.no_new_privileges && !own.privileged);
    assert_eq!(plain.security.fs_group, Some(3));
    assert_eq!(plain.security.groups.to_vec(), [4, 5]);
    assert!(plain.security.only_these_groups);
    assert_eq!(plain.security.sysctls[0].name.as_str(), "net.ipv4.tcp_syncookies");
    let own = json!({"runAsUser": 7, "runAsNonRoot": false, "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true, "seccompProfile": {"type": "RuntimeDefault"},
        "capabilities": {"add": ["CAP_NET_ADMIN", "SYS_TIME"], "drop": ["ALL"]}});
    let own = of(&pod, &own).expect("taken").containers[0].security.clone();
    assert_eq!((own.user, own.group, own.non_root), (Some(7), Some(2), false));
    assert!(own.no_new_privileges && own.read_only_root && !own.seccomp_unconfined);
    assert_eq!(own.added_capabilities, 1 << 12 | 1 << 25);
    assert_eq!(own.dropped_capabilities, capabilities::ALL);
}

#[test]
fn nothing_said_is_kubernetes_default() {
    let plain = resolved(&json!({"containers": [{"name": "a", "image": "a"}]})).expect("taken");
    assert_eq!(plain.security, PodSecurity::default());
    assert_eq!(plain.containers[0].security, ContainerSecurity::default());
    let harmless =
        json!({"appArmorProfile": {"type": "Unconfined"}, "fsGroupChangePolicy": "Always"});
    let same = of(&harmless, &json!({"appArmorProfile": {"type": "RuntimeDefault"}}));
    assert_eq!(same.expect("taken").security, PodSecurity::default());
}

#[test]
fn what_can_not_be_is_refused_by_its_name() {
    let many: Vec<u32> = (0..33).collect();
    for (context, own, expected) in [
        (
            json!({"runAsUser": 2_147_483_648_u32}),
            json!({}),
            "t.spec.securityContext.runAsUser: 2147483648 must be between 0 and 2147483647, inclusive",
        ),
        (
            json!({}),
            json!({"runAsGroup": 4_294_967_295_u32}),
            "t.spec.containers[0].securityContext.runAsGroup: 4294967295 must be",
        ),
        (json!({"supplementalGroups": many}), json!({}), "supplementalGroups: has 33 entries"),
        (
            json!({"supplementalGroupsPolicy": "Both"}),
            json!({}),
            "supplementalGroupsPolicy: \"Both\" must be \"Merge\" or \"Strict\"",
        ),
        (
            json!({"fsGroupChangePolicy": "Never"}),
            json!({}),
            "fsGroupChangePolicy: \"Never\" must be",
        ),
        (
            json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "x"}}),
            json!({}),
            "t.spec.securityContext.seccompProfile.type: \"Localhost\" names a file",
        ),
        (
            json!({}),
            json!({"seccompProfile": {}}),
            "seccompProfile.type: \"\" must be \"RuntimeDefault\" or \"Unconfined\"",
        ),
        (
            json!({}),
            json!({"appArmorProfile": {"type": "Localhost"}}),
            "appArmorProfile.type: \"Localhost\"",
        ),
        (
            json!({"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
            json!({}),
            "sysctls[0].name: \"kernel.msgmax\" is not a safe sysctl",
        ),
        (
            json!({"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}, {"name": "kernel.shm_rmid_forced", "value": "0"}]}),
            json!({}),
            "sysctls[1].name: \"kernel.shm_rmid_forced\" is there twice",
        ),
        (
            json!({}),
            json!({"capabilities": {"drop": ["net_raw"]}}),
            "capabilities.drop[0]: \"net_raw\" is no capability",
        ),
        (
            json!({}),
            json!({"procMount": "None"}),
            "procMount: \"None\" must be \"Default\" or \"Unmasked\"",
        ),
        (
            json!({}),
            json!({"privileged": true, "allowPrivilegeEscalation": false}),
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ),
        (
            json!({}),
            json!({"capabilities": {"add": ["CAP_SYS_ADMIN"]}, "allowPrivilegeEscalation": false}),
            "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
        ),
    ] {
        let errors = of(&context, &own).expect_err("refused");
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains(expected), "{errors:?}");
    }
}

#[test]
fn what_is_the_devices_own_can_not_be_set_for_one_pod() {
    let sysctl = |name: &str| json!({"sysctls": [{"name": name, "value": "1"}]});
    for (field, name, expected) in [
        ("hostNetwork", "net.ipv4.tcp_syncookies", "is not allowed with hostNetwork"),
        ("hostIPC", "kernel.shm_rmid_forced", "is not allowed with hostIPC"),
    ] {
        let spec = |name: &str| {
            json!({field: true, "securityContext": sysctl(name),
                "containers": [{"name": "a", "image": "a"}]})
        };
        let errors = resolved(&spec(name)).expect_err("refused");
        assert!(errors.len() == 1 && errors[0].contains(expected), "{errors:?}");
        let other = SAFE_SYSCTLS.iter().find(|other| other[..4] != name[..4]).expect("another");
        resolved(&spec(other)).expect("taken");
    }
    let both = json!({"hostPID": true, "shareProcessNamespace": true,
        "containers": [{"name": "a", "image": "a"}]});
    let errors = resolved(&both).expect_err("refused");
    assert!(errors[0].contains("ShareProcessNamespace and HostPID cannot both be enabled"));
}

#[test]
fn later_mounts_of_the_device_are_seen_and_those_of_containers_are_not() {
    let taken = |class: &str, propagation: &str| {
        let pod = resolved(&json!({"runtimeClassName": class,
            "volumes": [{"name": "v", "hostPath": {"path": "/mnt"}}],
            "containers": [{"name": "a", "image": "a", "volumeMounts":
                [{"name": "v", "mountPath": "/v", "mountPropagation": propagation}]}]}));
        pod.map(|pod| pod.containers[0].mounts[0].propagation)
    };
    assert_eq!(taken("crun", "None"), Ok(MountPropagation::None));
    assert_eq!(taken("wasm", "None"), Ok(MountPropagation::None));
    assert_eq!(taken("crun", "HostToContainer"), Ok(MountPropagation::HostToContainer));
    for (class, propagation, expected) in [
        ("crun", "Bidirectional", "is seen by it alone"),
        ("crun", "Both", "\"Both\" must be"),
        ("wasm", "HostToContainer", "a Wasm module sees directories"),
        ("wasm", "Bidirectional", "a Wasm module sees directories"),
    ] {
        let errors = taken(class, propagation).expect_err("refused");
        assert!(
            errors[0].contains("mountPropagation: ") && errors[0].contains(expected),
            "{errors:?}"
        );
    }
}

#[test]
fn a_module_is_refused_what_it_can_not_have() {
    let wasm = |pod: Value, own: Value| {
        let mut spec = json!({"runtimeClassName": "wasm",
            "containers": [{"name": "a", "image": "a", "securityContext": own}]});
        for (field, value) in pod.as_object().expect("fields") {
            spec[field] = value.clone();
        }
        resolved(&spec)
    };
    for (pod, own, field) in [
        (json!({"hostPID": true}), json!({}), "t.spec.hostPID"),
        (json!({"hostIPC": true}), json!({}), "t.spec.hostIPC"),
        (json!({"shareProcessNamespace": true}), json!({}), "t.spec.shareProcessNamespace"),
        (
            json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}]}}),
            json!({}),
            "t.spec.securityContext.sysctls",
        ),
        (json!({}), json!({"privileged": true}), "securityContext.privileged"),
        (
            json!({}),
            json!({"capabilities": {"add": ["CHOWN"]}}),
            "securityContext.capabilities.add",
        ),
        (json!({}), json!({"procMount": "Unmasked"}), "securityContext.procMount"),
    ] {
        let errors = wasm(pod, own).expect_err("refused");
        assert!(errors.len() == 1 && errors[0].contains(field), "{errors:?}");
        assert!(errors[0].contains("a Wasm module"), "{errors:?}");
    }
    let restricted = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}});
    wasm(json!({}), restricted).expect("what restricted wants has a meaning everywhere");
}
