//! The agent of a quickstart: a process of its own, which ends with everything that it runs.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    DEVICE,
    programs::Programs,
    server::{News, Server},
};
use crate::{cli::error::CliError, store::VARIABLE};

/// How the program is called.
const PROGRAM: &str = "lichen-agent";
/// How long the agent may take to stop what it runs: the longest grace period of a workload is 30 seconds if it says
/// nothing, and the agent needs some for itself.
const STOP_TIME: Duration = Duration::from_secs(45);
/// How long the agent may take to listen to signals. It tries its container runtimes at that time.
const START_TIME: Duration = Duration::from_secs(20);
/// How often it is looked whether a process has ended.
const LOOK: Duration = Duration::from_millis(50);
/// Lines of its log that are shown when it fails.
const LOG_LINES: usize = 8;

/// A running agent.
pub struct Agent {
    child: Child,
    command: Launch,
}

/// What it takes to start one.
#[derive(Clone)]
struct Launch {
    program: PathBuf,
    shim: PathBuf,
    state: PathBuf,
    log: PathBuf,
    pid_file: PathBuf,
    token: String,
}

impl Agent {
    /// Starts an agent on a state directory. One that an earlier quickstart could not stop is ended first; what it runs
    /// goes on, and the new one takes it over.
    ///
    /// # Errors
    /// The program can't be started.
    pub fn start(programs: &Programs, state: &Path, token: &str) -> Result<Self, CliError> {
        let command = Launch {
            program: programs.agent.clone(),
            shim: programs.shim.clone(),
            state: state.join("agent"),
            log: state.join("agent.log"),
            pid_file: state.join("agent.pid"),
            token: token.to_owned(),
        };
        end_leftover(&command);
        let child = command.spawn(false)?;
        Ok(Self { child, command })
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.command.log
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        Some(format!("the agent has ended ({status})"))
    }

    /// An error with the end of its log.
    pub fn failed(&self, what: &str) -> CliError {
        let log = fs::read(&self.command.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  ");
        CliError::Failed(format!(
            "{what}; its log ({}) ends with:\n  {tail}",
            self.command.log.display()
        ))
    }

    /// Stops the agent and all that it runs. If it has died, another one is started on its state, which takes over
    /// what still runs, and that one is stopped.
    ///
    /// # Errors
    /// Something could not be stopped in time.
    pub fn stop(mut self, server: &mut Server) -> Result<(), CliError> {
        if self.ended().is_some() {
            self.child = self.command.spawn(true)?;
        }
        self.wait_until_it_listens();
        signal(self.child.id(), Signal::TERM);
        let begun = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                // The pid may belong to another process soon.
                let _ = fs::remove_file(&self.command.pid_file);
                return match status.success() {
                    true => Ok(()),
                    false => Err(self.failed(&format!("the agent ended badly ({status})"))),
                };
            }
            let asked_again = matches!(server.news(LOOK), Some(News::Asked));
            if asked_again || begun.elapsed() > STOP_TIME {
                signal(self.child.id(), Signal::KILL);
                // It is reaped here; that it was killed is known.
                let _ = self.child.wait();
                return Err(CliError::Failed(
                    "the agent was killed before it had stopped everything; run `lichen quickstart` again \
                     and stop it once more to end what still runs"
                        .to_owned(),
                ));
            }
        }
    }
}

impl Agent {
    /// An agent that has just been started would be ended by the signal itself, and leave what it runs.
    fn wait_until_it_listens(&mut self) {
        let begun = Instant::now();
        while !catches_sigterm(self.child.id())
            && self.ended().is_none()
            && begun.elapsed() < START_TIME
        {
            std::thread::sleep(LOOK);
        }
    }
}

/// Whether a process has a handler for SIGTERM, as the kernel tells (proc(5), SigCgt: bit 0 is signal 1).
fn catches_sigterm(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (Signal::TERM.as_raw() - 1) & 1 == 1)
}

impl Launch {
    fn spawn(&self, again: bool) -> Result<Child, CliError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CliError::File { path, source }
        };
        let log =
            File::options().create(true).append(again).write(true).truncate(!again).open(&self.log);
        let log = log.map_err(failed(&self.log))?;
        let errors = log.try_clone().map_err(failed(&self.log))?;
        let mut command = Command::new(&self.program);
        // One that has joined before says so and runs.
        command.args(["join", &self.token, "--name", DEVICE]).arg("--state").arg(&self.state);
        command.arg("--shim").arg(&self.shim);
        command.args(["--label", "lichen.dev/site=here", "--drain-on-exit"]);
        command.stdin(Stdio::null()).stdout(log).stderr(errors).env_remove(VARIABLE);
        // Ctrl-C reaches every process of a group: the agent is told when it is its turn.
        command.process_group(0);
        let child = command.spawn().map_err(|error| {
            CliError::Failed(format!("could not start {}: {error}", self.program.display()))
        })?;
        fs::write(&self.pid_file, child.id().to_string()).map_err(failed(&self.pid_file))?;
        Ok(child)
    }
}

/// Ends the agent of a quickstart that was killed. Only if the process is one, on this state.
fn end_leftover(command: &Launch) {
    let Some(pid) =
        fs::read_to_string(&command.pid_file).ok().and_then(|pid| pid.trim().parse::<u32>().ok())
    else {
        return;
    };
    let is_ours = || {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        let named = words.next().is_some_and(|name| name.ends_with(PROGRAM.as_bytes()));
        named && words.any(|word| word == command.state.as_os_str().as_encoded_bytes())
    };
    if is_ours() {
        // Killed, not asked to stop: what it runs then goes on, and the next agent takes it over.
        signal(pid, Signal::KILL);
        let begun = Instant::now();
        while is_ours() && begun.elapsed() < STOP_TIME {
            std::thread::sleep(LOOK);
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself just now.
        let _ = kill_process(pid, signal);
    }
}
