//! Manifests as people write them for devices at the edge: each is applied as it is, and runs. The images are stand-ins of
//! busybox under the names that the manifests have, which listen where the real ones would.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use lichen_tests::{cli::Cli, programs::repository, wait::wait_until};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::Value;

use crate::container::site;

/// What the real program of an image would listen on and answer to.
#[derive(Default)]
struct StandIn {
    ports: BTreeSet<u64>,
    pages: BTreeSet<String>,
}

/// Serves its pages on each of its ports until it is asked to stop.
const PROGRAM: &str = "#!/bin/sh\ntrap 'exit 0' TERM\nfor port in PORTS; do httpd -f -p $port -h /www & done\n\
     while :; do sleep 1 & wait $!; done\n";

/// The image of each container of some workloads.
fn stand_ins(workloads: &[Value]) -> BTreeMap<String, StandIn> {
    let mut images: BTreeMap<String, StandIn> = BTreeMap::new();
    for workload in workloads {
        let spec = &workload["spec"]["template"]["spec"];
        for list in ["initContainers", "containers"] {
            for container in spec[list].as_array().into_iter().flatten() {
                let image = container["image"].as_str().expect("an image").to_owned();
                let stand_in = images.entry(image).or_default();
                for port in container["ports"].as_array().into_iter().flatten() {
                    if port["protocol"] != "UDP" {
                        stand_in.ports.extend(port["containerPort"].as_u64());
                    }
                }
                for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                    let path = container[probe]["httpGet"]["path"].as_str();
                    stand_in.pages.extend(path.map(str::to_owned));
                }
            }
        }
    }
    images
}

fn pack(cli: &Cli, dir: &Path, name: &str, stand_in: &StandIn) {
    let root = dir.join(name.replace(['/', ':'], "-"));
    for directory in ["bin", "etc", "tmp", "www"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
    for applet in ["sh", "sleep", "cat", "cp", "echo", "httpd", "rm", "test"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("www/index.html"), "well\n").unwrap();
    for page in stand_in.pages.iter().filter(|page| *page != "/") {
        let path = root.join("www").join(page.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "well\n").unwrap();
    }
    let ports: Vec<String> = stand_in.ports.iter().map(u64::to_string).collect();
    let program = root.join("bin/stand-in");
    fs::write(&program, PROGRAM.replace("PORTS", &ports.join(" "))).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = root.to_str().unwrap();
    let said = cli.run(&[
        "image",
        "pack",
        path,
        "-t",
        name,
        "--entrypoint",
        "/bin/stand-in",
        "--env",
        "PATH=/bin",
    ]);
    let _pushed = said.well();
}

/// Device nodes that a board with a radio and lamps has; here they lead nowhere.
struct Nodes(Vec<PathBuf>);

impl Nodes {
    fn make(paths: &[&str]) -> Self {
        let missing = paths.iter().map(PathBuf::from).filter(|path| !path.exists());
        let made = missing.inspect(|path| {
            let mode = Mode::from_raw_mode(0o666);
            mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(1, 3)).expect("root may");
        });
        Self(made.collect())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for path in &self.0 {
            let _gone = fs::remove_file(path);
        }
    }
}

fn items(cli: &Cli, kinds: &str) -> Vec<Value> {
    let text = cli.run(&["get", kinds, "-o", "json"]).well();
    let list: Value = serde_json::from_str(&text).unwrap();
    match list["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![list],
    }
}

#[test]
#[ignore = "needs root, runc, umoci and busybox-static: run by make test"]
fn manifests_for_devices_at_the_edge_apply_unchanged_and_run() {
    let _nodes = Nodes::make(&["/dev/ttyACM0", "/dev/gpiochip0"]);
    let site = site("runc");
    let cli = site.cli();
    let dir = repository("manifests/edge");
    let dir = dir.to_str().unwrap();
    let said = cli.run(&["apply", "-f", dir]).well();
    assert!(said.lines().all(|line| line.ends_with(" created")), "{said}");
    let again = cli.run(&["apply", "-f", dir]).well();
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");

    let workloads = items(&cli, "deployments,daemonsets,statefulsets,jobs");
    assert_eq!(workloads.len(), 14);
    for (image, stand_in) in stand_ins(&workloads) {
        pack(&cli, site.hub.scratch(), &image, &stand_in);
    }
    wait_until("all of them run", || {
        let status =
            |workload: &Value, field: &str| workload["status"][field].as_u64().unwrap_or(0);
        let is_well = |workload: &Value| match workload["kind"].as_str() {
            Some("Deployment") => status(workload, "availableReplicas") == 1,
            Some("DaemonSet") => status(workload, "numberAvailable") == 1,
            Some("StatefulSet") => status(workload, "availableReplicas") == 1,
            Some("Job") => status(workload, "succeeded") == 1,
            _ => false,
        };
        let now = items(&cli, "deployments,daemonsets,statefulsets,jobs");
        let waiting: Vec<_> = now
            .iter()
            .filter(|workload| !is_well(workload))
            .map(|workload| workload["metadata"]["name"].to_string())
            .collect();
        if waiting.is_empty() {
            Ok(())
        } else {
            Err(format!("{waiting:?}\n{}", cli.run(&["get", "pods", "-o", "wide"]).well()))
        }
    });
    let restarts: u64 = site.api().pods().iter().map(|pod| pod.restarts).sum();
    assert_eq!(restarts, 0, "{}", cli.run(&["get", "pods"]).well());

    let _deleted = cli.run(&["delete", "-f", dir]).well();
    site.api().until_no_pods();
}
