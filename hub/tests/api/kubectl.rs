//! The real kubectl against the hub.

use std::process::Command;

use serde_json::json;

use crate::support::{DEPLOYMENTS, Hub};

/// Runs kubectl; gives what it printed, which must be no error.
async fn kubectl(hub: &Hub, arguments: &[&str], stdin: &str) -> String {
    let (ok, text) = try_kubectl(hub, arguments, stdin).await;
    assert!(ok, "kubectl {arguments:?}: {text}");
    text
}

async fn try_kubectl(hub: &Hub, arguments: &[&str], stdin: &str) -> (bool, String) {
    let input = hub.dir.path().join("input.yaml");
    std::fs::write(&input, stdin).expect("write");
    let mut command = Command::new("kubectl");
    command
        .arg(format!("--kubeconfig={}", hub.running.kubeconfig().display()))
        .args(["--request-timeout=20s"])
        .arg(format!("--cache-dir={}", hub.dir.path().join("cache").display()))
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", hub.dir.path())
        .stdin(std::fs::File::open(&input).expect("open"));
    let output = tokio::task::spawn_blocking(move || command.output().expect("kubectl"));
    let output = output.await.expect("kubectl");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.into_owned())
}

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
        - name: main
          image: web:1
          env:
            - {name: X, value: \"1\"}
";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl: run by make test"]
async fn kubectl_creates_applies_gets_describes_and_deletes() {
    let hub = Hub::start().await;
    let applied = kubectl(&hub, &["apply", "--validate=false", "-f", "-"], WEB).await;
    assert!(applied.contains("deployment.apps/web created"), "{applied}");
    let unchanged = kubectl(&hub, &["apply", "--validate=false", "-f", "-"], WEB).await;
    assert!(unchanged.contains("deployment.apps/web unchanged"), "{unchanged}");
    let changed = WEB.replace("web:1", "web:2").replace("X, value", "Z, value");
    let configured = kubectl(&hub, &["apply", "--validate=false", "-f", "-"], &changed).await;
    assert!(configured.contains("deployment.apps/web configured"), "{configured}");
    let web = hub.get(&format!("{DEPLOYMENTS}/web")).await.expect(200);
    let container = &web["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "web:2");
    assert_eq!(
        container["env"],
        json!([{"name": "Z", "value": "1"}]),
        "X was taken out of the manifest"
    );

    let table = kubectl(&hub, &["get", "deployments"], "").await;
    assert!(table.starts_with("NAME") && table.contains("web") && table.contains("0/2"), "{table}");
    let yaml = kubectl(&hub, &["get", "deploy/web", "-o", "yaml"], "").await;
    assert!(yaml.contains("image: web:2"), "{yaml}");
    let all = kubectl(&hub, &["get", "pods,nodes,ds,cm,ns,events", "-A"], "").await;
    assert!(all.contains("namespace/default"), "{all}");
    let described = kubectl(&hub, &["describe", "deployment", "web"], "").await;
    assert!(described.contains("web:2") && described.contains("Replicas:"), "{described}");
    let pod = kubectl(&hub, &["get", "pods", "-l", "app=web", "-o", "name"], "").await;
    let pod = pod.lines().next().expect("a Pod that waits");
    let described = kubectl(&hub, &["describe", pod], "").await;
    assert!(described.contains("web:2") && described.contains("Events:"), "{described}");

    kubectl(&hub, &["create", "configmap", "settings", "--from-literal=a=b"], "").await;
    kubectl(&hub, &["create", "namespace", "other"], "").await;
    let arguments = [
        "create",
        "deployment",
        "shop",
        "--image=shop:1",
        "--replicas=0",
        "--port=80",
        "--",
        "serve",
        "-v",
    ];
    kubectl(&hub, &arguments, "").await;
    let shop = hub.get(&format!("{DEPLOYMENTS}/shop")).await.expect(200);
    assert_eq!(shop["spec"]["replicas"], 0);
    assert_eq!(shop["spec"]["selector"]["matchLabels"], json!({"app": "shop"}));
    let container = json!({"name": "shop", "image": "shop:1", "command": ["serve", "-v"], "ports": [{"containerPort": 80}]});
    assert_eq!(shop["spec"]["template"]["spec"]["containers"], json!([container]));
    kubectl(&hub, &["patch", "deploy", "web", "-p", r#"{"spec":{"replicas":1}}"#], "").await;
    kubectl(&hub, &["scale", "deployment/web", "--replicas=3"], "").await;
    assert_eq!(hub.get(&format!("{DEPLOYMENTS}/web")).await.expect(200)["spec"]["replicas"], 3);
    kubectl(&hub, &["label", "cm", "settings", "tier=x"], "").await;
    let selected = kubectl(&hub, &["get", "cm", "-l", "tier in (x,y)", "-o", "name"], "").await;
    assert_eq!(selected.trim(), "configmap/settings");
    let deleted = kubectl(&hub, &["delete", "deployment/web", "cm/settings", "ns/other"], "").await;
    assert!(deleted.contains("deployment.apps \"web\" deleted"), "{deleted}");
    let (found, gone) = try_kubectl(&hub, &["get", "deployment", "web"], "").await;
    assert!(
        !found && gone.contains("Error from server (NotFound): deployments.apps \"web\" not found"),
        "{gone}"
    );
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl: run by make test"]
async fn kubectl_shows_every_field_that_lichen_does_not_support() {
    let hub = Hub::start().await;
    let wrong = WEB
        .replace("  replicas: 2", "  replica: 2")
        .replace("      containers:", "      schedulingGates: [{name: wait}]\n      containers:");
    let (ok, text) = try_kubectl(&hub, &["create", "--validate=false", "-f", "-"], &wrong).await;
    assert!(!ok);
    assert!(
        text.contains("spec.replica: Lichen does not support this field; did you mean replicas?"),
        "{text}"
    );
    assert!(
        text.contains("spec.template.spec.schedulingGates: Lichen does not support this field"),
        "{text}"
    );
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl: run by make test"]
async fn kubectl_watches() {
    let hub = Hub::start().await;
    let watching = ["get", "configmaps", "-w", "--request-timeout=3s", "-o", "name"];
    let watch = kubectl(&hub, &watching, "");
    let create = async {
        for name in ["a", "b"] {
            let map = crate::support::config_map(name, json!({}), json!({}));
            hub.put("POST", crate::support::MAPS, &map).await.expect(201);
        }
    };
    let (seen, ()) = tokio::join!(watch, create);
    assert!(seen.contains("configmap/a") && seen.contains("configmap/b"), "{seen}");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl: run by make test"]
async fn kubectl_applies_lists_whose_items_share_a_key() {
    let hub = Hub::start().await;
    let with =
        |lines: &str| WEB.replace("          env:\n            - {name: X, value: \"1\"}\n", lines);
    let tcp = "          ports:\n            - {containerPort: 53, protocol: TCP}\n";
    let udp = "          ports:\n            - {containerPort: 53, protocol: UDP}\n";
    let both = format!("{tcp}            - {{containerPort: 53, protocol: UDP}}\n");
    let (tcp_json, udp_json) = (
        json!({"containerPort": 53, "protocol": "TCP"}),
        json!({"containerPort": 53, "protocol": "UDP"}),
    );
    let one = "          env:\n            - {name: A, value: \"1\"}\n";
    let other = "          env:\n            - {name: A, value: \"2\"}\n";
    let twice = format!("{one}            - {{name: A, value: \"2\"}}\n");
    let variable = |value: &str| json!({"name": "A", "value": value});
    for (lines, field, expected) in [
        (tcp, "ports", json!([tcp_json])),
        (both.as_str(), "ports", json!([tcp_json, udp_json])),
        (udp, "ports", json!([udp_json])),
        (both.as_str(), "ports", json!([tcp_json, udp_json])),
        (tcp, "ports", json!([tcp_json])),
        (twice.as_str(), "env", json!([variable("1"), variable("2")])),
        (one, "env", json!([variable("1")])),
        (twice.as_str(), "env", json!([variable("1"), variable("2")])),
        (other, "env", json!([variable("2")])),
    ] {
        kubectl(&hub, &["apply", "--validate=false", "-f", "-"], &with(lines)).await;
        let web = hub.get(&format!("{DEPLOYMENTS}/web")).await.expect(200);
        let container = &web["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container[field], expected, "after {lines}");
    }
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl: run by make test"]
async fn kubectl_finds_kinds_by_any_name_and_explains_their_fields() {
    let hub = Hub::start().await;
    kubectl(&hub, &["create", "serviceaccount", "robot"], "").await;
    let table = kubectl(&hub, &["get", "sa"], "").await;
    assert!(table.contains("robot") && table.contains("SECRETS"), "{table}");
    let kinds = kubectl(&hub, &["api-resources"], "").await;
    assert!(kinds.contains("serviceaccounts") && kinds.contains("deployments"), "{kinds}");
    let explained =
        kubectl(&hub, &["explain", "deployment.spec.template.spec.containers"], "").await;
    assert!(
        explained.contains("workingDir") && !explained.contains("volumeDevices"),
        "{explained}"
    );
    let (ok, text) = try_kubectl(&hub, &["delete", "sa", "robot", "--cascade=orphan"], "").await;
    assert!(ok, "nothing depends on it: {text}");
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl: run by make test"]
async fn kubectl_writes_roles_and_asks_who_may_do_what() {
    let hub = Hub::start().await;
    let run = |line: &'static str| {
        let hub = &hub;
        async move { kubectl(hub, &line.split(' ').collect::<Vec<_>>(), "").await }
    };
    run("create serviceaccount ci").await;
    run("create role deployer --verb=get,list,create --resource=deployments,pods/log").await;
    run("create clusterrole figures --verb=get --non-resource-url=/metrics").await;
    run("create rolebinding ci --role=deployer --serviceaccount=default:ci").await;
    run("create clusterrolebinding ci --clusterrole=figures --serviceaccount=default:ci --group=crew").await;
    let shown = run("get rolebindings,clusterrolebindings -o wide").await;
    assert!(shown.contains("Role/deployer") && shown.contains("default/ci"), "{shown}");
    let described = run("describe role deployer").await;
    assert!(
        described.contains("deployments.apps") && described.contains("[get list create]"),
        "{described}"
    );
    let described = run("describe clusterrolebinding ci").await;
    assert!(described.contains("ServiceAccount") && described.contains("crew"), "{described}");
    assert!(run("auth can-i create deployments").await.starts_with("yes"));
    let listed = run("auth can-i --list").await;
    assert!(listed.contains("*.*") && listed.contains("selfsubjectreviews"), "{listed}");
    run("delete rolebinding ci").await;
    let reconciled = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: deployer, namespace: default}
rules:
- {apiGroups: [''], resources: [configmaps], verbs: [get]}
";
    let said = kubectl(&hub, &["auth", "reconcile", "-f", "-"], reconciled).await;
    assert!(said.contains("role.rbac.authorization.k8s.io/deployer reconciled"), "{said}");
    let (ok, said) = try_kubectl(&hub, &["auth", "can-i", "get", "pods", "--as", "ann"], "").await;
    assert!(!ok && said.contains("Lichen does not support acting as somebody else"), "{said}");
    let (ok, said) = try_kubectl(&hub, &["edit", "clusterrole", "missing"], "").await;
    assert!(
        !ok && said.contains("clusterroles.rbac.authorization.k8s.io \"missing\" not found"),
        "{said}"
    );
    // As kubectl sends it that is too old for `create token`.
    let path = "/api/v1/namespaces/default/serviceaccounts/ci/token";
    let token = kubectl(&hub, &["create", "--raw", path, "-f", "-"], "{}").await;
    let token: serde_json::Value = serde_json::from_str(&token).expect("a TokenRequest");
    let token = token["status"]["token"].as_str().expect("a token");
    assert_eq!(hub.with_token(token).get("/metrics").await.code, 200);
    assert_eq!(hub.with_token(token).get("/api/v1/pods").await.code, 403);
    hub.running.stop().await.expect("stop");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs kubectl: run by make test"]
async fn kubectl_creates_jobs_and_labels_and_forces_pods_away() {
    let hub = Hub::start().await;
    let made = kubectl(&hub, &["create", "job", "count", "--image=tool:1"], "").await;
    assert!(made.contains("job.batch/count created"), "{made}");
    let table = kubectl(&hub, &["get", "jobs"], "").await;
    assert!(table.contains("NAME    STATUS    COMPLETIONS   DURATION   AGE"), "{table}");
    let described = kubectl(&hub, &["describe", "job", "count"], "").await;
    assert!(described.contains("Pods Statuses:"), "{described}");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: tool}\nspec:\n  containers: [{name: main, image: 'tool:1'}]\n";
    for said in ["pod/tool created", "pod/tool unchanged"] {
        let applied = kubectl(&hub, &["apply", "--validate=false", "-f", "-"], pod).await;
        assert!(applied.contains(said), "{applied}");
    }
    kubectl(&hub, &["label", "pod", "tool", "tier=x"], "").await;
    let named = kubectl(&hub, &["get", "pods", "-l", "tier=x", "-o", "name"], "").await;
    assert_eq!(named.trim(), "pod/tool");
    let gone = kubectl(&hub, &["delete", "pod", "tool", "--force", "--grace-period=0"], "").await;
    assert!(gone.contains("force deleted"), "{gone}");
    let (found, _) = try_kubectl(&hub, &["get", "pod", "tool"], "").await;
    assert!(!found);
    kubectl(&hub, &["delete", "job", "count"], "").await;
    hub.running.stop().await.expect("stop");
}
