//! What becomes of Pods when agents, shims or files of theirs are killed, as root, with each OCI runtime that the machine has.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::{fs, os::unix::fs::MetadataExt};

use support::{
    image::with_scratch,
    machine::{is_alive, wait},
    world::{ID, WAIT, World, cgroups, kill_9, namespace},
};

async fn an_agent_adopts_every_container_and_a_killed_shim_restarts_its_own_alone(
    runtime: &'static str,
) {
    let mut world = World::new(runtime).await;
    let asked = "trap ': > /scratch/asked; exit 0' TERM; : > /scratch/ready; while :; do busybox sleep 1 & wait $!; done";
    let pod = with_scratch(world.pod(&[], &[("main", WAIT), ("other", asked)]), false);
    world.assign(vec![pod]);
    world.hub.until_running(ID).await;
    let before = world.hub.all_running(ID);
    let [network, ipc] = ["net", "ipc"].map(|kind| namespace(before[0].pid, kind));
    world.device.kill();
    // As for an agent that its service manager gives other mounts.
    let held = |name| world.device.state.join("run").join(ID.to_string()).join(name);
    let [network_file, ipc_file, shm] = ["network", "ipc", "shm"].map(held);
    for path in [&network_file, &ipc_file, &shm] {
        rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
    world.start();
    world
        .hub
        .until("it should find it", |hub| hub.told.iter().any(|l| l.contains("found 1 pods")))
        .await;
    world.hub.until_running(ID).await;
    assert_eq!(world.hub.all_running(ID), before);
    assert_eq!(fs::metadata(&network_file).unwrap().ino(), network);
    assert_eq!(fs::metadata(&ipc_file).unwrap().ino(), ipc);

    // With an agent to see it.
    let scratch = world.device.state.join("run").join(ID.to_string()).join("volumes/scratch");
    wait("the trap should be set", || scratch.join("ready").exists());
    fs::remove_file(scratch.join("ready")).unwrap();
    kill_9(world.device.shim(ID, "main-1"));
    world.until_again("other", before[1].pid).await;
    let [main, other] = world.hub.all_running(ID)[..] else { panic!("two containers") };
    assert_eq!((main, other.restarts), (before[0], 1));
    assert_eq!([namespace(other.pid, "net"), namespace(other.pid, "ipc")], [network, ipc]);
    assert!(scratch.join("asked").exists(), "it was asked to stop");
    let lost = world.hub.container(ID, "other").unwrap().last_exit.clone().unwrap();
    assert_eq!(&lost.reason[..], "Lost");
    assert!(lost.message.contains("its shim was killed; it was asked to stop"), "{lost:?}");

    // With none: the next one asks it to stop and says why.
    fs::remove_file(scratch.join("asked")).unwrap();
    wait("the trap should be set", || scratch.join("ready").exists());
    world.device.kill();
    kill_9(world.device.shim(ID, "main-1"));
    world.hub.told.clear();
    world.start();
    world.until_again("other", other.pid).await;
    let [same, again] = world.hub.all_running(ID)[..] else { panic!("two containers") };
    assert_eq!((same, again.restarts), (main, 2));
    assert!(scratch.join("asked").exists(), "it was asked to stop");
    let why = |line: &String| line.contains("its shim was killed");
    assert!(world.hub.told.iter().any(why), "{:?}", world.hub.told);

    // A Pod that is deleted meanwhile is not started once more.
    world.device.kill();
    let orphan = world.device.shim(ID, "main-1");
    kill_9(orphan);
    world.assign(Vec::new());
    world.hub.told.clear();
    world.start();
    world.hub.until_gone(ID).await;
    // What came before is the news of the first agent's starts.
    let told = world.hub.told.iter().skip_while(|line| !line.starts_with("AgentStarted"));
    assert!(!told.clone().any(|line| line.starts_with("Started")), "{:?}", world.hub.told);
    assert!(told.clone().any(|line| line.contains("its shim was killed")), "{:?}", world.hub.told);
    world.until_gone().await;
}

async fn what_is_left_without_files_is_found_by_its_cgroup(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let pod = world.pod(&[], &[("main", WAIT)]);
    world.assign(vec![pod]);
    let before = world.hub.until_running(ID).await;
    world.device.kill();
    if !cgroups(&world.group())
        .iter()
        .any(|group| group.ends_with(&format!("/lichen/{}", world.group())))
    {
        // Without cgroups there is nothing to find it by, and the device forgets it.
        return world.device.lose_power();
    }
    // As a cleaner of directories would, but for what is mounted there.
    let run = world.device.state.join("run");
    for entry in fs::read_dir(run.join(ID.to_string())).unwrap().flatten() {
        if !["network", "ipc", "shm"].iter().any(|held| entry.file_name() == *held) {
            let path = entry.path();
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }
    world.start();
    world.until_again("main", before.pid).await;
    assert!(!is_alive(before.pid), "the first has ended");
    world.until_gone().await;
}

for_each_runtime! {
    an_agent_adopts_every_container_and_a_killed_shim_restarts_its_own_alone
    what_is_left_without_files_is_found_by_its_cgroup
}
