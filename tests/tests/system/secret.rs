//! A Secret from `apply` to the Pod that reads it, and in clear nowhere else: not at the hub, not in a backup, not on the
//! device.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use lichen_tests::{
    agent::Agent,
    hub::Hub,
    samples::{deployment, pod_spec, set_command},
    wait::wait_until,
};
use serde_json::{Value, json};

use crate::{
    container::site,
    site::{DEVICE, Site},
};

const FIRST: &str = "moss-grows-on-4711-stones";
const SECOND: &str = "fern-grows-on-4712-stones";

fn secret(password: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"password": password},
    })
}

/// Reads the Secret from a file again and again and says how long it is; its value is nobody's business.
fn reader() -> Value {
    let mut reader = deployment("reader", "busybox:1", 1);
    let script = "while :; do echo \"$(wc -c < /secret/password) $(md5sum < /secret/password)\"; sleep 0.1; done";
    set_command(&mut reader, &["/bin/sh", "-c", script]);
    let spec = pod_spec(&mut reader);
    spec["volumes"] = json!([{"name": "db", "secret": {"secretName": "db"}}]);
    let container = &mut spec["containers"][0];
    container["volumeMounts"] = json!([{"name": "db", "mountPath": "/secret"}]);
    container["envFrom"] = json!([{"secretRef": {"name": "db"}}]);
    reader
}

/// Files below a directory that hold a text, without what is mounted there.
fn files_with(dir: &Path, text: &str) -> Vec<PathBuf> {
    let device = fs::metadata(dir).unwrap().dev();
    let (mut found, mut left, mut seen) = (Vec::new(), vec![dir.to_owned()], 0);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let (path, Ok(metadata)) = (entry.path(), fs::symlink_metadata(entry.path())) else {
                continue;
            };
            if metadata.is_dir() && metadata.dev() == device {
                left.push(path);
            } else if metadata.is_file() {
                seen += 1;
                let bytes = fs::read(&path).unwrap_or_default();
                if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                    found.push(path);
                }
            }
        }
    }
    assert!(seen > 5, "there are files to look at");
    found
}

fn nobody_else_has(site: &Site, value: &str) {
    let none: [PathBuf; 0] = [];
    assert_eq!(files_with(&site.hub.state(), value), none);
    assert_eq!(files_with(&site.agent.state(), value), none);
    assert!(!site.agent.log().contains(value));
    assert!(!fs::read_to_string(site.hub.log_file()).unwrap().contains(value));
    for arguments in [
        &["get", "secrets", "-o", "wide"][..],
        &["describe", "secret", "db"],
        &["describe", "pods"],
        &["get", "events"],
        &["get", "pods", "-o", "yaml"],
    ] {
        let said = site.cli().run(arguments);
        assert!(!format!("{said:?}").contains(value), "{arguments:?}");
    }
}

#[test]
#[ignore = "needs root, runc, umoci and busybox-static: run by make test"]
fn a_secret_reaches_its_pod_changes_in_place_and_is_in_clear_nowhere() {
    let mut site = site("runc");
    site.cli().apply(&[&secret(FIRST), &reader()]);
    let pod = site.api().until_one_runs("reader");
    let pid = site.pid_of(&pod);
    let reads = |value: &str| format!("{} ", value.len());
    site.api().until_log("it reads", &pod.name, "", |log| log.contains(&reads(FIRST)));
    nobody_else_has(&site, FIRST);

    let longer = format!("{SECOND}-and-more");
    site.cli().apply(&[&secret(&longer)]);
    site.api().until_log("it reads the change", &pod.name, "", |log| log.contains(&reads(&longer)));
    assert_eq!(site.pid_of(&pod), pid, "nothing restarts");
    nobody_else_has(&site, &longer);

    // The device alone opens it, without the hub.
    site.agent.lose_power();
    site.hub.kill();
    site.agent.start_again();
    wait_until("it reads again", || {
        let run = site.agent.run_dir(&pod.uid);
        let log = run.map(|run| fs::read_to_string(run.join("log")).unwrap_or_default());
        match log {
            Some(log) if log.contains(&reads(&longer)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(files_with(&site.agent.state(), &longer), [] as [PathBuf; 0]);
}

#[test]
fn a_restored_hub_has_its_secrets_and_no_record_of_a_backup_shows_one() {
    let mut hub = Hub::start();
    hub.cli().apply(&[&secret(FIRST)]);
    let backup = hub.scratch().join("hub.tar.gz");
    hub.cli().run(&["hub", "backup", "-o", backup.to_str().unwrap()]).well();
    hub.kill();
    let plain = Command::new("gzip").arg("-dc").arg(&backup).output().unwrap().stdout;
    assert!(plain.windows(4).any(|window| window == b"meta"), "it is unpacked");
    assert!(!plain.windows(FIRST.len()).any(|window| window == FIRST.as_bytes()));

    let hub = Hub::restored(&backup);
    let read = hub.cli().run(&["get", "secret", "db", "-o", "json"]).well();
    let read: Value = serde_json::from_str(&read).unwrap();
    assert_eq!(read["data"]["password"], "bW9zcy1ncm93cy1vbi00NzExLXN0b25lcw==");
}

#[test]
fn the_files_of_a_hub_and_of_a_device_are_their_owners_alone() {
    let hub = Hub::start();
    let agent = Agent::start(DEVICE, &hub);
    hub.cli().apply(&[&secret(FIRST)]);
    for (dir, secrets) in [(hub.state(), "trust"), (agent.state(), "identity")] {
        let open = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o077 != 0;
        assert!(!open(&dir), "{}", dir.display());
        let mut files = 0;
        for entry in fs::read_dir(dir.join(secrets)).unwrap() {
            let path = entry.unwrap().path();
            assert!(!open(&path), "{}", path.display());
            files += 1;
        }
        assert!(files > 2, "{}", dir.display());
    }
    assert_eq!(fs::metadata(hub.state().join("hub.redb")).unwrap().permissions().mode() & 0o077, 0);
}
