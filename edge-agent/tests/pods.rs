//! Pods of several containers, as root, with each OCI runtime that the machine has.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::{fs, path::Path};

use firmware_compat::v1::owned::{
    ContainerState, File, Mount, MountPropagation, Phase, RestartPolicy, Volume,
};
use support::{
    hub::Hub,
    image::with_scratch,
    machine::wait,
    world::{ID, WAIT, World, cgroups, kill_9, namespace},
};

async fn share_network_hostname_and_volumes(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let server = "busybox hostname > /scratch/index.html; \
                  busybox httpd -p 127.0.0.1:8080 -h /scratch; while :; do busybox sleep 1; done";
    let client = "until busybox wget -q -O - http://127.0.0.1:8080/index.html 2>/dev/null; do busybox sleep 0.1; done; \
                  busybox cat /etc/hostname; while :; do busybox sleep 1; done";
    let pod = with_scratch(world.pod(&[], &[("server", server), ("client", client)]), true);
    world.assign(vec![pod]);
    world.hub.until_running(ID).await;
    let [one, two] = world.hub.all_running(ID)[..] else { panic!("two containers") };
    for kind in ["net", "ipc", "mnt", "pid"] {
        let is_shared = namespace(one.pid, kind) == namespace(two.pid, kind);
        assert_eq!(is_shared, ["net", "ipc"].contains(&kind), "{kind}");
        assert_ne!(namespace(one.pid, kind), namespace(std::process::id(), kind));
    }
    world.until_log(1, "client", "web-1\nweb-1\n").await;

    let groups = cgroups(&world.group());
    if runtime == "runc" {
        assert!(!groups.is_empty());
        for group in groups.iter().filter(|group| group.contains("/lichen/")) {
            let members = |container: &str| {
                fs::read_to_string(Path::new(group).join(container).join("cgroup.procs"))
            };
            // Version 2 beside version 1 has no controllers, and runc makes no group there.
            let Ok(first) = members("main-0") else { continue };
            assert!(first.lines().any(|line| line == one.pid.to_string()), "{group}");
            let second = members("main-1").unwrap();
            assert!(second.lines().any(|line| line == two.pid.to_string()), "{group}");
        }
    }
    world.until_gone().await;
}

async fn share_memory_for_as_long_as_the_sandbox_stands(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let writer = format!(
        "echo moss > /dev/shm/word; busybox grep -c ' /dev/shm .*noexec' /proc/mounts; {WAIT}"
    );
    let reader = "until busybox cat /dev/shm/word 2>/dev/null; do busybox sleep 0.1; done; \
                  while :; do busybox sleep 1; done";
    let pod = world.pod(&[], &[("writer", &writer), ("reader", reader)]);
    world.assign(vec![pod]);
    world.hub.until_running(ID).await;
    world.until_log(1, "reader", "moss\n").await;
    world.until_log(2, "writer", "1\nready\n").await;
    let [one, two] = world.hub.all_running(ID)[..] else { panic!("two containers") };

    // It outlives the agent and each container.
    let ipc = namespace(one.pid, "ipc");
    world.device.kill();
    world.start();
    world
        .hub
        .until("it should find it", |hub| hub.told.iter().any(|l| l.contains("found 1 pods")))
        .await;
    world.hub.until_running(ID).await;
    assert_eq!(world.hub.all_running(ID), [one, two]);
    kill_9(two.pid as i32);
    world.until_again("reader", two.pid).await;
    world.until_log(3, "reader", "moss\n").await;
    let [_, again] = world.hub.all_running(ID)[..] else { panic!("two containers") };
    assert_eq!(namespace(again.pid, "ipc"), ipc);

    // Not the device's next boot.
    world.device.lose_power();
    let shm = world.device.state.join("run").join(ID.to_string()).join("shm");
    assert_eq!(fs::read_dir(&shm).unwrap().count(), 0, "nothing of it is on the disk");
    world.start();
    world.until_again("writer", one.pid).await;
    world.until_gone().await;
}

