//! A child process that ends with its guard, and whose output is shown when the test that owns it fails.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::wait_until;

/// Lines of output that a failing test shows of each of its processes.
const LINES_SHOWN: usize = 60;

/// Process ids of all living guards, for a program that aborts on a panic and so drops nothing.
static LIVING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program. Its output is appended to `log`.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null());
        command.stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("could not start {}: {error}", command.get_program().display())
        });
        living().push(child.id());
        Self { name: name.to_owned(), child, log: log.to_owned() }
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has written, also in earlier lives with the same log.
    #[must_use]
    pub fn output(&self) -> String {
        read_log(&self.log)
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Ends it as a crash would (`kill -9`), and waits until it is gone.
    pub fn kill(&mut self) {
        let _already_dead = self.child.kill();
        let _status = self.child.wait();
        self.forget();
    }

    /// Ends it as a service manager would (SIGTERM), and waits until it is gone.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn terminate(&mut self) -> ExitStatus {
        signal(self.pid(), Signal::TERM);
        let status = wait_until(&format!("{} ends after SIGTERM", self.name), || {
            self.ended().ok_or_else(|| "it runs".to_owned())
        });
        self.forget();
        status
    }

    fn forget(&self) {
        living().retain(|pid| *pid != self.child.id());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            show(&self.name, &self.log);
        }
    }
}

/// Prints the end of a log, for the reader of a failed test.
pub fn show(name: &str, log: &Path) {
    let text = read_log(log);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LINES_SHOWN);
    eprintln!("---- {name}, the last {} of {} lines:", lines.len() - from, lines.len());
    for line in &lines[from..] {
        eprintln!("{line}");
    }
}

/// Ends every process that has a guard. For a program that is about to abort.
pub fn kill_all() {
    for pid in living().drain(..) {
        signal(pid, Signal::KILL);
    }
}

/// Sends a signal to a process that may be gone already.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _gone = kill_process(pid, signal);
    }
}

fn living() -> std::sync::MutexGuard<'static, Vec<u32>> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_log(log: &Path) -> String {
    String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
}
