//! The agent as a process, with real shims and real modules, against a hub made for the test.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::fs;

use firmware_compat::{
    id::PodId,
    v1::owned::{
        Action, ContainerState, Mount, MountPropagation, Outcome, Phase, Pod, Text, Value,
        Variable, Volume, VolumeSource,
    },
};
use support::{
    http::{Server, as_address},
    hub::{Heard, Hub, pid},
    machine::{Device, compile, program, wait, wasm},
};

const ID: PodId = PodId([1; 16]);

struct World {
    hub: Hub,
    device: Device,
    dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::start("pi").await;
        let mut device = Device::new(&dir.path().join("state"), &hub.http, "pi");
        device.start(&[]);
        Self { hub, device, dir }
    }

    fn hello(&self, number: u8) -> Pod {
        let compiled = self.hub.http.put_artefact(&compile("hello.wat", self.dir.path()));
        wasm(number, compiled)
    }

    fn assign(&mut self, pods: Vec<Pod>) {
        self.hub.assign(&pods);
    }
}

fn logs(follow: bool, previous: bool) -> Action {
    Action::Logs {
        pod: ID,
        container: Text::default(),
        follow,
        tail: None,
        previous,
        timestamps: false,
    }
}

fn with_variable(mut pod: Pod, name: &str, value: &str) -> Pod {
    let mut container = pod.containers[0].clone();
    let variable =
        Variable { name: name.try_into().unwrap(), value: Value::Text(value.try_into().unwrap()) };
    container.env = vec![variable].try_into().unwrap();
    pod.containers = vec![container].try_into().unwrap();
    pod
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs lichen-shim and lichen-wasmc: run by make test"]
async fn a_module_sees_its_variables_to_the_byte() {
    let mut world = World::new().await;
    let value = "say \"hi\" 'there' \\ $$(HOME) $NONE $(NONE)\n\tGr\u{fc}\u{df}e\u{85} = ; end ";
    let pod = with_variable(world.hello(1), "NAME", value);
    world.assign(vec![pod]);
    world.hub.until_running(ID).await;
    world.hub.command(1, logs(true, false));
    let seen = format!("hello from {}\n", value.replace("$$", "$"));
    let (text, _) = world.hub.reply(1, |text| text.len() >= seen.len()).await;
    assert!(text.starts_with(&seen), "{text}");
    world.assign(Vec::new());
    world.hub.until_gone(ID).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs lichen-shim and lichen-wasmc: run by make test"]
async fn a_module_runs_logs_survives_its_agent_and_leaves_nothing() {
    let mut world = World::new().await;
    let pod = with_variable(world.hello(1), "NAME", "moss");
    world.assign(vec![pod]);
    let first = world.hub.until_running(ID).await;

    world.hub.command(1, logs(true, false));
    let (text, _) = world.hub.reply(1, |text| text.contains("moss: 1")).await;
    assert!(text.starts_with("hello from moss\n"), "{text}");
    world.hub.command(2, Action::Cancel { command: 1 });

    world.device.kill();
    world.device.start(&[]);
    world
        .hub
        .until("it should say hello again", |hub| {
            hub.told.iter().any(|line| line.contains("found 1 pods"))
        })
        .await;
    let adopted = world.hub.until_running(ID).await;
    assert_eq!((adopted.pid, adopted.restarts), (first.pid, 0));

    assert!(world.device.terminate(), "SIGTERM is a good end");
    assert!(!world.device.processes().is_empty(), "pods run on");
    world.device.start(&[]);
    world.assign(Vec::new());
    world.hub.until_gone(ID).await;
    assert!(world.device.processes().is_empty());
    assert_eq!(world.device.run_dirs(), 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs lichen-shim and lichen-wasmc: run by make test"]
async fn a_cold_boot_without_hub_or_broker_starts_the_saved_assignment() {
    let mut world = World::new().await;
    let pod = world.hello(1);
    world.assign(vec![pod]);
    let first = world.hub.until_running(ID).await;
    world.device.lose_power();

    // Nobody listens on this port any more.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.device.send_to(as_address(nobody));
    world.device.start(&[]);
    wait("it should run again", || !world.device.processes().is_empty());
    world.device.lose_power();

    world.device.send_to(world.hub.http.hub());
    world.device.start(&[]);
    let is_new = |hub: &Hub| {
        hub.container(ID, "main").is_some_and(|own| ![0, first.pid].contains(&pid(own)))
    };
    world.hub.until("it should be another process", is_new).await;
    let again = world.hub.until_running(ID).await;
    assert!(again.restarts > 0, "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs lichen-shim and lichen-wasmc: run by make test"]
async fn a_damaged_identity_keeps_no_pod_from_starting() {
    let mut world = World::new().await;
    let pod = world.hello(1);
    world.assign(vec![pod]);
    world.hub.until_running(ID).await;
    world.device.lose_power();
    let path = world.device.state.join("identity/certificate.pem");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    world.device.start(&[]);
    wait("it should run", || !world.device.processes().is_empty());
    world.device.lose_power();
    // Put back from a copy, it is the same device as before.
    fs::write(&path, whole).unwrap();
    // What says that it is a device may be gone altogether, or be where the disk does not give it back.
    let (path, copy) =
        ["identity/hub.json", "hub.json"].map(|name| world.device.state.join(name)).into();
    fs::rename(&path, &copy).unwrap();
    for is_unreadable in [false, true] {
        if is_unreadable {
            fs::create_dir(&path).unwrap();
        }
        world.device.start(&[]);
        wait("it should run", || !world.device.processes().is_empty());
        world.device.lose_power();
    }
    fs::remove_dir(&path).unwrap();
    fs::rename(&copy, &path).unwrap();
    world.device.start(&[]);
    let is_back =
        |hub: &Hub| hub.told.iter().filter(|line| line.starts_with("AgentStarted")).count() == 2;
    world.hub.until("it should be back", is_back).await;
    world.hub.until_running(ID).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs lichen-shim and lichen-wasmc: run by make test"]
async fn a_restarted_broker_restarts_no_pod_and_a_change_made_meanwhile_arrives() {
    let mut world = World::new().await;
    let (one, two) = (world.hello(1), world.hello(2));
    world.assign(vec![one.clone()]);
    let first = world.hub.until_running(ID).await;
    let World { hub, device, dir } = world;
    let mut world = World { hub: hub.restart_broker().await, device, dir };
    world.assign(vec![one, two]);
    world.hub.until_running(PodId([2; 16])).await;
    let same = world.hub.until_running(ID).await;
    assert_eq!((same.pid, same.restarts), (first.pid, 0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs lichen-shim and lichen-wasmc: run by make test"]
async fn an_exit_is_told_with_its_code_and_its_log_can_be_read_afterwards() {
    let mut world = World::new().await;
    let compiled = world.hub.http.put_artefact(&compile("trap.wat", world.dir.path()));
    let mut pod = wasm(1, compiled);
    pod.restart = firmware_compat::v1::owned::RestartPolicy::Never;
    world.assign(vec![pod]);
    world
        .hub
        .until("it should fail", |hub| hub.pods.get(&ID).is_some_and(|i| i.phase == Phase::Failed))
        .await;
    let main = world.hub.container(ID, "main").unwrap();
    let ContainerState::Terminated(exit) = main.state.clone() else { panic!("{main:?}") };
    assert_eq!((exit.code, &exit.reason[..]), (134, "Error"));
    assert!(exit.message.contains("trap"), "{exit:?}");
    world.hub.command(1, logs(false, false));
    let (text, end) = world.hub.reply(1, |_| false).await;
    assert!(text.contains("trap"), "{text}");
    assert_eq!(end, Some(Outcome::Done));
    world.hub.command(2, logs(false, true));
    assert!(matches!(world.hub.reply(2, |_| false).await.1, Some(Outcome::Failed { .. })));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs lichen-shim and lichen-wasmc: run by make test"]
async fn a_config_map_changes_in_place_and_an_empty_dir_is_there() {
    let mut world = World::new().await;
    let file = |data: &str| firmware_compat::v1::owned::File {
        path: "key".try_into().unwrap(),
        mode: 0o644,
        data: data.as_bytes().to_vec().try_into().unwrap(),
    };
    let base = world.hello(1);
    let configs = ["old", "new"].map(|data| (data, world.hub.config(vec![file(data)])));
    let pod = |data: &str| {
        let mut pod = base.clone();
        let (_, config) = configs.iter().find(|(of, _)| *of == data).unwrap().clone();
        let scratch = VolumeSource::EmptyDir { memory: false, size_limit_bytes: 0 };
        let volume = |name: &str, source| Volume { name: name.try_into().unwrap(), source };
        pod.volumes =
            vec![volume("config", config), volume("scratch", scratch)].try_into().unwrap();
        let mount = |volume: &str| Mount {
            volume: volume.try_into().unwrap(),
            path: format!("/{volume}").as_str().try_into().unwrap(),
            sub_path: Text::default(),
            expand: false,
            read_only: false,
            propagation: MountPropagation::None,
        };
        let mut container = pod.containers[0].clone();
        container.mounts = vec![mount("config"), mount("scratch")].try_into().unwrap();
        pod.containers = vec![container].try_into().unwrap();
        pod
    };
    world.assign(vec![pod("old")]);
    let first = world.hub.until_running(ID).await;
    let volumes = world.device.state.join("run").join(ID.to_string()).join("volumes");
    assert_eq!(fs::read_to_string(volumes.join("config/key")).unwrap(), "old");
    assert!(volumes.join("scratch").is_dir());
    world.assign(vec![pod("new")]);
    let id = world.hub.id();
    world.hub.until("it should be acknowledged", |hub| hub.assignment == Some(id)).await;
    wait("the new file should be there", || {
        fs::read_to_string(volumes.join("config/key")).is_ok_and(|text| text == "new")
    });
    assert_eq!(world.hub.until_running(ID).await.pid, first.pid);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs lichen-shim and lichen-wasmc: run by make test"]
async fn the_modules_of_a_pod_are_processes_of_their_own_and_a_killed_one_starts_again_alone() {
    let mut world = World::new().await;
    let mut pod = with_variable(world.hello(1), "NAME", "moss");
    let (first, mut second) = (pod.containers[0].clone(), pod.containers[0].clone());
    second.name = "second".try_into().unwrap();
    pod.containers = vec![first, second].try_into().unwrap();
    world.assign(vec![pod]);
    world.hub.until_running(ID).await;
    let [one, two] = world.hub.all_running(ID)[..] else { panic!("two containers") };
    assert_ne!(one.pid, two.pid);

    let log = |container: &str, follow, previous| Action::Logs {
        pod: ID,
        container: container.try_into().unwrap(),
        follow,
        tail: Some(1),
        previous,
        timestamps: false,
    };
    world.hub.command(4, log("second", true, false));
    world.hub.reply(4, |text| text.contains("moss")).await;
    world.hub.command(5, Action::Cancel { command: 4 });
    let raw = rustix::process::Pid::from_raw(two.pid as i32).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
    let is_new = |hub: &Hub| {
        hub.container(ID, "second").is_some_and(|own| ![0, two.pid].contains(&pid(own)))
    };
    world.hub.until("the second should start again", is_new).await;
    let [same, again] = world.hub.all_running(ID)[..] else { panic!("two containers") };
    assert_eq!((same, again.restarts), (one, 1));
    let killed = world.hub.container(ID, "second").unwrap().last_exit.clone().unwrap();
    assert_eq!(killed.code, 137);

    world.hub.command(1, log("second", false, true));
    let (text, end) = world.hub.reply(1, |_| false).await;
    assert!(text.contains("moss") && end == Some(Outcome::Done), "{text} {end:?}");
    world.hub.command(2, log("main", false, true));
    assert!(matches!(world.hub.reply(2, |_| false).await.1, Some(Outcome::Failed { .. })));
    world.hub.command(3, log("", false, false));
    assert!(matches!(world.hub.reply(3, |_| false).await.1, Some(Outcome::Failed { .. })));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs lichen-shim and lichen-wasmc: run by make test"]
async fn two_agents_with_one_name_do_not_flap_and_the_older_stays_away() {
    let mut world = World::new().await;
    let first = loop {
        if let Heard::Hello(hello) = world.hub.next().await {
            break hello.agent;
        }
    };
    let mut other = Device::new(&world.dir.path().join("other"), &world.hub.http, "pi");
    other.start(&[]);
    let (mut taken_over, mut hellos) = (0, 0);
    while hellos == 0 {
        match world.hub.next().await {
            Heard::TakenOver => taken_over += 1,
            // The first says it again when it has tried its runtimes.
            Heard::Hello(hello) if hello.agent != first => hellos += 1,
            _ => {}
        }
    }
    assert_eq!(taken_over, 1);
    // Were the first to come back at once, it would be heard before the answer to this.
    let pod = world.hello(1);
    world.assign(vec![pod]);
    let running = world.hub.until_running(ID).await;
    assert!(other.processes().contains(&running.pid));
    assert!(world.device.processes().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs lichen-shim and lichen-wasmc: run by make test"]
async fn the_broker_is_found_without_the_hubs_http_and_a_drained_agent_leaves_nothing_running() {
    let mut world = World::new().await;
    let pod = world.hello(1);
    world.assign(vec![pod]);
    let first = world.hub.until_running(ID).await;
    world.device.kill();

    world.hub.http.refuse_http(true);
    let device = &mut world.device;
    device.start(&["--drain-on-exit"]);
    let is_back =
        |hub: &Hub| hub.told.iter().filter(|line| line.starts_with("AgentStarted")).count() == 2;
    world.hub.until("it should find the broker", is_back).await;
    assert_eq!(world.hub.until_running(ID).await.pid, first.pid);
    assert!(world.device.terminate());
    assert!(world.device.processes().is_empty());
}

#[test]
#[ignore = "needs lichen-shim: run by make test"]
fn a_second_agent_on_one_state_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut device = Device::new(&dir.path().join("state"), &Server::start(), "pi");
    device.start(&[]);
    let lock = device.state.join("lock");
    let pid = format!("{}\n", device.pid());
    wait("it should lock", || fs::read_to_string(&lock).is_ok_and(|text| text == pid));
    let output = std::process::Command::new(program("lichen-agent"))
        .arg("--state")
        .arg(&device.state)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains(pid.trim()) && text.contains("--state of its own"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs lichen-shim, lichen-wasmc and root: run by make test"]
async fn the_host_of_a_module_has_a_user_of_its_own_no_privileges_and_its_limits() {
    let mut world = World::new().await;
    let mut pod = world.hello(1);
    let mut container = pod.containers[0].clone();
    container.resources.cpu_limit_milli = 250;
    container.resources.memory_limit_bytes = 64 << 20;
    pod.containers = vec![container].try_into().unwrap();
    world.assign(vec![pod]);
    let running = world.hub.until_running(ID).await;
    let shim = fs::read_to_string("/proc/self/status").unwrap();
    let status = || fs::read_to_string(format!("/proc/{}/status", running.pid)).unwrap();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    wait("the host should be confined", || field(&status(), "Seccomp:") == "2");
    let status = status();
    // The user of a Pod is the end of its id, from 0x4c000000 on.
    assert_eq!(field(&status, "Uid:"), (0x4c01_0101).to_string());
    assert_eq!(field(&status, "CapEff:"), "0000000000000000");
    assert_ne!(field(&shim, "CapEff:"), "0000000000000000", "the test is root's");
    assert_eq!(field(&status, "NoNewPrivs:"), "1");
    let agent = fs::read_to_string(world.device.state.join("agent-id")).unwrap();
    let group = format!("lichen/{}-{ID}/main-0", &agent[..8]);
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", running.pid)).unwrap();
    assert!(groups.lines().any(|line| line.ends_with(&group)), "{groups}");
    let limit = |files: [&str; 2]| {
        let found =
            files.iter().find_map(|file| fs::read_to_string(file.replace("GROUP", &group)).ok());
        found.unwrap().trim().to_owned()
    };
    let quota =
        limit(["/sys/fs/cgroup/cpu/GROUP/cpu.cfs_quota_us", "/sys/fs/cgroup/GROUP/cpu.max"]);
    assert_eq!(quota.split(' ').next(), Some("25000"));
    let memory =
        ["/sys/fs/cgroup/memory/GROUP/memory.limit_in_bytes", "/sys/fs/cgroup/GROUP/memory.max"];
    assert_eq!(limit(memory), (64 << 20).to_string());
    world.assign(Vec::new());
    world.hub.until_gone(ID).await;
    let mut left = fs::read_dir("/sys/fs/cgroup/pids/lichen").into_iter().flatten().flatten();
    let own = group.split('/').nth(1).unwrap().to_owned();
    assert!(!left.any(|entry| *entry.file_name() == *own), "{own}");
}
