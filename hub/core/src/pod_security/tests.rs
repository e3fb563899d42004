//! Each check with what it lets through and what not, in Kubernetes' words.

use alloc::{string::ToString, vec::Vec};

use serde_json::{Value, json};

use super::*;
use crate::api::validate::Errors;

fn spec(json: &Value) -> PodSpec {
    serde_json::from_value(json.clone()).expect("a spec")
}

fn labels(enforce: &str, version: Option<&str>) -> Map {
    let mut labels = Map::from([("pod-security.kubernetes.io/enforce".into(), enforce.into())]);
    if let Some(version) = version {
        labels.insert("pod-security.kubernetes.io/enforce-version".into(), version.into());
    }
    labels
}

/// A Pod that `restricted` lets in, with changes at JSON pointers.
fn good(changes: &[(&str, Value)]) -> PodSpec {
    let mut json = json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [],
        "volumes": [{"name": "e", "emptyDir": {}}],
        "containers": [{"name": "a", "image": "a", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
    });
    for (path, value) in changes {
        let (parent, field) = path.rsplit_once('/').expect("a pointer");
        json.pointer_mut(parent).expect("there")[field] = value.clone();
    }
    spec(&json)
}

fn said(level: &str, spec: &PodSpec) -> String {
    refusal(&labels(level, None), spec).unwrap_or_default()
}

#[test]
fn a_plain_pod_is_baseline_and_not_restricted() {
    let plain = spec(&json!({"containers": [
        {"name": "nginx", "image": "nginx"}, {"name": "log", "image": "log"}]}));
    assert_eq!(said("privileged", &plain), "");
    assert_eq!(said("baseline", &plain), "");
    assert_eq!(
        said("restricted", &plain),
        "violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false \
         (containers \"nginx\", \"log\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (containers \"nginx\", \"log\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or containers \"nginx\", \"log\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or containers \"nginx\", \"log\" must set securityContext.seccompProfile.type to \
         \"RuntimeDefault\" or \"Localhost\")"
    );
    assert_eq!(said("restricted", &good(&[])), "");
    assert_eq!(refusal(&Map::new(), &plain), None, "the default is privileged");
}

