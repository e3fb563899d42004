//! What comes out goes in again: what `kubectl get -o yaml` prints of another cluster's objects applies here as it is, twice, and
//! what this hub prints is the same bytes that were given to it.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::support::{Hub, Said};

#[test]
fn what_another_cluster_gives_back_applies_here_unchanged() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exported");
    let hub = Hub::start();
    let apply = || hub.lichen(&format!("apply -R -f {}", dir.display())).well();
    let said = apply();
    assert_eq!(said.lines().count(), 5, "{said}");
    assert!(said.lines().all(|line| line.ends_with(" created")), "{said}");
    let again = apply();
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
    let shown = hub.lichen("get deployment telegraf -o yaml").well();
    for kept in [
        "imagePullPolicy: IfNotPresent",
        "schedulerName: default-scheduler",
        "serviceAccountName: telegraf",
        "automountServiceAccountToken: false",
        "dnsPolicy: ClusterFirst",
        "recursiveReadOnly: Disabled",
    ] {
        assert!(shown.contains(kept), "{kept} is missing in {shown}");
    }
}

/// Applies an object of this form.
fn apply(hub: &Hub, dir: &Path, object: &Value) -> Said {
    let file = dir.join("object.json");
    fs::write(&file, object.to_string()).expect("writable");
    hub.lichen(&format!("apply -f {}", file.display()))
}

#[test]
fn bytes_in_are_bytes_out_and_what_is_printed_applies_again() {
    let (hub, dir) = (Hub::start(), tempfile::tempdir().expect("a directory"));
    let texts = [
        ("spaces", "trailing \n  leading\t\n\n\n"),
        ("only-spaces", "   "),
        ("crlf", "one\r\ntwo\r\n\rthree\r"),
        ("bom", "\u{feff}# a file of an editor\nwith another \u{feff} in it"),
        ("breaks", "next\u{85}line\u{2028}and\u{2029}paragraph \u{a0}\u{85}"),
        ("controls", "bell\u{7} escape\u{1b} delete\u{7f} c1\u{9f}\0"),
        ("letters", "Grüße, 日本語, \u{1f44b}\u{1f3fd}, e\u{301}"),
        ("yaml", "--- # {a: b}\n- \"q\": 'x' \\ %TAG !\n...\n"),
        ("words", "true"),
        ("number", "0755"),
        ("empty", ""),
        ("tabs", "\ta:\tb\n\t- c"),
        ("variables", "$(HOME) $$(HOME) ${x} `y` \"z\" 'w'"),
    ];
    let mut data: serde_json::Map<String, Value> =
        texts.iter().map(|(key, text)| ((*key).to_owned(), json!(text))).collect();
    let rest = (1 << 20) - texts.iter().map(|(_, text)| text.len()).sum::<usize>();
    data.insert("large".to_owned(), json!("x\u{e9} \n".repeat(rest / 5) + &"y".repeat(rest % 5)));
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "exact"}, "data": data});
    assert!(apply(&hub, dir.path(), &object).well().ends_with(" created\n"));

    let shown = |form: &str| hub.lichen(&format!("get configmap exact -o {form}")).well();
    let read = || serde_json::from_str::<Value>(&shown("json")).expect("JSON");
    assert!(read()["data"] == object["data"], "the JSON that is printed differs");
    let file = dir.path().join("printed.yaml");
    fs::write(&file, shown("yaml")).expect("writable");
    let again = hub.lichen(&format!("apply -f {}", file.display())).well();
    assert!(again.ends_with(" unchanged\n"), "{again}");
    hub.lichen("delete configmap exact").well();
    hub.lichen(&format!("apply -f {}", file.display())).well();
    assert!(read()["data"] == object["data"], "the YAML that is printed differs");

    let over = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "over"},
        "data": {"large": "x".repeat((1 << 20) + 1)}});
    let said = apply(&hub, dir.path(), &over).failed();
    assert!(said.contains("is over 1 MiB in all"), "{said}");
}

#[test]
fn names_of_any_length_are_taken_or_refused_when_they_are_applied() {
    let (hub, dir) = (Hub::start(), tempfile::tempdir().expect("a directory"));
    // Labels of 63 letters and dots between.
    let name = |length: usize| {
        let letters = (1..=length).map(|at| if at % 64 == 0 { '.' } else { 'a' });
        letters.collect::<String>()
    };
    let map = |of: &str, key: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": of}, "data": {key: "x"}});
    let web = |of: &str, container: &str, map: &str| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": of},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": {
            "metadata": {"labels": {"app": "a"}},
            "spec": {
                "containers": [{"name": container, "image": "a:1",
                    "volumeMounts": [{"name": container, "mountPath": "/etc/a"}]}],
                "volumes": [{"name": container, "configMap": {"name": map}}],
            },
        }}})
    };
    for fits in [
        map(&name(253), &"k".repeat(253)),
        web(&name(63), &name(63), &name(253)),
        web(&name(200), &name(63), &name(63)),
    ] {
        apply(&hub, dir.path(), &fits).well();
    }
    for (over, field) in [
        (map(&name(254), "k"), "metadata.name"),
        (map("a", &"k".repeat(254)), "data"),
        (web(&name(253), "main", "a"), "metadata.name"),
        (web("a", &"a".repeat(64), "a"), "spec.template.spec.containers[0].name"),
        (web("a", "main", &name(254)), "spec.template.spec.volumes[0].configMap.name"),
    ] {
        let said = apply(&hub, dir.path(), &over).failed();
        assert!(said.contains(field), "{field}: {said}");
    }
}

#[test]
fn a_variable_that_is_written_twice_is_told_once_and_the_token_of_a_cluster_is_left_out() {
    let (hub, dir) = (Hub::start(), tempfile::tempdir().expect("a directory"));
    let token = json!({"name": "kube-api-access-x2x4z", "projected": {"sources":
        [{"serviceAccountToken": {"path": "token"}}]}});
    let own = json!({"name": "mine", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}});
    let web = |volume: &Value| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": {
            "metadata": {"labels": {"app": "a"}},
            "spec": {
                "containers": [{"name": "a", "image": "a:1",
                    "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
                    "volumeMounts": [{"name": volume["name"], "mountPath": "/var/run/token"}]}],
                "volumes": [volume],
            },
        }}})
    };
    let said = apply(&hub, dir.path(), &web(&token));
    let warnings = said.err.clone();
    assert!(said.well().ends_with(" created\n"));
    assert_eq!(warnings.matches("hides an earlier value of \"A\"").count(), 1, "{warnings}");
    assert_eq!(warnings.matches("kube-api-access-x2x4z is left out").count(), 1, "{warnings}");
    let shown = hub.lichen("get deployment web -o yaml").well();
    assert!(!shown.contains("kube-api-access"), "{shown}");
    let said = apply(&hub, dir.path(), &web(&own)).failed();
    assert!(said.contains("devices are given no tokens of the API"), "{said}");
}
