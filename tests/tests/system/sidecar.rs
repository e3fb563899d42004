//! A Pod of several containers, from `apply` to its last trace, as an operator sees it.

use lichen_tests::{programs::repository, wait::wait_until};

use crate::container::site;

#[test]
#[ignore = "needs root, runc, umoci and busybox-static: run by make test"]
fn a_pod_of_several_containers_starts_in_order_shares_its_volumes_and_network_and_leaves_nothing() {
    let site = site("runc");
    let manifest = repository("manifests/sidecar.yaml");
    let said = |arguments: &[&str]| site.cli().run(arguments).well();
    said(&["apply", "-f", manifest.to_str().unwrap()]);
    wait_until("both containers are ready", || {
        let shown = said(&["get", "pods", "-l", "app=site"]);
        let words: Vec<&str> = shown.split_whitespace().collect();
        if words.contains(&"2/2") && words.contains(&"Running") { Ok(()) } else { Err(shown) }
    });
    let [pod] = <[_; 1]>::try_from(site.api().pods_of("site")).unwrap();

    let log = |container: &str| said(&["logs", &pod.name, "-c", container]);
    assert_eq!(log("page"), "page written\n");
    wait_until("the reader has read the page from the server", || {
        let (read, served) = (log("reader"), log("server"));
        let both = read.contains("hello from init\n") && served.contains("response:200");
        if both { Ok(()) } else { Err(format!("{read}{served}")) }
    });
    let all = said(&["logs", &pod.name, "--all-containers"]);
    for (container, text) in [("page", "page written"), ("reader", "hello from init")] {
        let line = format!("[pod/{}/{container}] {text}\n", pod.name);
        assert!(all.contains(&line), "{line}{all}");
    }
    assert!(all.contains(&format!("[pod/{}/server] ", pod.name)), "{all}");

    let shown = said(&["describe", "pod", &pod.name]);
    for part in ["page:", "server:", "reader:", "exitCode: 0", "reason: Completed"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }

    said(&["delete", "-f", manifest.to_str().unwrap()]);
    site.api().until_no_pods();
    site.until_nothing_is_left(&[pod.uid]);
}
