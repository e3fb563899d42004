//! Probes, hooks, sidecars and last words, as root, with each OCI runtime that the machine has.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::{fs, path::PathBuf};

use firmware_compat::v1::owned::{
    Container, ContainerState, Handler, Hook, HostPathKind, List, Moment, Mount, MountPropagation,
    Phase, Pod, Probe, Purpose, RestartPolicy, Text, Value, Variable, Volume, VolumeSource,
};
use support::{
    hub::Hub,
    machine::{each_container, wait},
    world::{ID, WAIT, World},
};

fn exec(words: &[&str]) -> Handler {
    let words: Vec<_> = words.iter().map(|word| Text::try_from(*word).unwrap()).collect();
    Handler::Exec { command: words.try_into().unwrap() }
}

fn get(path: &str) -> Handler {
    let (host, path) = (Text::default(), path.try_into().unwrap());
    Handler::HttpGet { host, port: 8080, path, tls: false, headers: List::default() }
}

fn probe(purpose: Purpose, action: Handler) -> Probe {
    Probe {
        purpose,
        action,
        initial_delay_s: 0,
        period_s: 1,
        timeout_s: 20,
        success_threshold: 1,
        failure_threshold: 1,
        grace_ms: 0,
    }
}

/// Every container sees a directory of the test at `/out`.
fn with_out(mut pod: Pod, world: &World) -> (Pod, PathBuf) {
    let out = world.dir.path().join("out");
    fs::create_dir_all(&out).unwrap();
    let path = out.to_str().unwrap().try_into().unwrap();
    let source = VolumeSource::HostPath { path, kind: HostPathKind::Directory };
    pod.volumes = vec![Volume { name: "out".try_into().unwrap(), source }].try_into().unwrap();
    each_container(&mut pod, |container| {
        let mount = Mount {
            volume: "out".try_into().unwrap(),
            path: "/out".try_into().unwrap(),
            sub_path: Text::default(),
            read_only: false,
            expand: false,
            propagation: MountPropagation::None,
        };
        container.mounts = vec![mount].try_into().unwrap();
    });
    (pod, out)
}

fn change(pod: &mut Pod, name: &str, change: impl Fn(&mut Container)) {
    each_container(pod, |container| {
        if container.name.as_str() == name {
            change(container);
        }
    });
}

fn is_ready(hub: &Hub) -> bool {
    hub.container(ID, "main").is_some_and(|main| main.ready)
}

fn was_told(hub: &Hub, text: &str) -> bool {
    hub.told.iter().any(|line| line.contains(text))
}

async fn probes_ask_in_the_pods_own_network(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let main = format!("busybox httpd -p 127.0.0.1:8080 -h /out; : > /out/alive; {WAIT}");
    let (mut pod, out) = with_out(world.pod(&[], &[("main", &main)]), &world);
    change(&mut pod, "main", |main| {
        let probes = vec![
            probe(Purpose::Startup, Handler::TcpSocket { host: Text::default(), port: 8080 }),
            probe(Purpose::Readiness, get("/ready")),
            probe(Purpose::Liveness, exec(&["/bin/busybox", "test", "-e", "/out/alive"])),
        ];
        main.supervision.probes = probes.try_into().unwrap();
    });
    change(&mut pod, "main", |main| {
        let mut probes = main.supervision.probes.to_vec();
        // It may take a moment to listen.
        probes[0].failure_threshold = 30;
        main.supervision.probes = probes.try_into().unwrap();
    });
    world.assign(vec![pod]);
    let before = world.hub.until_running(ID).await;
    let told = "Readiness probe failed: HTTP probe failed with statuscode: 404";
    world.hub.until("it is asked", |hub| was_told(hub, told)).await;
    let main = world.hub.container(ID, "main").unwrap();
    assert!(main.started && !main.ready);
    fs::write(out.join("ready"), "yes").unwrap();
    world.hub.until("it should be ready", is_ready).await;

    // The next agent knows, before it has asked.
    world.device.kill();
    world.start();
    world.hub.until("it should find it", |hub| was_told(hub, "found 1 pods")).await;
    assert_eq!(world.hub.until_running(ID).await, before);
    assert!(is_ready(&world.hub));
    fs::remove_file(out.join("ready")).unwrap();
    world.hub.until("it should not be ready", |hub| !is_ready(hub)).await;

    fs::write(out.join("ready"), "yes").unwrap();
    fs::remove_file(out.join("alive")).unwrap();
    world.until_again("main", before.pid).await;
    assert!(was_told(
        &world.hub,
        "Killing: Container main failed liveness probe, will be restarted"
    ));
    assert_eq!(world.hub.container(ID, "main").unwrap().restarts, 1);
    world.hub.until("it should be ready again", is_ready).await;
    world.until_gone().await;
}

