//! Applying, showing, explaining and deleting.

use super::support::{Hub, alone};

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {tier: front}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      runtimeClassName: wasm
      containers: [{name: main, image: 'hello:1'}]
";

const COLOURS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: colours}
data: {moss: green, poem.txt: \"one\\ntwo\\n\"}
";

#[test]
fn an_object_is_created_then_unchanged_then_configured() {
    let hub = Hub::start();
    let file = hub.file("web.yaml", &format!("{WEB}---{COLOURS}"));
    assert_eq!(
        hub.lichen(&format!("apply -f {file}")).well(),
        "configmap/colours created\ndeployment/web created\n"
    );
    assert_eq!(
        hub.lichen(&format!("apply -f {file}")).well(),
        "configmap/colours unchanged\ndeployment/web unchanged\n"
    );
    let file = hub.file("web.yaml", &WEB.replace("replicas: 2", "replicas: 1"));
    assert_eq!(hub.lichen(&format!("apply -f {file}")).well(), "deployment/web configured\n");
    let shown = hub.lichen("get deployment web -o yaml").well();
    assert!(shown.contains("\n  replicas: 1\n"), "{shown}");
    // What is shown can be applied.
    let file = hub.file("shown.yaml", &shown);
    assert_eq!(hub.lichen(&format!("apply -f {file}")).well(), "deployment/web unchanged\n");
    let list = hub.lichen("get deploy,cm -o json").well();
    let file = hub.file("list.json", &list);
    let said = hub.lichen(&format!("apply -f {file}")).well();
    assert_eq!(said, "configmap/colours unchanged\ndeployment/web unchanged\n");
}

#[test]
fn nothing_is_sent_while_anything_is_wrong() {
    let hub = Hub::start();
    let file = hub.file("both.yaml", &format!("{COLOURS}---{}", WEB.replace("image:", "imgae:")));
    let said = hub.lichen(&format!("apply -f {file}"));
    assert_eq!(said.out, "");
    let err = said.failed();
    assert!(err.contains("both.yaml:17:") && err.contains("did you mean image?"), "{err}");
    assert_eq!(hub.lichen("get cm").well(), "");
}

#[test]
fn what_only_the_hub_knows_points_into_the_manifest_too() {
    let hub = Hub::start();
    let file = hub.file("web.yaml", WEB);
    hub.lichen(&format!("apply -f {file}")).well();
    let file = hub.file("web.yaml", &WEB.replace("app: web", "app: shop"));
    let err = hub.lichen(&format!("apply -f {file}")).failed();
    assert!(err.contains("web.yaml:7:3: spec.selector: can't be changed"), "{err}");
    let file = hub.file("far.yaml", &WEB.replace("{name: web,", "{name: web, namespace: far,"));
    let err = hub.lichen(&format!("apply -f {file}")).failed();
    assert!(err.contains("there is no namespace far; apply a manifest of it"), "{err}");
    let err = hub.lichen(&format!("apply -f {file} -n near")).failed();
    assert!(err.contains("far.yaml:4:34: metadata.namespace: it is in far"), "{err}");
}

#[test]
fn objects_are_shown_in_every_form() {
    let hub = Hub::start();
    let file = hub.file("web.yaml", &format!("{WEB}---{COLOURS}"));
    hub.lichen(&format!("apply -f {file}")).well();
    let table = hub.lichen("get deploy").well();
    assert_eq!(table.lines().next(), Some("NAME   READY   UP-TO-DATE   AVAILABLE   AGE"));
    assert!(
        table.lines().nth(1).is_some_and(|line| line.starts_with("web    0/2     ")),
        "{table}"
    );
    let pods = hub.lichen("get po -l app=web -o name").well();
    assert_eq!(pods.lines().filter(|line| line.starts_with("pod/web-")).count(), 2, "{pods}");
    assert_eq!(hub.lichen("get po -l app=other").well(), "");
    let all = hub.lichen("get all").well();
    assert!(all.contains("pod/web-") && all.contains("deployment/web"), "{all}");
    let wide = hub.lichen("get deploy -A -o wide").well();
    assert!(
        wide.contains("NAMESPACE") && wide.contains("default") && wide.contains("hello:1"),
        "{wide}"
    );
    let yaml = hub.lichen("get cm colours -o yaml").well();
    assert!(yaml.contains("data:\n  moss: green\n  poem.txt: |\n    one\n    two\n"), "{yaml}");
    let names = hub.lichen("get ns -o name").well();
    assert!(names.contains("namespace/default\n"), "{names}");
    let events = hub.lichen("get events").well();
    assert!(events.starts_with("LAST SEEN   TYPE"), "{events}");
}

#[test]
fn a_workload_without_an_image_and_devices_says_so() {
    let hub = Hub::start();
    let file = hub.file("web.yaml", WEB);
    hub.lichen(&format!("apply -f {file}")).well();
    let why = hub.lichen("explain deploy/web").well();
    assert!(why.starts_with("- Deployment default/web: 0 of 2 Pods run\n"), "{why}");
    assert!(why.contains("push it with: lichen image push"), "{why}");
    let why = hub.lichen("explain cm colours").failed();
    assert!(
        why.contains("explain takes a deployment, daemonset, statefulset, job, pod or node"),
        "{why}"
    );
}

#[test]
fn deleting_waits_and_what_is_not_there_is_said() {
    let hub = Hub::start();
    let file = hub.file("web.yaml", &format!("{WEB}---{COLOURS}"));
    hub.lichen(&format!("apply -f {file}")).well();
    assert_eq!(hub.lichen("delete deploy/web").well(), "deployment/web deleted\n");
    assert_eq!(hub.lichen("get all -o name").well(), "");
    let err = hub.lichen("delete deployment web").failed();
    assert_eq!(
        err,
        "error: deployment web not found in namespace default; see all with: lichen get deployments -A\n"
    );
    assert_eq!(hub.lichen("delete deployment web --ignore-not-found").well(), "");
    let said = hub.lichen(&format!("delete -f {file} --wait=false"));
    assert_eq!(said.out, "configmap/colours deleted\n");
    assert!(said.failed().contains("deployment web not found"));
    assert!(hub.lichen("delete ns default").failed().contains("can't be deleted"));
}

#[test]
fn words_that_name_nothing_are_answered_with_those_that_do() {
    let hub = Hub::start();
    for (line, code, part) in [
        ("get sarvices", 2, "there is no kind \"sarvices\"; the hub has "),
        ("get sekrets", 2, "did you mean secrets?"),
        ("get deploymets", 2, "did you mean deployments?"),
        (
            "get pod web",
            1,
            "pod web not found in namespace default; see all with: lichen get pods -A",
        ),
        ("get node pi", 1, "node pi not found; see all with: lichen get nodes"),
        ("get pods web -A", 2, "-A selects among all"),
        ("get po,ds -w", 2, "one kind at a time"),
        ("get pods -l a=b=c", 1, "label selector"),
        ("describe pods", 2, "which pod? write: lichen describe pod NAME"),
        ("logs web", 1, "pod web not found"),
        ("logs ns/default", 2, "a namespace has no log; name a pod"),
        ("rollout status ns/default", 2, "a namespace has no rollout"),
        ("rollout restart deploy/web", 1, "deployment web not found"),
        ("logs deployment/web", 1, "deployment web not found"),
        ("resume pi", 1, "pi"),
        ("apply", 2, "name a manifest with -f"),
        ("apply -f /nowhere/web.yaml", 1, "could not read /nowhere/web.yaml: No such file"),
    ] {
        let said = hub.lichen(line);
        assert_eq!(said.code, code, "{line}: {said:?}");
        assert!(said.err.contains(part), "{line}: {said:?}");
    }
}

#[test]
fn a_directory_gives_its_manifests_and_deeper_ones_only_if_asked() {
    let hub = Hub::start();
    std::fs::create_dir_all(hub.path().join("set/deeper")).expect("directories");
    hub.file("set/a.yaml", COLOURS);
    hub.file("set/deeper/b.yml", WEB);
    hub.file("set/notes.txt", "not a manifest");
    let dir = hub.path().join("set").display().to_string();
    let said = alone(&format!("apply --dry-run -f {dir}")).well();
    assert_eq!(said, "configmap/colours checked\n");
    let said = alone(&format!("apply --dry-run -R -f {dir}")).well();
    assert_eq!(said, "configmap/colours checked\ndeployment/web checked\n");
}

#[test]
fn without_a_hub_it_says_how_to_start_or_find_one() {
    for line in ["get pods", "explain deploy/web", "delete deploy web", "image list", "version"] {
        let err = alone(line).failed();
        assert_eq!(
            err,
            "error: no hub is known here: start one on this machine with `lichen hub`, or log in to one with \
             `lichen login HUB --token TOKEN`\n"
        );
    }
}

#[test]
fn versions_and_completions_are_printed() {
    let hub = Hub::start();
    let said = hub.lichen("version").well();
    assert!(said.starts_with("lichen ") && said.contains("\nhub    "), "{said}");
    assert!(said.contains("its authority has the fingerprint sha256:"), "{said}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            hub.lichen(&format!("completion {shell}")).well().contains("quickstart"),
            "{shell}"
        );
    }
}
