//! A device: an agent with a state directory, its shims, and what they run.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lichen_shim::RunDir;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    clock::Clock,
    footprint::{self, Footprint},
    hub::Hub,
    process::{Process, show, signal},
    programs::workspace_program,
    wait::wait_for,
};

const AGENT: &str = "lichen-agent";
const SHIM: &str = "lichen-shim";

/// A device. Everything that runs on it ends with the test.
#[derive(Debug)]
pub struct Agent {
    dir: TempDir,
    name: String,
    token: String,
    flags: Vec<OsString>,
    wrapper: Vec<OsString>,
    environment: BTreeMap<String, OsString>,
    own_programs: bool,
    shim: Option<PathBuf>,
    process: Option<Process>,
}

impl Agent {
    /// A device that is switched off, and joins a hub when it is switched on.
    #[must_use]
    pub fn new(name: &str, hub: &Hub) -> Self {
        Self::switched_off(name, &hub.token())
    }

    /// As [`Self::new`], with a token at hand.
    #[must_use]
    pub fn switched_off(name: &str, token: &str) -> Self {
        let dir = TempDir::with_prefix("lt-dev-").unwrap();
        states().push(dir.path().join("state"));
        Self {
            dir,
            name: name.to_owned(),
            token: token.to_owned(),
            flags: Vec::new(),
            wrapper: Vec::new(),
            environment: BTreeMap::from([("LICHEN_LOG".to_owned(), "debug".into())]),
            own_programs: false,
            shim: None,
            process: None,
        }
    }

    /// Another board with a copy of a device's card: the same identity and agent id, and a boot of its own.
    ///
    /// # Panics
    /// If the card can't be copied.
    #[must_use]
    pub fn with_card_of(other: &Self) -> Self {
        const ANOTHER_BOOT: &str = "11111111-2222-4333-8444-555555555555\n";
        let mut agent = Self::switched_off(&other.name, &other.token);
        let (from, to) = (other.state(), agent.state());
        fs::create_dir_all(to.join("identity")).unwrap();
        fs::copy(from.join("agent-id"), to.join("agent-id")).unwrap();
        for name in names(&from.join("identity")) {
            let file = Path::new("identity").join(name);
            fs::copy(from.join(&file), to.join(&file)).unwrap();
        }
        let boot = agent.dir.path().join("boot-id");
        fs::write(&boot, ANOTHER_BOOT).unwrap();
        let line = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
        agent.set_wrapper(&["unshare", "-m", "sh", "-c", line, boot.to_str().unwrap()]);
        agent
    }

    /// A device that is connected to a hub.
    #[must_use]
    pub fn start(name: &str, hub: &Hub) -> Self {
        Self::start_with(name, hub, &[])
    }

    /// A device with more flags that is connected to a hub.
    #[must_use]
    pub fn start_with(name: &str, hub: &Hub, flags: &[&str]) -> Self {
        let mut agent = Self::new(name, hub).with_flags(flags);
        agent.start_again();
        hub.api().until_ready(name);
        agent
    }