async fn programs_run_as_the_container_does_and_leave_nothing_when_they_take_too_long(
    runtime: &'static str,
) {
    let mut world = World::new(runtime).await;
    let (mut pod, out) = with_out(world.pod(&[], &[("main", WAIT)]), &world);
    // Sees the container's environment and processes, and is in its cgroup.
    let script = "test \"$COLOUR\" = moss && test -e /etc/motd && \
                  test \"$(busybox cat /proc/self/cgroup)\" = \"$(busybox cat /proc/1/cgroup)\" && \
                  busybox ps > /out/seen";
    // As hard to get rid of as programs are.
    let slow = "trap '' TERM; busybox sleep 98765 & : > /out/slow; busybox sleep 98764";
    let own = |word: &str| format!("{word} {}", world.dir.path().display());
    let mark = own("#");
    let slow = format!("{slow} {mark}");
    change(&mut pod, "main", |main| {
        let value = Value::Text("moss".try_into().unwrap());
        main.env = vec![Variable { name: "COLOUR".try_into().unwrap(), value }].try_into().unwrap();
        let slow = Probe {
            timeout_s: 1,
            failure_threshold: 1000,
            ..probe(Purpose::Liveness, exec(&["/bin/busybox", "sh", "-c", &slow]))
        };
        let readiness = probe(Purpose::Readiness, exec(&["/bin/busybox", "sh", "-c", script]));
        main.supervision.probes = vec![slow, readiness].try_into().unwrap();
    });
    world.assign(vec![pod]);
    world.hub.until("it should be ready", is_ready).await;
    assert!(fs::read_to_string(out.join("seen")).unwrap().contains("busybox sleep 1"));
    world.hub.until("it takes too long", |hub| was_told(hub, "timed out")).await;
    assert!(out.join("slow").exists());
    // The next question is of another process; of each no trace is left once it was given up.
    let mut pod = world.pod(&[], &[("main", WAIT)]);
    pod.identity.0[0] ^= 1;
    world.assign(vec![pod]);
    world
        .hub
        .until("the next one runs", |hub| {
            hub.pods
                .get(&ID)
                .is_some_and(|pod| pod.phase == Phase::Running && pod.identity.0[0] != 1)
        })
        .await;
    let is_left = || {
        fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&mark)
        })
    };
    wait("nothing of it should be left", || !is_left());
    world.until_gone().await;
}

