//! A device with one OCI runtime, and what Pods of several containers leave on it.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, MetadataExt},
};

use firmware_compat::{
    id::PodId,
    v1::owned::{Action, Outcome, Pod, RuntimeClass},
};

use super::{
    hub::{Hub, pid},
    image::{image, with_script},
    machine::{Device, container, pod},
};

pub const ID: PodId = PodId([1; 16]);
/// Runs until it is asked to stop, and says so in its log.
pub const WAIT: &str =
    "trap 'echo bye; exit 0' TERM; echo ready; while :; do busybox sleep 1 & wait $!; done";

/// A hub and one device with one runtime.
pub struct World {
    pub hub: Hub,
    pub device: Device,
    runtime: &'static str,
    pub dir: tempfile::TempDir,
}

impl World {
    pub async fn new(runtime: &'static str) -> Self {
        Self::on(runtime, |_| {}).await
    }

    /// With a state directory that something was done to before.
    pub async fn on(runtime: &'static str, before: impl FnOnce(&std::path::Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::start("pi").await;
        fs::DirBuilder::new().mode(0o700).create(dir.path().join("state")).unwrap();
        before(&dir.path().join("state"));
        let device = Device::new(&dir.path().join("state"), &hub.http, "pi");
        let mut world = Self { hub, device, runtime, dir };
        world.start();
        world
    }

    pub fn start(&mut self) {
        self.device.start(&["--runtime", self.runtime]);
    }

    /// A Pod of containers that run scripts, by name; those of `init` come first.
    pub fn pod(&self, init: &[(&str, &str)], main: &[(&str, &str)]) -> Pod {
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

    pub fn assign(&mut self, pods: Vec<Pod>) {
        self.hub.assign(&pods);
    }

    /// Follows a container's log until it is at least as long as `expected`, which it must be then.
    pub async fn until_log(&mut self, command: u64, container: &str, expected: &str) {
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
    pub async fn log(&mut self, command: u64, container: &str, previous: bool) -> String {
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
    pub async fn until_again(&mut self, name: &str, before: u32) {
        let is_new =
            |hub: &Hub| hub.container(ID, name).is_some_and(|own| ![0, before].contains(&pid(own)));
        self.hub.until("it should run again", is_new).await;
    }

    pub async fn until_gone(&mut self) {
        self.assign(Vec::new());
        self.hub.until_gone(ID).await;
        assert!(self.device.processes().is_empty());
        assert_eq!(self.device.run_dirs(), 0);
        let state = format!("{}/", self.device.state.to_str().unwrap());
        assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&state));
        assert_eq!(cgroups(&self.group()), [""; 0]);
    }

    /// The name of the Pod's cgroup.
    pub fn group(&self) -> String {
        let agent = fs::read_to_string(self.device.state.join("agent-id")).unwrap();
        format!("{}-{ID}", &agent[..8])
    }
}

/// Every cgroup directory whose name holds `text`.
pub fn cgroups(text: &str) -> Vec<String> {
    let found = std::process::Command::new("find")
        .args(["/sys/fs/cgroup", "-name", &format!("*{text}*")])
        .output();
    String::from_utf8_lossy(&found.unwrap().stdout).lines().map(str::to_owned).collect()
}

/// Which namespace of a kind a process is in.
pub fn namespace(pid: u32, kind: &str) -> u64 {
    fs::metadata(format!("/proc/{pid}/ns/{kind}")).unwrap().ino()
}

pub fn kill_9(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Makes a test of each function for each runtime. The functions take the runtime's name.
#[macro_export]
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