async fn init_containers_come_first_one_by_one(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let first = "echo one > /scratch/steps";
    // Fails once.
    let second =
        "echo two >> /scratch/steps; test -e /scratch/failed || { : > /scratch/failed; exit 9; }";
    let main = format!("busybox cat /scratch/steps; {WAIT}");
    let mut pod = world.pod(&[("first", first), ("second", second)], &[("main", &main)]);
    pod = with_scratch(pod, false);
    world.assign(vec![pod]);
    let before = world.hub.until_running(ID).await;
    world.until_log(1, "main", "one\ntwo\ntwo\nready\n").await;
    let states = |hub: &Hub| {
        let own = |name| hub.container(ID, name).unwrap().clone();
        let (first, second) = (own("first"), own("second"));
        assert!(first.ready && second.ready);
        let ended = |state| matches!(state, ContainerState::Terminated(exit) if exit.code == 0);
        assert!(ended(first.state) && ended(second.state));
        assert_eq!((first.restarts, second.restarts), (0, 1));
        assert_eq!(second.last_exit.unwrap().code, 9);
    };
    states(&world.hub);

    // What they have done is known to the next agent, and done again in the next boot alone.
    world.device.kill();
    world.start();
    world
        .hub
        .until("it should find it", |hub| hub.told.iter().any(|l| l.contains("found 1 pods")))
        .await;
    assert_eq!(world.hub.until_running(ID).await, before);
    states(&world.hub);
    world.device.lose_power();
    world.start();
    world.until_again("main", before.pid).await;
    // `first` begins the file anew; `second` does not fail any more: the volume is the same.
    world.until_log(2, "main", "one\ntwo\nready\n").await;
    assert_eq!(world.hub.container(ID, "first").unwrap().restarts, 1);
    world.until_gone().await;
}

async fn an_init_container_that_fails_for_good_fails_its_pod(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let mut pod = world.pod(&[("first", "echo no; exit 3")], &[("main", WAIT)]);
    pod.restart = RestartPolicy::Never;
    world.assign(vec![pod]);
    let has_failed = |hub: &Hub| hub.pods.get(&ID).is_some_and(|pod| pod.phase == Phase::Failed);
    world.hub.until("it should fail", has_failed).await;
    assert_eq!(world.log(1, "first", false).await, "no\n");
    wait("its shim should leave", || world.device.processes().is_empty());
    world.until_gone().await;
}

async fn a_container_that_ends_starts_again_alone_in_the_same_sandbox(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let pod = world.pod(&[], &[("main", WAIT), ("sidecar", WAIT)]);
    world.assign(vec![pod]);
    world.hub.until_running(ID).await;
    let [main, sidecar] = world.hub.all_running(ID)[..] else { panic!("two containers") };
    let network = namespace(main.pid, "net");
    world.until_log(9, "sidecar", "ready\n").await;
    kill_9(sidecar.pid as i32);
    world.until_again("sidecar", sidecar.pid).await;
    let [same, again] = world.hub.all_running(ID)[..] else { panic!("two containers") };
    assert_eq!((same, again.restarts), (main, 1));
    assert_eq!(namespace(again.pid, "net"), network);
    assert_eq!(world.log(1, "sidecar", true).await, "ready\n");
    world.until_gone().await;
}

/// A link that is there before the container is prepared; what becomes of one that comes later is tested with the shim.
async fn parts_of_volumes_are_mounted_and_links_that_lead_out_are_refused(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let key = File {
        path: "key".try_into().unwrap(),
        mode: 0o644,
        data: b"value\n".to_vec().try_into().unwrap(),
    };
    let settings = world.hub.config(vec![key]);
    let evil = "until busybox test -e /scratch/part/ran; do busybox sleep 0.1; done; \
                busybox rm -r /scratch/part; busybox ln -s / /scratch/part; \
                while :; do busybox sleep 1; done";
    let shown = "busybox cat /key; : > /part/ran; while busybox test -d /part/.; do busybox sleep 0.1; \
                 busybox test -e /part/ran || exit 1; done";
    let mut pod = with_scratch(world.pod(&[], &[("evil", evil), ("shown", shown)]), false);
    let volume = Volume { name: "settings".try_into().unwrap(), source: settings };
    pod.volumes.push(volume).unwrap();
    let mount = |volume: &str, sub_path: &str, path: &str| Mount {
        volume: volume.try_into().unwrap(),
        path: path.try_into().unwrap(),
        sub_path: sub_path.try_into().unwrap(),
        expand: false,
        read_only: false,
        propagation: MountPropagation::None,
    };
    let mounts = vec![mount("scratch", "part", "/part"), mount("settings", "key", "/key")];
    let mut containers = pod.containers.clone().into_vec();
    containers[1].mounts = mounts.try_into().unwrap();
    pod.containers = containers.try_into().unwrap();
    world.assign(vec![pod]);
    let is_refused = |hub: &Hub| {
        hub.pods.get(&ID).is_some_and(|pod| {
            pod.message.contains("shown") && pod.message.contains("leads out of the volume")
        })
    };
    world.hub.until("the link should be refused", is_refused).await;
    assert_eq!(world.log(1, "shown", false).await, "value\n");
    world.until_gone().await;
}

for_each_runtime! {
    parts_of_volumes_are_mounted_and_links_that_lead_out_are_refused
    share_network_hostname_and_volumes
    share_memory_for_as_long_as_the_sandbox_stands
    init_containers_come_first_one_by_one
    an_init_container_that_fails_for_good_fails_its_pod
    a_container_that_ends_starts_again_alone_in_the_same_sandbox
}
