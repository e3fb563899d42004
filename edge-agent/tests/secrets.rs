//! Secrets from the hub's seal to a variable and a file of what runs, and that they are in clear nowhere else: as root in
//! containers, with each OCI runtime that the machine has, and as anybody in modules.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use firmware_compat::{
    enrolment::SealingKey,
    v1::owned::{
        Action, File, Mount, MountPropagation, Pod, Secret, Text, Value, Variable, Volume,
        VolumeSource,
    },
};
use lichen_shim::{Phase, Request};
use support::{
    http::as_address,
    hub::{Hub, pid},
    image::with_scratch,
    machine::{Device, compile, each_container, wait, wasm},
    world::{ID, World, kill_9},
};

/// Something that nobody else on the machine has in a file.
fn random_value() -> String {
    let bytes: [u8; 16] = ring::rand::generate(&ring::rand::SystemRandom::new()).unwrap().expose();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file(data: &str) -> File {
    let data = data.as_bytes().to_vec().try_into().unwrap();
    File { path: "password".try_into().unwrap(), mode: 0o440, data }
}

/// Every file below a directory, but not on what is mounted there.
fn files_on_disk(dir: &Path) -> Vec<PathBuf> {
    let device = fs::metadata(dir).unwrap().dev();
    let (mut found, mut left) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
            if metadata.is_dir() && metadata.dev() == device {
                left.push(entry.path());
            } else if metadata.is_file() {
                found.push(entry.path());
            }
        }
    }
    found
}

/// Every place where a value is in clear: files of the device, what lichen's processes were started with, and what the hub
/// heard.
fn leaks(hub: &Hub, device: &Device, dir: &Path, value: &str) -> Vec<String> {
    let is_in = |bytes: &[u8]| bytes.windows(value.len()).any(|window| window == value.as_bytes());
    let files = files_on_disk(dir);
    assert!(files.iter().any(|path| path.ends_with("agent-id")), "{files:?}");
    let of_processes = device.processes().into_iter().flat_map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let is_ours = name.starts_with("lichen");
        let files = ["cmdline", "environ"].map(|file| PathBuf::from(format!("/proc/{pid}/{file}")));
        files.into_iter().filter(move |_| is_ours)
    });
    let mut found: Vec<_> = files
        .into_iter()
        .chain(of_processes)
        .filter(|path| fs::read(path).is_ok_and(|bytes| is_in(&bytes)))
        .map(|path| path.display().to_string())
        .collect();
    if is_in(format!("{hub:?}").as_bytes()) {
        found.push("what the hub heard".to_owned());
    }
    found
}

/// `PASSWORD` from a Secret, in every container of a Pod.
fn with_variable(pod: &mut Pod, secret: Secret) {
    pod.secrets = vec![secret].try_into().unwrap();
    each_container(pod, |container| {
        let value = Value::Secret { secret: 0, key: "password".try_into().unwrap() };
        container.env =
            vec![Variable { name: "PASSWORD".try_into().unwrap(), value }].try_into().unwrap();
    });
}

/// And as a file at `/secret`, besides what is mounted already.
fn with_file(pod: &mut Pod) {
    let source = VolumeSource::Secret { secret: 0 };
    let volume = Volume { name: "secret".try_into().unwrap(), source };
    pod.volumes = [pod.volumes.to_vec(), vec![volume]].concat().try_into().unwrap();
    each_container(pod, |container| {
        let mount = Mount {
            volume: "secret".try_into().unwrap(),
            path: "/secret".try_into().unwrap(),
            sub_path: Text::default(),
            expand: false,
            read_only: false,
            propagation: MountPropagation::None,
        };
        container.mounts = [container.mounts.to_vec(), vec![mount]].concat().try_into().unwrap();
    });
}

