//! What `kubectl get -o yaml` prints of another cluster's objects applies here as it is, twice.

use std::path::Path;

use super::support::Hub;

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