    /// Adds flags.
    #[must_use]
    pub fn with_flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(OsString::from));
        self
    }

    /// Gives the device copies of the programs, so that it shares no memory with other devices on this machine.
    #[must_use]
    pub fn with_own_programs(mut self) -> Self {
        for name in [AGENT, SHIM] {
            fs::copy(workspace_program(name), self.dir.path().join(name)).unwrap();
        }
        self.own_programs = true;
        self
    }

    fn program(&self, name: &str) -> PathBuf {
        if self.own_programs { self.dir.path().join(name) } else { workspace_program(name) }
    }

    /// Runs the agent, from its next start on, through another program that ends up as the agent.
    pub fn set_wrapper(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().map(OsString::from).collect();
    }

    /// Has the agent join by another token, from its next start on: one that has joined is led to where its hub is now.
    pub fn set_token(&mut self, token: &str) {
        token.clone_into(&mut self.token);
    }

    /// Gives the agent another shim, from its next start on.
    pub fn set_shim(&mut self, shim: PathBuf) {
        self.shim = Some(shim);
    }

    /// Gives the agent an environment variable from its next start on.
    pub fn set_variable(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.insert(name.to_owned(), value.into());
    }

    /// What time the device believes that it is, from the agent's next start on.
    pub fn set_clock(&mut self, clock: &Clock) {
        self.environment.retain(|name, _| !Clock::VARIABLES.contains(&name.as_str()));
        self.environment.extend(clock.environment());
    }

    /// Starts the agent on its state directory, and waits for nothing.
    pub fn start_again(&mut self) {
        let agent = self.program(AGENT);
        let mut words = self.wrapper.clone();
        words.push(agent.into_os_string());
        let mut command = Command::new(&words[0]);
        // Once it has joined, it says so and runs.
        command.args(&words[1..]).args(["join", &self.token, "--name", &self.name]);
        command.arg("--state").arg(self.state());
        let shim = self.shim.clone().unwrap_or_else(|| self.program(SHIM));
        command.arg("--shim").arg(shim).args(&self.flags);
        command.envs(&self.environment);
        self.process = Some(Process::spawn(&self.name, command, &self.log_file()));
    }

    /// Kills the agent alone (`kill -9`).
    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// The agent stands still (`kill -STOP`): its connection stays open, and nothing is read or said.
    pub fn stand_still(&self) {
        signal(self.pid(), Signal::STOP);
    }

    /// The agent goes on where it stood still.
    pub fn go_on(&self) {
        signal(self.pid(), Signal::CONT);
    }

    /// Stops the agent as a service manager would. Returns whether it ended well.
    pub fn stop(&mut self) -> bool {
        self.process.take().unwrap().terminate().success()
    }

    /// Kills everything on the device at once, and with it go the control groups, as they would; files stay as they are.
    pub fn lose_power(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
        wait_for(&format!("everything on {} is dead", self.name), || {
            let alive = self.processes();
            alive.iter().for_each(|pid| signal(*pid, Signal::KILL));
            alive.is_empty()
        });
        wait_for(&format!("the control groups of {} are gone", self.name), || {
            let groups = self.footprint().cgroups;
            // The innermost come last.
            groups.iter().rev().for_each(|group| drop(fs::remove_dir(group)));
            groups.is_empty()
        });
        self.unmount_all();
    }

    /// What the sandboxes of its Pods have mounted is gone with the boot; the files and directories stay.
    fn unmount_all(&self) {
        let state = fs::canonicalize(self.state()).unwrap_or_else(|_| self.state());
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let targets = table.lines().filter_map(|line| line.split(' ').nth(4));
        for target in targets.filter(|target| Path::new(target).starts_with(&state)) {
            let _ = rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH);
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The agent's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().pid()
    }

    /// Everything that the agent has logged.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// Its state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The directories of the Pods that it has.
    #[must_use]
    pub fn pods(&self) -> Vec<String> {
        names(&self.state().join("run"))
    }

    /// The newest run directory of a Pod's first container.
    #[must_use]
    pub fn run_dir(&self, uid: &str) -> Option<PathBuf> {
        let dir = self.state().join("run").join(uid).join("main-0");
        let newest = names(&dir).iter().filter_map(|name| name.parse::<u32>().ok()).max()?;
        Some(dir.join(newest.to_string()))
    }

    /// The process id of a Pod's first container, while it is alive.
    #[must_use]
    pub fn pid_of(&self, uid: &str) -> Option<u32> {
        let run = RunDir::open(&self.run_dir(uid)?).ok()?;
        let pid = u32::try_from(run.pid().ok()??.pid).ok()?;
        footprint::is_alive(pid).then_some(pid)
    }

    /// Process ids of all shims and all that they run, without the agent's own.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let mut pids = self.footprint().processes;
        if let Some(agent) = &self.process {
            pids.retain(|pid| *pid != agent.pid());
        }
        pids
    }

    /// What the device has on the machine.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        Footprint::of(&self.state(), &self.pods())
    }

    /// A footprint that knows of these Pods, also when their directories are gone.
    #[must_use]
    pub fn footprint_with(&self, pods: &[String]) -> Footprint {
        Footprint::of(&self.state(), pods)
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("log")
    }
}

/// Kills everything on every device of this program. For one that is about to abort.
pub fn kill_all_devices() {
    for state in states().iter() {
        for pid in Footprint::of(state, &names(&state.join("run"))).processes {
            signal(pid, Signal::KILL);
        }
    }
}

/// The state directories of all devices that this program has made.
fn states() -> MutexGuard<'static, Vec<PathBuf>> {
    static STATES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    STATES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Agent {
    fn drop(&mut self) {
        let ended_before = self.process.is_none();
        self.lose_power();
        if ended_before && std::thread::panicking() {
            show(&self.name, &self.log_file());
        }
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
