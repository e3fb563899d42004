//! A device whose disk loses bits: what is stored is verified, fetched again, and nothing else stops.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
};

use firmware_compat::v1::owned::Phase;
use support::{
    hub::Hub,
    image::with_scratch,
    machine::{Device, compile, is_alive, wasm},
    world::{ID, WAIT, World, kill_9},
};

/// Overwrites some bytes in the middle of a file, and leaves its times as they were, as a worn disk does.
fn rot(path: &Path) {
    let found = fs::metadata(path).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    let middle = found.len() / 2;
    let length = 192.min(found.len() - middle);
    file.write_all_at(&vec![0xa5; length as usize], middle).unwrap();
    file.set_modified(found.modified().unwrap()).unwrap();
}

fn told(hub: &Hub, word: &str) -> bool {
    hub.told.iter().any(|line| line.contains(word))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs lichen-shim and lichen-wasmc: run by make test"]
async fn a_damaged_module_is_never_mapped_as_code() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start("pi").await;
    let mut device = Device::new(&dir.path().join("state"), &hub.http, "pi");
    device.start(&[]);
    let compiled = hub.http.put_artefact(&compile("hello.wat", dir.path()));
    hub.assign(&[wasm(1, compiled)]);
    let before = hub.until_running(ID).await;
    device.lose_power();
    let artefact = device.state.join("artefacts/sha256").join(compiled.digest.to_string());
    let sound = fs::read(&artefact).unwrap();
    rot(&artefact);
    assert_ne!(fs::read(&artefact).unwrap(), sound);
    device.start(&[]);
    let again = |hub: &Hub| {
        hub.pods.get(&ID).is_some_and(|pod| pod.phase == Phase::Running)
            && support::hub::pid(&hub.pods[&ID].containers[0]) != before.pid
    };
    hub.until("it should run again", again).await;
    assert!(told(&hub, "is damaged on the disk"), "{:?}", hub.told);
    assert_eq!(fs::read(&artefact).unwrap(), sound);
}

/// The file of a layer.
fn in_layer(world: &World, path: &str) -> PathBuf {
    let layers = fs::read_dir(world.device.state.join("layers")).unwrap().flatten();
    let named = |name: &str| !name.contains('.') && !name.contains('-');
    let mut layers = layers.filter(|layer| named(&layer.file_name().to_string_lossy()));
    layers.find_map(|layer| Some(layer.path().join(path)).filter(|path| path.exists())).unwrap()
}

async fn an_emptied_program_is_fetched_again(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    world.assign(vec![world.pod(&[], &[("main", WAIT)])]);
    let before = world.hub.until_running(ID).await;
    world.device.lose_power();
    fs::write(in_layer(&world, "bin/busybox"), "").unwrap();
    world.start();
    world.until_again("main", before.pid).await;
    assert!(told(&world.hub, "bin/busybox: 0 bytes instead of"), "{:?}", world.hub.told);
    world.until_gone().await;
}

async fn damage_is_found_in_the_background_and_stops_nothing(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let script = format!("busybox cat /etc/motd; {WAIT}");
    let pod = with_scratch(world.pod(&[], &[("main", &script)]), false);
    world.assign(vec![pod]);
    let before = world.hub.until_running(ID).await;
    world.device.kill();
    rot(&in_layer(&world, "etc/motd"));
    world.start();
    world
        .hub
        .until("it should be found", |hub| told(hub, "etc/motd: its bytes are other ones"))
        .await;
    assert!(is_alive(before.pid), "what runs goes on");
    kill_9(before.pid as i32);
    world.until_again("main", before.pid).await;
    world.until_log(1, "main", "hello from the layer\nready\n").await;
    world.until_gone().await;
}

/// A runtime that says with what it was called, and that does not work while the file `broken` lies beside it.
fn wrapper(dir: &Path, runtime: &str) -> &'static str {
    let (path, broken, calls) = (dir.join(runtime), dir.join("broken"), dir.join("calls"));
    let [broken, calls] = [broken, calls].map(|path| path.display().to_string());
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {calls}\ntest -e {broken} && exit 1\nexec {runtime} \"$@\"\n"
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    Box::leak(path.display().to_string().into_boxed_str())
}

async fn a_trial_is_repeated_until_it_passes_and_then_no_boot_waits_for_it(runtime: &'static str) {
    let dir = tempfile::tempdir().unwrap();
    let (broken, calls) = (dir.path().join("broken"), dir.path().join("calls"));
    fs::write(&broken, "").unwrap();
    let mut world = World::new(wrapper(dir.path(), runtime)).await;
    world.assign(vec![world.pod(&[], &[("main", WAIT)])]);
    let waits = |hub: &Hub| {
        hub.pods.get(&ID).is_some_and(|pod| pod.reason.as_str() == "RuntimeUnavailable")
    };
    world.hub.until("there is no runtime yet", waits).await;
    fs::remove_file(&broken).unwrap();
    let before = world.hub.until_running(ID).await;
    world.device.lose_power();
    fs::write(&calls, "").unwrap();
    world.start();
    world.until_again("main", before.pid).await;
    let called = fs::read_to_string(&calls).unwrap();
    let until_start = called.lines().take_while(|line| !line.contains("start"));
    assert!(!until_start.clone().any(|line| line.contains("lichen-trial")), "{called}");
    assert!(until_start.count() > 0, "{called}");
    world.until_gone().await;
}

for_each_runtime! {
    an_emptied_program_is_fetched_again
    damage_is_found_in_the_background_and_stops_nothing
    a_trial_is_repeated_until_it_passes_and_then_no_boot_waits_for_it
}