#[test]
fn baseline_refuses_each_way_out_by_its_name() {
    let own = "/containers/0/securityContext";
    for (change, expected) in [
        (
            (&*format!("{own}/privileged"), json!(true)),
            "privileged (container \"a\" must not set securityContext.privileged=true)",
        ),
        (
            (&format!("{own}/procMount"), json!("Unmasked")),
            "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            (&format!("{own}/capabilities"), json!({"add": ["NET_ADMIN", "CHOWN", "BPF"]})),
            "non-default capabilities (container \"a\" must not include \"BPF\", \"NET_ADMIN\" in securityContext.capabilities.add)",
        ),
        (
            (&format!("{own}/seccompProfile"), json!({"type": "Unconfined"})),
            "seccompProfile (container \"a\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            ("/securityContext/seccompProfile", json!({"type": "Unconfined"})),
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            ("/securityContext/appArmorProfile", json!({"type": "Unconfined"})),
            "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            ("/securityContext/sysctls", json!([{"name": "kernel.msgmax", "value": "1"}])),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (("/hostPID", json!(true)), "host namespaces (hostPID=true)"),
        (("/hostIPC", json!(true)), "host namespaces (hostIPC=true)"),
        (("/hostNetwork", json!(true)), "host namespaces (hostNetwork=true)"),
        (
            (
                "/volumes",
                json!([{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "hostPath": {"path": "/x"}}]),
            ),
            "hostPath volumes (volumes \"v\", \"w\")",
        ),
        (
            (
                "/initContainers",
                json!([{"name": "i", "image": "i", "securityContext": {"privileged": true}}]),
            ),
            "privileged (container \"i\" must not set securityContext.privileged=true)",
        ),
    ] {
        let expected = format!("violates PodSecurity \"baseline:latest\": {expected}");
        assert_eq!(said("baseline", &good(&[change])), expected);
    }
    let host = good(&[
        ("/hostNetwork", json!(true)),
        ("/containers/0/ports", json!([{"containerPort": 80}])),
    ]);
    assert!(said("baseline", &host).ends_with(
        "host namespaces (hostNetwork=true), hostPort (container \"a\" uses hostPort 80)"
    ));
}

#[test]
fn restricted_refuses_what_is_not_said_to_be_good() {
    let own = "/containers/0/securityContext";
    for (change, expected) in [
        (
            (
                &*format!("{own}/capabilities"),
                json!({"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}),
            ),
            "",
        ),
        (
            (&format!("{own}/capabilities"), json!({"add": ["CHOWN"], "drop": ["ALL"]})),
            "unrestricted capabilities (container \"a\" must not include \"CHOWN\" in securityContext.capabilities.add)",
        ),
        (
            (&format!("{own}/runAsUser"), json!(0)),
            "runAsUser=0 (container \"a\" must not set runAsUser=0)",
        ),
        (("/securityContext/runAsUser", json!(0)), "runAsUser=0 (pod must not set runAsUser=0)"),
        (
            (&format!("{own}/runAsNonRoot"), json!(false)),
            "runAsNonRoot != true (container \"a\" must not set securityContext.runAsNonRoot=false)",
        ),
        (
            ("/securityContext/runAsNonRoot", json!(false)),
            "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
        ),
        (
            ("/volumes", json!([{"name": "v", "hostPath": {"path": "/"}}])),
            "restricted volume types (volume \"v\" uses restricted volume type \"hostPath\")",
        ),
        (
            ("/securityContext/seccompProfile", json!({"type": "Unconfined"})),
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
    ] {
        let whole = said("restricted", &good(&[change]));
        let expected = match expected {
            "" => String::new(),
            words => format!("violates PodSecurity \"restricted:latest\": {words}"),
        };
        assert_eq!(whole, expected);
    }
}

#[test]
fn a_containers_own_word_counts_before_its_pods() {
    let over = good(&[
        ("/securityContext", json!({"runAsNonRoot": false, "seccompProfile": null})),
        ("/containers/0/securityContext/runAsNonRoot", json!(true)),
        ("/containers/0/securityContext/seccompProfile", json!({"type": "RuntimeDefault"})),
    ]);
    assert_eq!(said("restricted", &over), "");
}

#[test]
fn rules_come_with_versions() {
    let reasons = |version: &str, spec: &PodSpec| -> Vec<&'static str> {
        let policy = Policy::of(&labels("restricted", Some(version)), Mode::Enforce);
        assert_eq!(policy.to_string(), format!("restricted:{version}"));
        violations(policy, spec).iter().map(|violation| violation.reason).collect()
    };
    let plain = spec(&json!({"securityContext": {"runAsUser": 0}, "containers": [{"name": "a"}]}));
    assert_eq!(reasons("v1.7", &plain), ["runAsNonRoot != true"]);
    assert_eq!(
        reasons("v1.18", &plain),
        ["allowPrivilegeEscalation != false", "runAsNonRoot != true"]
    );
    assert_eq!(reasons("v1.22", &plain).len(), 4);
    assert_eq!(reasons("v1.23", &plain).len(), 5);
    assert_eq!(reasons("latest", &plain).len(), 5);
    let unconfined = good(&[("/securityContext/seccompProfile", json!({"type": "Unconfined"}))]);
    assert_eq!(reasons("v1.18", &unconfined), ["seccompProfile"]);
    assert_eq!(reasons("v1.19", &unconfined), ["seccompProfile"]);
    let sysctl = good(&[(
        "/securityContext/sysctls",
        json!([{"name": "net.ipv4.tcp_keepalive_time", "value": "60"}]),
    )]);
    assert_eq!(reasons("v1.28", &sysctl), ["forbidden sysctls"]);
    assert_eq!(reasons("v1.29", &sysctl), [""; 0]);
}

#[test]
fn a_label_that_says_no_level_is_refused() {
    let errors = |key: &str, value: &str| {
        let mut errors = Errors::default();
        check_labels(&Map::from([(key.into(), value.into())]), &mut errors);
        errors.0.iter().map(ToString::to_string).collect::<Vec<_>>().concat()
    };
    for mode in ["enforce", "audit", "warn"] {
        let key = format!("pod-security.kubernetes.io/{mode}");
        for level in ["privileged", "baseline", "restricted"] {
            assert_eq!(errors(&key, level), "");
        }
        let said = errors(&key, "strict");
        assert!(said.ends_with("must be one of privileged, baseline, restricted"), "{said}");
        let key = format!("{key}-version");
        for version in ["latest", "v1.0", "v1.31"] {
            assert_eq!(errors(&key, version), "");
        }
        for version in ["", "1.31", "v1", "v1.031", "v1.x", "v1.+1", "v1.99999999999"] {
            let said = errors(&key, version);
            assert!(said.ends_with("must be \"latest\" or \"v1.x\""), "{version}: {said}");
        }
    }
    assert!(errors("pod-security.kubernetes.io/enforced", "baseline").contains("no such label"));
    assert_eq!(errors("example.com/enforce", "x"), "");
}

#[test]
fn who_labels_a_namespace_is_told_what_would_not_be_let_in() {
    let plain = spec(&json!({"containers": [{"name": "a"}]}));
    let fine = good(&[]);
    let existing = || [("web".into(), &plain), ("fine".into(), &fine)].into_iter();
    let new = labels("restricted", None);
    assert_eq!(
        of_existing("x", &Map::new(), &new, existing()),
        [
            "existing pods in namespace \"x\" violate the new PodSecurity enforce level \"restricted:latest\"",
            "web: allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile",
        ]
    );
    assert_eq!(of_existing("x", &new, &new, existing()), [""; 0]);
    assert_eq!(of_existing("x", &new, &labels("baseline", None), existing()), [""; 0]);
}