async fn hooks_sidecars_and_last_words(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let side = "trap 'echo side ends >> /out/steps; exit 0' TERM; echo side >> /out/steps; : > /out/up; \
                while :; do busybox sleep 1 & wait $!; done";
    let main = "until test -e /out/go; do busybox sleep 0.1; done; echo main ends >> /out/steps; \
                echo enough > /out/word; echo -n 'that is all' > /dev/termination-log; exit 3";
    let other = "until test -e /out/go; do busybox sleep 0.1; done; echo one; echo two; exit 4";
    let pod = world.pod(&[("side", side)], &[("main", main), ("other", other)]);
    let (mut pod, out) = with_out(pod, &world);
    pod.restart = RestartPolicy::Never;
    let write =
        |word: &str| exec(&["/bin/busybox", "sh", "-c", &format!("echo {word} >> /out/steps")]);
    change(&mut pod, "side", |side| {
        side.supervision.sidecar = true;
        let up = probe(Purpose::Startup, exec(&["/bin/busybox", "test", "-e", "/out/up"]));
        let up = Probe { failure_threshold: 100, ..up };
        side.supervision.probes = vec![up].try_into().unwrap();
        let hook = Hook { moment: Moment::PreStop, action: write("side is told") };
        side.supervision.hooks = vec![hook].try_into().unwrap();
    });
    change(&mut pod, "main", |main| {
        let hook = Hook { moment: Moment::PostStart, action: write("main has begun") };
        main.supervision.hooks = vec![hook].try_into().unwrap();
    });
    change(&mut pod, "other", |other| other.supervision.message_from_log = true);
    world.assign(vec![pod]);
    world.hub.until("it should be ready", is_ready).await;
    assert!(world.hub.container(ID, "side").unwrap().started);
    assert_eq!(fs::read_to_string(out.join("steps")).unwrap(), "side\nmain has begun\n");
    fs::write(out.join("go"), "").unwrap();
    let has_failed = |hub: &Hub| hub.pods.get(&ID).is_some_and(|pod| pod.phase == Phase::Failed);
    world.hub.until("it should end", has_failed).await;
    let steps = fs::read_to_string(out.join("steps")).unwrap();
    assert_eq!(steps, "side\nmain has begun\nmain ends\nside is told\nside ends\n");
    let ended = |name: &str| match &world.hub.container(ID, name).unwrap().state {
        ContainerState::Terminated(exit) => (exit.code, exit.message.to_string()),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(ended("main"), (3, "that is all".to_owned()));
    assert_eq!(ended("other"), (4, "one\ntwo".to_owned()));
    assert_eq!(ended("side").0, 0);
    world.until_gone().await;
}

async fn a_hook_before_the_end_has_the_grace_and_a_failed_one_after_the_start_ends_it(
    runtime: &'static str,
) {
    let mut world = World::new(runtime).await;
    let main = "trap 'echo stopped >> /out/steps; exit 0' TERM; while :; do busybox sleep 1 & wait $!; done";
    let (mut pod, out) = with_out(world.pod(&[], &[("main", main)]), &world);
    // Fails the first time.
    let begin = "test -e /out/tried && exit 0; : > /out/tried; echo no luck; exit 7";
    let hooks = vec![
        Hook { moment: Moment::PostStart, action: exec(&["/bin/busybox", "sh", "-c", begin]) },
        Hook {
            moment: Moment::PreStop,
            action: exec(&["/bin/busybox", "sh", "-c", "echo told >> /out/steps"]),
        },
    ];
    change(&mut pod, "main", |main| main.supervision.hooks = hooks.clone().try_into().unwrap());
    world.assign(vec![pod]);
    world.hub.until("it should be ready", is_ready).await;
    assert!(was_told(&world.hub, "FailedPostStartHook: PostStartHook failed: no luck"));
    assert_eq!(world.hub.container(ID, "main").unwrap().restarts, 1);
    assert_eq!(fs::read_to_string(out.join("steps")).unwrap(), "told\nstopped\n");
    world.until_gone().await;
    assert_eq!(fs::read_to_string(out.join("steps")).unwrap(), "told\nstopped\ntold\nstopped\n");
}

async fn a_pod_that_is_active_for_too_long_has_failed_for_good(runtime: &'static str) {
    let mut world = World::new(runtime).await;
    let mut pod = world.pod(&[], &[("main", WAIT)]);
    pod.active_deadline_s = 1;
    world.assign(vec![pod]);
    let has_failed = |hub: &Hub| hub.pods.get(&ID).is_some_and(|pod| pod.phase == Phase::Failed);
    world.hub.until("it should fail", has_failed).await;
    assert_eq!(world.hub.pods[&ID].reason.as_str(), "DeadlineExceeded");
    // Nor does the next agent start it again.
    world.device.kill();
    world.hub.pods.clear();
    world.start();
    world.hub.until("it has failed", has_failed).await;
    assert_eq!(world.hub.pods[&ID].reason.as_str(), "DeadlineExceeded");
    assert!(world.device.processes().is_empty());
    world.until_gone().await;
}

for_each_runtime! {
    probes_ask_in_the_pods_own_network
    programs_run_as_the_container_does_and_leave_nothing_when_they_take_too_long
    hooks_sidecars_and_last_words
    a_hook_before_the_end_has_the_grace_and_a_failed_one_after_the_start_ends_it
    a_pod_that_is_active_for_too_long_has_failed_for_good
}
