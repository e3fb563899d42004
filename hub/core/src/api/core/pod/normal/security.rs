//! The normal form of security contexts and of what of the device a Pod sees.

use alloc::{string::String, vec::Vec};

use super::unless;
use crate::api::core::pod::{
    Capabilities, Container, PodSecurityContext, PodSpec, Profile, SecurityContext,
};

/// Leaves out what goes without saying, or has no effect on a device.
pub(super) fn pod(spec: &mut PodSpec) {
    for shared in [&mut spec.host_pid, &mut spec.host_ipc, &mut spec.share_process_namespace] {
        shared.take_if(|shared| !*shared);
    }
    if let Some(context) = &mut spec.security_context {
        context.run_as_non_root.take_if(|required| !*required);
        unless(&mut context.supplemental_groups_policy, &["", "Merge"]);
        context.seccomp_profile.take_if(|profile| profile.kind == "RuntimeDefault");
        // No volume outlives its Pod with its owner, and no device loads profiles of AppArmor.
        context.fs_group_change_policy = None;
        context.app_armor_profile = None;
    }
    spec.security_context.take_if(|context| *context == PodSecurityContext::default());
    let of_pod = spec.security_context.clone().unwrap_or_default();
    for list in [&mut spec.init_containers, &mut spec.containers] {
        list.iter_mut().for_each(|own| container(own, &of_pod));
    }
}

fn container(container: &mut Container, of_pod: &PodSecurityContext) {
    for mount in &mut container.volume_mounts {
        unless(&mut mount.mount_propagation, &["", "None"]);
    }
    if let Some(own) = &mut container.security_context {
        same_as(&mut own.run_as_user, of_pod.run_as_user.as_ref());
        same_as(&mut own.run_as_group, of_pod.run_as_group.as_ref());
        same_as(&mut own.run_as_non_root, Some(&of_pod.run_as_non_root.unwrap_or(false)));
        let usual = Profile { kind: "RuntimeDefault".into(), localhost_profile: None };
        same_as(&mut own.seccomp_profile, of_pod.seccomp_profile.as_ref().or(Some(&usual)));
        for flag in [&mut own.privileged, &mut own.read_only_root_filesystem] {
            flag.take_if(|flag| !*flag);
        }
        own.allow_privilege_escalation.take_if(|allowed| *allowed);
        unless(&mut own.proc_mount, &["", "Default"]);
        own.app_armor_profile = None;
        if let Some(Capabilities { add, drop }) = &mut own.capabilities {
            names(add);
            names(drop);
        }
        own.capabilities.take_if(|given| *given == Capabilities::default());
    }
    container.security_context.take_if(|own| *own == SecurityContext::default());
}

/// What a container says that its Pod says too, or that goes without saying.
fn same_as<T: PartialEq>(own: &mut Option<T>, otherwise: Option<&T>) {
    if own.as_ref() == otherwise {
        *own = None;
    }
}

fn names(names: &mut Vec<String>) {
    for name in &mut *names {
        if let Some(short) = name.strip_prefix("CAP_") {
            *name = short.into();
        }
    }
    names.sort_unstable();
    names.dedup();
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn normal(spec: &Value) -> Value {
        let mut spec: PodSpec = serde_json::from_value(spec.clone()).expect("a spec");
        pod(&mut spec);
        let once = serde_json::to_value(&spec).expect("JSON");
        pod(&mut spec);
        assert_eq!(serde_json::to_value(&spec).expect("JSON"), once);
        once
    }

    fn of(context: &Value, own: &Value) -> Value {
        let containers = json!([{"name": "a", "image": "a", "securityContext": own}]);
        json!({"securityContext": context, "initContainers": containers, "containers": containers})
    }

    #[test]
    fn what_goes_without_saying_makes_no_difference() {
        let long = json!({
            "hostPID": false, "hostIPC": false, "shareProcessNamespace": false,
            "securityContext": {"runAsNonRoot": false, "supplementalGroupsPolicy": "Merge",
                "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
                "appArmorProfile": {"type": "Unconfined"}, "supplementalGroups": [], "sysctls": []},
            "containers": [{"name": "a", "image": "a",
                "volumeMounts": [{"name": "v", "mountPath": "/v", "mountPropagation": "None"}],
                "securityContext": {"privileged": false, "readOnlyRootFilesystem": false,
                    "allowPrivilegeEscalation": true, "procMount": "Default", "runAsNonRoot": false,
                    "capabilities": {"add": [], "drop": []},
                    "seccompProfile": {"type": "RuntimeDefault"}}}],
        });
        let short = json!({"containers": [{"name": "a", "image": "a",
            "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]});
        assert_eq!(normal(&long), normal(&short));
        let capabilities =
            |names: &[&str]| of(&json!({}), &json!({"capabilities": {"add": names}}));
        assert_eq!(
            normal(&capabilities(&["CAP_SYS_TIME", "NET_ADMIN", "SYS_TIME"])),
            normal(&capabilities(&["NET_ADMIN", "SYS_TIME"])),
        );
        let said_twice = of(&json!({"runAsUser": 7}), &json!({"runAsUser": 7}));
        assert_eq!(normal(&said_twice), normal(&of(&json!({"runAsUser": 7}), &json!({}))));
    }

    #[test]
    fn what_a_container_says_against_its_pod_makes_one() {
        for (context, own) in [
            (json!({"runAsNonRoot": true}), json!({"runAsNonRoot": false})),
            (
                json!({"seccompProfile": {"type": "Unconfined"}}),
                json!({"seccompProfile": {"type": "RuntimeDefault"}}),
            ),
            (json!({"runAsUser": 7}), json!({"runAsUser": 0})),
            (json!({}), json!({"allowPrivilegeEscalation": false})),
            (json!({}), json!({"privileged": true})),
        ] {
            assert_ne!(normal(&of(&context, &own)), normal(&of(&context, &json!({}))), "{own}");
        }
    }
}