/// Compares variable, argument and file, and says when the file is another than the variable.
const COMPARE: &str = r#"
    trap 'exit 0' TERM
    file() { busybox cat /secret/password; }
    [ "$PASSWORD" = "$(file)" ] && [ "$0" = "$PASSWORD" ] && echo same ${#PASSWORD}
    busybox grep ' /secret ' /proc/mounts | busybox cut -d ' ' -f 3
    busybox grep ' /secret ' /proc/mounts | busybox cut -d ' ' -f 4 | busybox cut -d , -f 1-3
    busybox stat -c %a:%u:%g /secret/..data/password
    ( : > /secret/mine ) 2>/dev/null || echo read-only
    : > /scratch/compared
    while [ "$PASSWORD" = "$(file)" ]; do busybox sleep 0.1; done
    echo changed
    while :; do busybox sleep 1 & wait $!; done
"#;
const COMPARED: &str = "same 32\ntmpfs\nro,nosuid,nodev\n440:0:0\nread-only\n";

async fn a_secret_is_in_a_variable_an_argument_and_a_file_and_in_clear_nowhere_else(
    runtime: &'static str,
) {
    let mut world = World::new(runtime).await;
    world.device.lose_power();
    world.device.log = Some(world.dir.path().join("agent.log"));
    world.start();
    let values = [random_value(), random_value()];
    let key = world.device.sealing_key;
    let base = with_scratch(world.pod(&[], &[("main", COMPARE)]), false);
    let [old, new] = [0, 1].map(|which| {
        let mut pod = base.clone();
        with_variable(&mut pod, world.hub.secret("db", &key, vec![file(&values[which])]));
        with_file(&mut pod);
        each_container(&mut pod, |container| {
            container.args = vec!["$(PASSWORD)".try_into().unwrap()].try_into().unwrap();
        });
        pod
    });
    world.assign(vec![old]);
    let first = world.hub.until_running(ID).await;
    world.until_log(1, "main", COMPARED).await;
    let clear_in = |world: &World| {
        let leaks = |value: &String| leaks(&world.hub, &world.device, world.dir.path(), value);
        values.iter().flat_map(leaks).collect::<Vec<_>>()
    };
    assert_eq!(clear_in(&world), [""; 0]);

    // A changed Secret is another file, and another variable only from the next start on.
    world.assign(vec![new]);
    world.until_log(2, "main", &format!("{COMPARED}changed\n")).await;
    let same = world.hub.until_running(ID).await;
    assert_eq!((same.pid, same.restarts), (first.pid, 0));
    kill_9(first.pid as i32);
    world.until_again("main", first.pid).await;
    world.until_log(3, "main", COMPARED).await;
    assert_eq!(clear_in(&world), [""; 0]);

    // Nobody listens on this port any more: what is sealed is on the disk.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let compared =
        world.device.state.join("run").join(ID.to_string()).join("volumes/scratch/compared");
    world.device.lose_power();
    world.device.send_to(as_address(nobody));
    let _ = fs::remove_file(&compared);
    world.start();
    wait("it should start without a hub", || compared.exists());
    fs::remove_file(&compared).unwrap();
    let run = world.device.newest_run(ID, "main-0");
    let mut pid = None;
    wait("it should run", || {
        pid = match lichen_shim::request(&run, &Request::Status).unwrap().phase {
            Phase::Running(started) => Some(started.pid),
            _ => None,
        };
        pid.is_some()
    });
    kill_9(pid.unwrap());
    wait("it should start again without a hub", || compared.exists());
    assert_eq!(clear_in(&world), [""; 0]);

    world.device.kill();
    world.device.send_to(world.hub.http.hub());
    world.hub.pods.clear();
    world.start();
    world.hub.until_running(ID).await;
    world.until_log(4, "main", COMPARED).await;
    world.until_gone().await;
    assert_eq!(clear_in(&world), [""; 0]);
}

async fn what_can_not_be_opened_keeps_a_container_waiting_until_it_is_sealed_anew(
    runtime: &'static str,
) {
    let mut world = World::new(runtime).await;
    let value = random_value();
    let base = world.pod(&[], &[("main", "busybox sleep 1000")]);
    let other = SealingKey(lichen_sealing::public_key(&[9; 32]));
    let [other, own] = [other, world.device.sealing_key].map(|key| {
        let mut pod = base.clone();
        with_variable(&mut pod, world.hub.secret("db", &key, vec![file(&value)]));
        pod
    });
    world.assign(vec![other]);
    let waits = |hub: &Hub| {
        hub.pods.get(&ID).is_some_and(|pod| {
            &pod.reason[..] == "CreateContainerConfigError" && pod.message.contains("default/db")
        })
    };
    world.hub.until("it should wait", waits).await;
    world.assign(vec![own]);
    world.hub.until_running(ID).await;
    world.until_gone().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs lichen-shim and lichen-wasmc: run by make test"]
async fn a_module_has_a_secret_in_a_variable_and_no_file_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start("pi").await;
    let mut device = Device::new(&dir.path().join("state"), &hub.http, "pi");
    device.log = Some(dir.path().join("agent.log"));
    device.start(&[]);
    let value = random_value();
    let mut pod = wasm(1, hub.http.put_artefact(&compile("hello.wat", dir.path())));
    let secret = hub.secret("db", &device.sealing_key, vec![file(&value)]);
    with_variable(&mut pod, secret);
    each_container(&mut pod, |container| {
        let mut variable = container.env[0].clone();
        variable.name = "NAME".try_into().unwrap();
        container.env = vec![variable].try_into().unwrap();
    });
    hub.assign(&[pod.clone()]);
    let first = hub.until_running(ID).await;
    let greeting = format!("hello from {value}\n");
    let logs = Action::Logs {
        pod: ID,
        container: Text::default(),
        follow: true,
        tail: None,
        previous: false,
        timestamps: false,
    };
    hub.command(1, logs);
    let (text, _) = hub.reply(1, |text| text.len() >= greeting.len()).await;
    assert!(text.starts_with(&greeting), "{text}");
    hub.command(2, Action::Cancel { command: 1 });
    // What it says is its own affair.
    let log = device.newest_run(ID, "main-0").join("log").display().to_string();
    assert_eq!(leaks(&hub, &device, dir.path(), &value), [log.as_str()]);
    assert!(!device.crash(), "a core would have it");

    device.lose_power();
    device.start(&[]);
    let is_new = |hub: &Hub| {
        hub.container(ID, "main").is_some_and(|own| ![0, first.pid].contains(&pid(own)))
    };
    hub.until("it should start again", is_new).await;
    let found = leaks(&hub, &device, dir.path(), &value);
    assert!(found.iter().all(|path| path.ends_with("/log")), "{found:?}");
}

for_each_runtime! {
    a_secret_is_in_a_variable_an_argument_and_a_file_and_in_clear_nowhere_else
    what_can_not_be_opened_keeps_a_container_waiting_until_it_is_sealed_anew
}
