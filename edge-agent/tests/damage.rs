//! A device whose files are damaged, one at a time, as root, with each OCI runtime that the machine has: it starts what it
//! was to run, and keeps what applications wrote.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use firmware_compat::v1::owned::{ContainerState, Phase, RestartPolicy};
use rustix::process::{Pid, Signal, kill_process};
use support::{
    hub::{DEADLINE, Hub},
    image::with_scratch,
    machine::{program, wait},
    world::{ID, WAIT, World},
};

/// How often the volume is looked at while the device says nothing.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Says in its volume that it started, durably.
const COUNT: &str =
    "echo started >> /scratch/starts; busybox sync; while :; do busybox sleep 1; done";

fn starts(world: &World) -> usize {
    let path = world.device.volume(ID, "scratch").join("starts");
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

async fn no_single_file_keeps_a_device_from_starting_or_costs_it_data(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let pod = with_scratch(world.pod(&[], &[("main", COUNT)]), false);
    world.assign(vec![pod.clone()]);
    world.hub.until_running(ID).await;
    wait("it should start", || starts(&world) == 1);
    // One that is damaged leaves the one before.
    world.hub.assign(&[pod]);
    let generation = world.hub.id().generation;
    let taken = |hub: &Hub| hub.assignment.is_some_and(|taken| taken.generation == generation);
    world.hub.until("it should take the same once more", taken).await;
    world.device.lose_power();
    let files = files_of(&world.device.state);
    assert!(files.iter().any(|path| path.ends_with("pod")), "{files:?}");
    for path in files {
        for damage in [empty, rot, unreadable] {
            // Of a run before the last two, by now.
            if !path.is_file() {
                continue;
            }
            let before = starts(&world);
            let kept = fs::read(&path).ok();
            damage(&path);
            world.start();
            until_started(&mut world, before + 1, &path).await;
            world.device.lose_power();
            let _replaced_meanwhile = fs::remove_file(&path);
            if let Some(kept) = kept.filter(|_| path.parent().unwrap().exists()) {
                fs::write(&path, kept).unwrap();
            }
        }
    }
}

/// With a hub that answers, in case the device comes to it.
async fn until_started(world: &mut World, times: usize, without: &Path) {
    let began = Instant::now();
    while starts(world) != times {
        assert!(began.elapsed() < DEADLINE, "it should start without {}", without.display());
        let _quiet = tokio::time::timeout(LOOK_INTERVAL, world.hub.next()).await;
    }
}

/// Every file that is the agent's own; what is fetched or unpacked is verified in another way, and volumes are the
/// application's.
fn files_of(state: &Path) -> Vec<PathBuf> {
    let found = Command::new("find").arg(state).args(["-type", "f"]).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    let own = |path: &&str| {
        !["/artefacts/sha256/", "/layers/", "/volumes/", "/lock"]
            .iter()
            .any(|part| path.contains(part))
    };
    found.lines().filter(own).map(PathBuf::from).collect()
}

fn empty(path: &Path) {
    fs::write(path, "").unwrap();
}

fn rot(path: &Path) {
    fs::write(path, [0xa5; 300]).unwrap();
}

/// Opens, and every read of it fails with EIO, as one on a bad sector: nothing is mapped there.
fn unreadable(path: &Path) {
    fs::remove_file(path).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem", path).unwrap();
}

async fn a_damaged_record_of_a_pod_that_runs_restarts_nothing(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    world.assign(vec![with_scratch(world.pod(&[], &[("main", COUNT)]), false)]);
    let before = world.hub.until_running(ID).await;
    wait("it should start", || starts(&world) == 1);
    world.device.kill();
    empty(&world.device.pod_dir(ID).join("pod"));
    world.start();
    world
        .hub
        .until("it should find it", |hub| hub.told.iter().any(|l| l.contains("found 1 pods")))
        .await;
    assert_eq!(world.hub.until_running(ID).await, before);
    assert_eq!(starts(&world), 1);
    world.until_gone().await;
}

async fn an_end_that_cannot_be_read_is_an_end_and_can_be_cleaned(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let mut pod = world.pod(&[], &[("main", "exit 0")]);
    pod.restart = RestartPolicy::Never;
    world.assign(vec![pod]);
    let phase = |hub: &Hub, phase| hub.pods.get(&ID).is_some_and(|pod| pod.phase == phase);
    world.hub.until("it should end", |hub| phase(hub, Phase::Succeeded)).await;
    world.device.kill();
    empty(&world.device.newest_run(ID, "main-0").join("exit"));
    world.start();
    world.hub.until("how it ended is unknown", |hub| phase(hub, Phase::Failed)).await;
    let own = world.hub.container(ID, "main").unwrap().clone();
    let ContainerState::Terminated(exit) = &own.state else { panic!("{own:?}") };
    assert_eq!((&exit.reason[..], own.restarts), ("Lost", 0));
    assert!(exit.message.contains("can't be read"), "{exit:?}");
    world.until_gone().await;
}

async fn a_shim_that_does_not_answer_is_adopted(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    world.assign(vec![world.pod(&[], &[("main", WAIT)])]);
    let before = world.hub.until_running(ID).await;
    let shim = Pid::from_raw(world.device.shim(ID, "main-0")).unwrap();
    world.device.kill();
    kill_process(shim, Signal::STOP).unwrap();
    world.start();
    world
        .hub
        .until("it should find it", |hub| hub.told.iter().any(|l| l.contains("found 1 pods")))
        .await;
    assert_eq!(world.hub.until_running(ID).await, before);
    kill_process(shim, Signal::CONT).unwrap();
    world.until_gone().await;
}

async fn a_directory_of_a_newer_agent_is_left_alone(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    world.assign(vec![world.pod(&[], &[("main", WAIT)])]);
    let before = world.hub.until_running(ID).await;
    world.device.kill();
    fs::write(world.device.state.join("format"), "99\n").unwrap();
    let state = world.device.state.clone();
    let refused =
        Command::new(program("lichen-agent")).arg("--state").arg(&state).output().unwrap();
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("newer agent (format 99, this one knows 1)"), "{said}");
    assert!(support::machine::is_alive(before.pid), "what runs goes on");
    fs::write(state.join("format"), "1\n").unwrap();
    world.start();
    world
        .hub
        .until("it should find it", |hub| hub.told.iter().any(|l| l.contains("found 1 pods")))
        .await;
    assert_eq!(world.hub.until_running(ID).await, before);
    world.until_gone().await;
}

for_each_runtime! {
    no_single_file_keeps_a_device_from_starting_or_costs_it_data
    a_damaged_record_of_a_pod_that_runs_restarts_nothing
    an_end_that_cannot_be_read_is_an_end_and_can_be_cleaned
    a_shim_that_does_not_answer_is_adopted
    a_directory_of_a_newer_agent_is_left_alone
}
