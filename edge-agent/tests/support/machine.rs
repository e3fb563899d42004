//! The agent as a process, and what it leaves on the machine.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use firmware_compat::{
    enrolment::{Address, SealingKey},
    id::{Hash, PodId},
    v1::owned::{
        Artefacts, Blob, Container, ContainerSecurity, Pod, PodSecurity, Resources, RestartPolicy,
        RuntimeClass, Supervision,
    },
};
use lichen_agent::{identity::IdentityDir, join, state::StateDir};

use rustix::process::{Resource, Rlimit, prlimit};

use super::{http::Server, hub::DEADLINE};

/// Where the workspace's programs are built.
pub fn program(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_BIN_EXE_lichen-agent")).parent().unwrap();
    let path = dir.join(name);
    assert!(path.is_file(), "{} is missing: cargo build -p {name}", path.display());
    path
}

/// Compiles a sample of `lichen-wasmc` for this machine.
pub fn compile(sample: &str, dir: &Path) -> Vec<u8> {
    let input = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hub/wasmc/samples").join(sample);
    let output = dir.join("compiled");
    let class = lichen_wasm_host::Class::of_this_machine().as_str();
    let mut wasmc = Command::new(program("lichen-wasmc"));
    let status =
        wasmc.args(["compile", "--class", class, "--output"]).arg(&output).arg(input).status();
    assert!(status.unwrap().success());
    fs::read(output).unwrap()
}

/// One agent's state directory; the processes that it started are ended with the test.
pub struct Device {
    pub state: PathBuf,
    /// What agents say is appended to this file, if there is one.
    pub log: Option<PathBuf>,
    /// What bits agents take from new files.
    pub umask: u32,
    /// What Secrets are sealed to for it.
    pub sealing_key: SealingKey,
    agent: Option<Child>,
}

impl Device {
    /// One that has joined a hub.
    pub fn new(state: &Path, hub: &Server, name: &str) -> Self {
        let open = StateDir::open(state).unwrap();
        join::join(&open, &hub.invitation(), Some(name), &mut |_| {}, &mut |_| panic!("it waits"))
            .unwrap();
        let sealing_key = IdentityDir::of(&open).name_and_keys().unwrap().1.sealing_key();
        Self { state: state.to_owned(), log: None, umask: 0o022, sealing_key, agent: None }
    }

    /// It looks for its hub somewhere else from its next start on.
    pub fn send_to(&self, hub: Address) {
        let dir = IdentityDir::of(&StateDir::open(&self.state).unwrap());
        let mut identity = dir.load().unwrap().unwrap();
        identity.hub.facts.addresses = vec![hub].try_into().unwrap();
        identity.hub.dialled = Default::default();
        dir.save_hub(&identity.hub).unwrap();
    }

    pub fn start(&mut self, more: &[&str]) {
        let mut command = Command::new(program("lichen-agent"));
        command.arg("--state").arg(&self.state);
        command.arg("--shim").arg(program("lichen-shim")).args(more);
        command.stdin(Stdio::null()).env("LICHEN_LOG", "debug").env("SECRET", "leaked");
        let umask = rustix::fs::Mode::from_raw_mode(self.umask);
        // SAFETY: between fork and exec, one system call that touches no memory.
        unsafe {
            std::os::unix::process::CommandExt::pre_exec(&mut command, move || {
                rustix::process::umask(umask);
                Ok(())
            });
        }
        if let Some(path) = &self.log {
            let log = || fs::File::options().append(true).create(true).open(path).unwrap();
            command.stdout(log()).stderr(log());
        }
        self.agent = Some(command.spawn().unwrap());
    }

    pub fn pid(&self) -> u32 {
        self.agent.as_ref().unwrap().id()
    }

    /// As a crash would.
    pub fn kill(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// By a signal that has the system write a core. Returns whether it did.
    pub fn crash(&mut self) -> bool {
        let mut agent = self.agent.take().unwrap();
        let pid = rustix::process::Pid::from_child(&agent);
        let any = Rlimit { current: None, maximum: None };
        prlimit(Some(pid), Resource::Core, any).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::ABORT).unwrap();
        agent.wait().unwrap().core_dumped()
    }

    /// As a service manager would. Returns whether it ended well.
    pub fn terminate(&mut self) -> bool {
        let mut agent = self.agent.take().unwrap();
        let pid = rustix::process::Pid::from_child(&agent);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        agent.wait().unwrap().success()
    }

