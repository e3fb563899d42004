//! What `get` and `describe` print, as text: `...` stands for what differs from run to run.

use super::{
    compare::matches,
    support::{Hub, Said},
};

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
      containers:
      - {name: main, image: 'hello:1', args: [serve, -v, one two], env: [{name: GREETING, value: hi}]}
";

const COLOURS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: colours}
data: {moss: green, poem.txt: \"one\\ntwo\\n\"}
";

#[track_caller]
fn check(hub: &Hub, line: &str, expected: &str) {
    let Said { out, err, .. } = hub.lichen(line);
    assert!(
        matches(expected.trim_start_matches('\n'), &format!("{out}{err}")),
        "{line} printed\n{out}{err}"
    );
}

fn hub() -> Hub {
    let hub = Hub::start();
    let file = hub.file("web.yaml", &format!("{WEB}---{COLOURS}"));
    hub.lichen(&format!("apply -f {file}")).well();
    hub
}

#[test]
fn tables_are_the_hubs_own() {
    let hub = hub();
    check(
        &hub,
        "get deploy",
        "
NAME   READY   UP-TO-DATE   AVAILABLE   AGE
web    0/2     2            0           ...s",
    );
    check(
        &hub,
        "get deployments.apps/web -o wide",
        "
NAME   READY   UP-TO-DATE   AVAILABLE   AGE    CONTAINERS   IMAGES    SELECTOR
web    0/2     2            0           ...s   main         hello:1   app=web",
    );
    check(
        &hub,
        "get po,cm -A",
        "
NAMESPACE   NAME          READY   STATUS   RESTARTS   AGE   NODE
default     pod/web-...   0/1     ...      0          ...s  <none>
default     pod/web-...   0/1     ...      0          ...s  <none>

NAMESPACE   NAME                DATA   AGE
default     configmap/colours   2      ...s",
    );
    check(
        &hub,
        "get po --field-selector status.phase=Running",
        "no pods that are selected in namespace default (-A looks in all)",
    );
    check(
        &hub,
        "get po --field-selector spec.shoe=42",
        "error: Pod can't be selected by the field \"spec.shoe\"; ...",
    );
    check(
        &hub,
        "get nodes",
        "no nodes; a device joins with the line that `lichen token create` prints",
    );
    check(&hub, "get events", "LAST SEEN   TYPE   REASON   OBJECT   MESSAGE\n...");
}

#[test]
fn a_description_begins_with_what_is_looked_for_first() {
    let hub = hub();
    check(
        &hub,
        "describe deployment web",
        "
Name:            web
Namespace:       default
Ready:           0/2
Up-to-date:      2
Available:       0
Containers:      main
Images:          hello:1
Selector:        app=web
Created:         ...Z (...s ago)
Explanation:
  - Deployment default/web: 0 of 2 ...
...
Labels:          tier=front
Annotations:     deployment.kubernetes.io/revision=1
Spec:
  replicas: 2
  selector:
    matchLabels:
      app: web
  template:
...
      containers:
        main:
          image: hello:1
          args:
            - serve
            - -v
            - one two
          env:
            GREETING: hi
...
Status:
  replicas: 2
...",
    );
    check(
        &hub,
        "describe cm/colours",
        "
Name:            colours
Namespace:       default
Data:            2
Created:         ...Z (...s ago)
Data:
  moss: green
  poem.txt:
    one
    two",
    );
    check(
        &hub,
        "describe ns default",
        "
Name:            default
Status:          Active
...",
    );
}
