//! `lichen rollout` against a hub without devices: what is told, what is changed, what is refused.

use super::support::Hub;

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      runtimeClassName: wasm
      containers: [{name: main, image: 'hello:1'}]
";

fn hub() -> Hub {
    let hub = Hub::start();
    let set = WEB.replace("Deployment", "DaemonSet").replace("  replicas: 2\n", "");
    let file =
        hub.file("web.yaml", &format!("{WEB}---{}", set.replace("name: web}", "name: set}")));
    hub.lichen(&format!("apply -f {file}")).well();
    hub
}

#[test]
fn a_restart_changes_the_template_and_nothing_else() {
    let hub = hub();
    let before = hub.lichen("get deploy web -o yaml").well();
    assert_eq!(
        hub.lichen("rollout restart deploy/web ds/set").well(),
        "deployment/web restarted\ndaemonset/set restarted\n"
    );
    let after = hub.lichen("get deploy web -o yaml").well();
    assert!(after.contains("kubectl.kubernetes.io/restartedAt: \"20"), "{after}");
    let lasting = |text: &str| {
        let spec = text.split("\nspec:\n").nth(1).unwrap_or_default();
        let spec = spec.split("\nstatus:\n").next().unwrap_or_default();
        let lines = spec
            .lines()
            .filter(|line| !line.contains("restartedAt") && !line.contains("annotations:"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lasting(&before), lasting(&after));
}

#[test]
fn a_rollout_that_waits_says_for_what() {
    let hub = hub();
    let said = hub.lichen("rollout status deployment web --watch=false").well();
    assert_eq!(
        said,
        "Waiting for deployment \"web\" rollout to finish: 0 of 2 updated replicas are available...\n"
    );
    // No device, nothing to wait for.
    let said = hub.lichen("rollout status ds/set").well();
    assert_eq!(said, "daemon set \"set\" successfully rolled out\n");
}

#[test]
fn what_has_no_rollout_is_refused_with_what_has() {
    let hub = hub();
    for (line, code, part) in [
        ("rollout status ns/default", 2, "a namespace has no rollout; name a deployment"),
        ("rollout restart deploy/shop", 1, "deployment shop not found in namespace default"),
        ("rollout pause ds/set", 2, "a daemonset can't be paused; a deployment can"),
        ("rollout resume deploy/web", 1, "deployment/web is not paused"),
        (
            "rollout history deploy",
            2,
            "which deployment? write: lichen rollout history deployment NAME",
        ),
    ] {
        let said = hub.lichen(line);
        assert_eq!(said.code, code, "{line}: {said:?}");
        assert!(said.err.contains(part), "{line}: {said:?}");
    }
}