    /// Every shim of this device, and everything below them, by process id.
    pub fn processes(&self) -> Vec<u32> {
        let state = fs::canonicalize(&self.state).unwrap();
        let marker = state.to_str().unwrap().to_owned();
        let agent = self.agent.as_ref().map(Child::id);
        let all = fs::read_dir("/proc").unwrap().flatten();
        let all: Vec<u32> =
            all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        let names_us = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            Some(*pid) != agent && String::from_utf8_lossy(&line).contains(&marker)
        };
        let mut ours: Vec<u32> = all.iter().copied().filter(names_us).collect();
        let mut known = 0;
        while known < ours.len() {
            let parent = ours[known];
            known += 1;
            let is_child = |pid: &&u32| parent_of(**pid) == Some(parent);
            let children: Vec<u32> = all.iter().filter(is_child).copied().collect();
            ours.extend(children.into_iter().filter(|pid| !ours.contains(pid)).collect::<Vec<_>>());
        }
        ours
    }

    /// The directory of a Pod.
    pub fn pod_dir(&self, pod: PodId) -> PathBuf {
        self.state.join("run").join(pod.to_string())
    }

    /// The emptyDir of a Pod that has this name.
    pub fn volume(&self, pod: PodId, name: &str) -> PathBuf {
        self.pod_dir(pod).join("volumes").join(name)
    }

    /// The run directory of the newest start of a container, such as `main-0`.
    pub fn newest_run(&self, pod: PodId, container: &str) -> PathBuf {
        let dir = self.state.join("run").join(pod.to_string()).join(container);
        let attempts = fs::read_dir(&dir).unwrap().flatten();
        let attempts = attempts.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        dir.join(attempts.max().unwrap().to_string())
    }

    /// The process id of the shim of a container, such as `main-0`.
    pub fn shim(&self, pod: PodId, container: &str) -> i32 {
        let run = self.newest_run(pod, container);
        lichen_shim::request(&run, &lichen_shim::Request::Status).unwrap().shim_pid
    }

    /// As a power loss would: nothing of it is left running, and nobody could say goodbye.
    pub fn lose_power(&mut self) {
        if self.agent.is_some() {
            self.kill();
        }
        for pid in self.processes() {
            let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        wait("everything should be dead", || self.processes().is_empty());
        self.unmount_all();
    }

    /// Mounts of the state directory are gone with the boot; the directories that they were on are left.
    fn unmount_all(&self) {
        let Ok(state) = fs::canonicalize(&self.state) else { return };
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let targets = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        for target in targets.filter(|target| Path::new(target).starts_with(&state)) {
            rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH).unwrap();
        }
    }

    pub fn run_dirs(&self) -> usize {
        fs::read_dir(self.state.join("run")).unwrap().count()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.state.exists() {
            self.lose_power();
        }
    }
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may hold anything: state, parent.
    stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
}

/// Whether a process is there and has not ended.
pub fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// Looks again until it is so.
pub fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "{what}");
        std::thread::yield_now();
    }
}

pub fn wasm(number: u8, compiled: Blob) -> Pod {
    let artefacts = Artefacts::Wasm { module: Hash([number; 32]), compiled };
    pod(number, RuntimeClass::Wasm, vec![container("main", artefacts)])
}

pub fn container(name: &str, artefacts: Artefacts) -> Container {
    Container {
        name: name.try_into().unwrap(),
        reference: "test".try_into().unwrap(),
        artefacts,
        command: Default::default(),
        args: Default::default(),
        working_dir: Default::default(),
        env: Default::default(),
        ports: Default::default(),
        // Or a busy machine gives it next to no time.
        resources: Resources { cpu_request_milli: 1000, ..Resources::default() },
        mounts: Default::default(),
        security: ContainerSecurity::default(),
        supervision: Supervision::default(),
    }
}

pub fn pod(number: u8, runtime_class: RuntimeClass, containers: Vec<Container>) -> Pod {
    Pod {
        id: PodId([number; 16]),
        identity: Hash([number; 32]),
        namespace: "default".try_into().unwrap(),
        name: format!("web-{number}").try_into().unwrap(),
        hostname: format!("web-{number}").as_str().try_into().unwrap(),
        names: Default::default(),
        runtime_class,
        init_containers: Default::default(),
        containers: containers.try_into().unwrap(),
        volumes: Default::default(),
        restart: RestartPolicy::Always,
        grace_ms: 2000,
        active_deadline_s: 0,
        host_network: false,
        security: PodSecurity::default(),
        after: Default::default(),
        secrets: Default::default(),
    }
}

/// Changes every container of a Pod, init containers first.
pub fn each_container(pod: &mut Pod, change: impl Fn(&mut Container)) {
    for list in [&mut pod.init_containers, &mut pod.containers] {
        let mut all = list.to_vec();
        all.iter_mut().for_each(&change);
        *list = all.try_into().unwrap();
    }
}
