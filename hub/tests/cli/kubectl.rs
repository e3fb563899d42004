//! The real kubectl takes what is written here, keeps it, and is understood when it writes.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use super::{
    script::{Asked, Script, status, write},
    support::{admin_of, lichen},
};

fn answer(asked: &Asked) -> (u16, Value) {
    let version = json!({"major": "1", "minor": "32", "gitVersion": "v1.32.0", "user": asked.user});
    match asked.line.split('?').next() {
        Some("GET /version") => (200, version),
        _ => status(404, "NotFound", "there is no such path"),
    }
}

fn kubectl(kubeconfig: &Path, line: &str) -> String {
    let output = Command::new("kubectl")
        .args(line.split_whitespace())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", kubeconfig.parent().expect("a directory"))
        .env("KUBECONFIG", kubeconfig)
        .output()
        .expect("kubectl");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {line}: {said}");
    said.into_owned()
}

#[test]
#[ignore = "needs kubectl: run by make test"]
fn kubectl_reaches_a_hub_with_its_owners_kubeconfig_and_with_what_a_login_wrote() {
    let hub = Script::start(answer);
    let admin = hub.path("admin.kubeconfig");
    write(&admin, &admin_of(&hub.trust, &hub.url()));
    let said = kubectl(&admin, "get --raw /version");
    assert!(said.contains("\"user\":\"system:admin\""), "{said}");
    let view = kubectl(&admin, "config view");
    assert!(
        view.contains("server: https://") && view.contains("client-key-data: DATA+OMITTED"),
        "{view}"
    );
    let line = format!(
        "login {} --token abc --fingerprint {} --context barn -n shop",
        hub.address(),
        hub.fingerprint()
    );
    lichen(&hub.places(), &line).well();
    let own = hub.path("own/kubeconfig");
    hub.asked();
    kubectl(&own, "get --raw /version");
    assert_eq!(hub.asked()[0].authorization.as_deref(), Some("Bearer abc"));
    let contexts = kubectl(&own, "config get-contexts barn --no-headers");
    assert_eq!(
        contexts.split_whitespace().collect::<Vec<_>>(),
        ["*", "barn", "barn", "barn", "shop"]
    );
    // What is printed for other programs.
    let one = lichen(&hub.places(), "config view --raw --minify --flatten").well();
    write(&hub.path("one"), &one);
    kubectl(&hub.path("one"), "get --raw /version");
}

#[test]
#[ignore = "needs kubectl: run by make test"]
fn kubectl_and_lichen_change_one_file_in_turns_and_see_the_same() {
    let hub = Script::start(answer);
    let shared = hub.path("shared");
    write(&shared, &admin_of(&hub.trust, &hub.url()));
    let prod = "config set-cluster prod --server=https://prod --insecure-skip-tls-verify=true";
    kubectl(&shared, prod);
    kubectl(
        &shared,
        "config set-credentials me --exec-command=aws --exec-api-version=client.authentication.k8s.io/v1",
    );
    kubectl(&shared, "config set-context prod --cluster=prod --user=me --namespace=ns");
    let run = |line: &str| {
        lichen(&hub.places(), &format!("{line} --kubeconfig {}", shared.display())).well()
    };
    // Still marked as a hub of Lichen after kubectl has written the file.
    assert!(fs::read_to_string(&shared).expect("there").contains("lichen.dev/hub"));
    assert_eq!(run("config get-contexts -o name"), "lichen\nprod\n");
    run("version");
    run("config use-context prod");
    assert_eq!(kubectl(&shared, "config current-context"), "prod\n");
    kubectl(&shared, "config use-context lichen");
    assert_eq!(run("config current-context"), "lichen\n");
    // Both show the same, but for what kubectl adds and leaves out.
    let theirs: Value =
        serde_json::from_str(&kubectl(&shared, "config view -o json")).expect("JSON");
    let ours: Value = serde_json::from_str(&run("config view -o json")).expect("JSON");
    for part in ["contexts", "current-context"] {
        assert_eq!(theirs[part], ours[part], "{part}");
    }
    assert_eq!(theirs["clusters"], ours["clusters"]);
    run("config delete-context lichen");
    let left = kubectl(&shared, "config view --raw");
    assert!(left.contains("command: aws") && !left.contains("lichen"), "{left}");
}

#[test]
#[ignore = "needs kubectl: run by make test"]
fn lists_of_files_mean_the_same_to_both() {
    let hub = Script::start(answer);
    let mark = "extensions: [{name: lichen.dev/hub, extension: {provider: lichen.dev}}]";
    let files = [
        format!("{{apiVersion: v1, kind: Config, clusters: [{{name: c, cluster: {{server: 'https://one', {mark}}}}}], contexts: [{{name: a, context: {{cluster: c, user: u}}}}]}}"),
        "{apiVersion: v1, kind: Config, current-context: b, clusters: [{name: c, cluster: {server: 'https://two'}}], contexts: [{name: a, context: {cluster: x}}, {name: b, context: {cluster: c, user: u, namespace: shop}}]}".to_owned(),
        "{apiVersion: v1, kind: Config, current-context: a, users: [{name: u, user: {token: t}}]}".to_owned(),
    ];
    let mut paths = Vec::new();
    for (number, text) in files.iter().enumerate() {
        let path = hub.path(&format!("part-{number}"));
        write(&path, text);
        paths.push(path);
    }
    let list = std::env::join_paths(&paths).expect("a list");
    let theirs: Value =
        serde_json::from_str(&kubectl(Path::new(&list), "config view -o json")).expect("JSON");
    let places = lichen_hub::cli::kubeconfig::Places { lichen: paths, ..Default::default() };
    let ours: Value =
        serde_json::from_str(&lichen(&places, "config view -o json").well()).expect("JSON");
    let servers = |value: &Value| value["clusters"][0]["cluster"]["server"].clone();
    assert_eq!((servers(&theirs), servers(&ours)), (json!("https://one"), json!("https://one")));
    for part in ["contexts", "current-context", "users"] {
        assert_eq!(theirs[part], ours[part], "{part}");
    }
}
