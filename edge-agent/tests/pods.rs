//! Pods of several containers, as root, with each OCI runtime that the machine has.

#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

mod support;

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use firmware_compat::{
    id::PodId,
    v1::owned::{Action, ContainerState, Outcome, Phase, Pod, RestartPolicy, RuntimeClass},
};
use support::{
    hub::{Hub, pid},
    image::{image, with_scratch, with_script},
    machine::{Device, container, is_alive, pod, wait},
};

const ID: PodId = PodId([1; 16]);
/// Runs until it is asked to stop, and says so in its log.
const WAIT: &str =
    "trap 'echo bye; exit 0' TERM; echo ready; while :; do busybox sleep 1 & wait $!; done";

/// A hub and one device with one runtime.
struct World {
    hub: Hub,
    device: Device,
    runtime: &'static str,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new(runtime: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::start("pi").await;
        let device = Device::new(&dir.path().join("state"), &hub.http.url(), "pi");
        let mut world = Self { hub, device, runtime, _dir: dir };
        world.start();
        world
    }

    fn start(&mut self) {
        self.device.start(&["--runtime", self.runtime]);
    }

    /// A Pod of containers that run scripts, by name; those of `init` come first.
    fn pod(&self, init: &[(&str, &str)], main: &[(&str, &str)]) -> Pod {
        let image = image(&self.hub.http);
        let all = |list: &[(&str, &str)]| -> Vec<_> {
            let made = list
                .iter()
                .map(|(name, script)| with_script(container(name, image.clone()), name, script));
            made.collect()
        };
        let mut pod = pod(1, RuntimeClass::Container, all(main));
        pod.init_containers = all(init).try_into().unwrap();
        pod
    }

    fn assign(&mut self, pods: Vec<Pod>) {
        self.hub.assign(&pods);
    }

    /// Follows a container's log until it is at least as long as `expected`, which it must be then.
    async fn until_log(&mut self, command: u64, container: &str, expected: &str) {
        let container = container.try_into().unwrap();
        let (follow, tail, previous, timestamps) = (true, None, false, false);
        self.hub.command(
            command,
            Action::Logs { pod: ID, container, follow, tail, previous, timestamps },
        );
        let (text, _) = self.hub.reply(command, |text| text.len() >= expected.len()).await;
        assert_eq!(text, expected);
        self.hub.command(command + 100, Action::Cancel { command });
    }

    /// The whole log of a run that has ended.
    async fn log(&mut self, command: u64, container: &str, previous: bool) -> String {
        let container = container.try_into().unwrap();
        let (follow, tail, timestamps) = (false, None, false);
        self.hub.command(
            command,
            Action::Logs { pod: ID, container, follow, tail, previous, timestamps },
        );
        let (text, end) = self.hub.reply(command, |_| false).await;
        assert_eq!(end, Some(Outcome::Done), "{text}");
        text
    }

    /// Waits until a container runs as another process than `before`.
    async fn until_again(&mut self, name: &str, before: u32) {
        let is_new =
            |hub: &Hub| hub.container(ID, name).is_some_and(|own| ![0, before].contains(&pid(own)));
        self.hub.until("it should run again", is_new).await;
    }

    async fn until_gone(&mut self) {
        self.assign(Vec::new());
        self.hub.until_gone(ID).await;
        assert!(self.device.processes().is_empty());
        assert_eq!(self.device.run_dirs(), 0);
        let state = self.device.state.to_str().unwrap().to_owned();
        assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&state));
        assert_eq!(cgroups(&self.group()), [""; 0]);
    }

    /// The name of the Pod's cgroup.
    fn group(&self) -> String {
        let agent = fs::read_to_string(self.device.state.join("agent-id")).unwrap();
        format!("{}-{ID}", &agent[..8])
    }
}

/// Every cgroup directory whose name holds `text`.
fn cgroups(text: &str) -> Vec<String> {
    let found = std::process::Command::new("find")
        .args(["/sys/fs/cgroup", "-name", &format!("*{text}*")])
        .output();
    String::from_utf8_lossy(&found.unwrap().stdout).lines().map(str::to_owned).collect()
}

/// Which namespace of a kind a process is in.
fn namespace(pid: u32, kind: &str) -> u64 {
    fs::metadata(format!("/proc/{pid}/ns/{kind}")).unwrap().ino()
}

fn kill_9(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

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
    for kind in ["net", "mnt", "pid"] {
        let is_shared = namespace(one.pid, kind) == namespace(two.pid, kind);
        assert_eq!(is_shared, kind == "net", "{kind}");
    }
    assert_ne!(namespace(one.pid, "net"), namespace(std::process::id(), "net"));
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

async fn an_agent_adopts_every_container_and_a_killed_shim_restarts_its_own_alone(
    runtime: &'static str,
) {
    let mut world = World::new(runtime).await;
    let asked =
        "trap ': > /scratch/asked; exit 0' TERM; while :; do busybox sleep 1 & wait $!; done";
    let pod = with_scratch(world.pod(&[], &[("main", WAIT), ("other", asked)]), false);
    world.assign(vec![pod]);
    world.hub.until_running(ID).await;
    let before = world.hub.all_running(ID);
    let network = namespace(before[0].pid, "net");
    world.device.kill();
    // As for an agent that its service manager gives other mounts.
    let network_file = world.device.state.join("run").join(ID.to_string()).join("network");
    rustix::mount::unmount(&network_file, rustix::mount::UnmountFlags::DETACH).unwrap();
    world.start();
    world
        .hub
        .until("it should find it", |hub| hub.told.iter().any(|l| l.contains("found 1 pods")))
        .await;
    world.hub.until_running(ID).await;
    assert_eq!(world.hub.all_running(ID), before);
    assert_eq!(fs::metadata(&network_file).unwrap().ino(), network);

    // With an agent to see it.
    let scratch = world.device.state.join("run").join(ID.to_string()).join("volumes/scratch");
    kill_9(world.device.shim(ID, "main-1"));
    world.until_again("other", before[1].pid).await;
    let [main, other] = world.hub.all_running(ID)[..] else { panic!("two containers") };
    assert_eq!((main, other.restarts), (before[0], 1));
    assert_eq!(namespace(other.pid, "net"), network);
    assert!(scratch.join("asked").exists(), "it was asked to stop");
    let lost = world.hub.container(ID, "other").unwrap().last_exit.clone().unwrap();
    assert_eq!(&lost.reason[..], "Lost");
    assert!(lost.message.contains("its shim was killed; it was asked to stop"), "{lost:?}");

    // With none: the next one asks it to stop and says why.
    fs::remove_file(scratch.join("asked")).unwrap();
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
        if entry.file_name() != "network" {
            let path = entry.path();
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }
    world.start();
    world.until_again("main", before.pid).await;
    assert!(!is_alive(before.pid), "the first has ended");
    world.until_gone().await;
}

macro_rules! for_each_runtime {
    ($($name:ident)*) => {
        mod crun {$(
            #[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs root, busybox-static and crun: run by make test"]
            async fn $name() { super::$name("crun").await }
        )*}
        mod runc {$(
            #[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs root, busybox-static and runc: run by make test"]
            async fn $name() { super::$name("runc").await }
        )*}
    };
}

for_each_runtime! {
    share_network_hostname_and_volumes
    init_containers_come_first_one_by_one
    an_init_container_that_fails_for_good_fails_its_pod
    a_container_that_ends_starts_again_alone_in_the_same_sandbox
    an_agent_adopts_every_container_and_a_killed_shim_restarts_its_own_alone
    what_is_left_without_files_is_found_by_its_cgroup
}
