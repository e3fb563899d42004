//! A device whose disk is small and full, as root, with each OCI runtime that the machine has.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::{fs, io::Write as _, path::Path};

use firmware_compat::v1::owned::{ConditionKind, NodeCondition, Phase, VolumeSource};
use support::{
    hub::Hub,
    image::with_scratch,
    machine::wait,
    world::{ID, WAIT, World},
};

/// A state directory on a file system of so many MiB.
async fn world(runtime: &'static str, mib: u64) -> World {
    World::on(runtime, |state| mount_memory(state, mib)).await
}

fn mount_memory(state: &Path, mib: u64) {
    let options = std::ffi::CString::new(format!("size={mib}m")).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", state, "tmpfs", flags, options.as_c_str()).unwrap();
}

/// Leaves nothing.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    let mut block = vec![1; 1 << 20];
    while !block.is_empty() {
        if file.write_all(&block).is_err() {
            block.truncate(block.len() / 2);
        }
    }
}

fn condition(hub: &Hub, kind: ConditionKind) -> Option<&NodeCondition> {
    hub.conditions.iter().find(|said| said.kind == kind)
}

async fn a_full_disk_takes_the_assignment_that_empties_it(runtime: &'static str) {
    let mut world = world(runtime, 64).await;
    world.assign(vec![world.pod(&[], &[("main", WAIT)])]);
    world.hub.until_running(ID).await;
    let pressure = |hub: &Hub| condition(hub, ConditionKind::DiskPressure).cloned();
    let at_first = pressure(&world.hub).unwrap();
    assert_eq!((at_first.is_true, &at_first.reason[..]), (false, "KubeletHasNoDiskPressure"));
    let filler = world.device.state.join("filler");
    fill(&filler);
    let reserve = world.device.state.join("reserve");
    assert!(reserve.exists());
    world.until_gone().await;
    assert!(!reserve.exists(), "it was given up for the assignment");
    world.hub.until("it should say so", |hub| pressure(hub).is_some_and(|said| said.is_true)).await;
    let said = pressure(&world.hub).unwrap();
    assert_eq!(&said.reason[..], "KubeletHasDiskPressure");
    assert!(said.message.contains("of 64Mi are available, less than 6Mi"), "{said:?}");
    fs::remove_file(&filler).unwrap();
    wait("room should be kept again", || reserve.exists());
}

async fn what_does_not_fit_is_not_begun_and_comes_when_there_is_room(runtime: &'static str) {
    let mut world = world(runtime, 64).await;
    world.hub.until("it should find its runtime", |hub| hub.can_run).await;
    let filler = world.device.state.join("filler");
    fill(&filler);
    let file = fs::File::options().write(true).open(&filler).unwrap();
    // Room for the assignment, and not for what is to run.
    file.set_len(file.metadata().unwrap().len() - (6 << 20)).unwrap();
    // What somebody has open takes room after it is removed.
    drop(file);
    world.assign(vec![world.pod(&[], &[("main", WAIT)])]);
    let is_refused = |hub: &Hub| {
        hub.pods.get(&ID).is_some_and(|pod| {
            pod.reason.as_str() == "DiskFull" && pod.message.contains("would not fit")
        })
    };
    world.hub.until("it should not be begun", is_refused).await;
    fs::remove_file(&filler).unwrap();
    world.hub.until_running(ID).await;
    world.until_gone().await;
}

async fn a_pod_over_the_limit_of_its_volume_is_evicted_and_begins_anew(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let script = "test -e /scratch/was && exit 9; : > /scratch/was; \
                  busybox dd if=/dev/zero of=/scratch/big bs=1M count=3 2>/dev/null; echo wrote; \
                  while :; do busybox sleep 1; done";
    let mut pod = with_scratch(world.pod(&[], &[("main", script)]), false);
    let mut volumes = pod.volumes.clone().into_vec();
    volumes[0].source = VolumeSource::EmptyDir { memory: false, size_limit_bytes: 1 << 20 };
    pod.volumes = volumes.try_into().unwrap();
    world.assign(vec![pod]);
    let first = world.hub.until_running(ID).await;
    let is_evicted = |hub: &Hub| {
        hub.pods.get(&ID).is_some_and(|pod| {
            pod.phase == Phase::Backoff
                && pod.reason.as_str() == "Evicted"
                && pod.message.as_str()
                    == "Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Mi\"."
        })
    };
    world.hub.until("it should be evicted", is_evicted).await;
    assert!(!world.device.volume(ID, "scratch").exists(), "what it wrote is gone");
    assert!(!support::machine::is_alive(first.pid));
    // With an empty volume.
    world.until_again("main", first.pid).await;
    assert_eq!(world.hub.container(ID, "main").unwrap().restarts, 0);
    world.until_gone().await;
}

for_each_runtime! {
    a_full_disk_takes_the_assignment_that_empties_it
    what_does_not_fit_is_not_begun_and_comes_when_there_is_room
    a_pod_over_the_limit_of_its_volume_is_evicted_and_begins_anew
}
