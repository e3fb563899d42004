//! The container's processes: the first one, and the runtime's command that runs at the moment.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::process::Signal;

use super::launch::{self, Output};
use super::machine::{Event, Verb};
use super::namespace;
use super::oom::OomCounter;
use super::output::{Outputs, pipe};
use super::reap;
use crate::cgroup;
use crate::private::Private;
use crate::run_dir::{OCI, OCI_PID, RunDir};
use crate::spec::{Container, Kind, Process};
use crate::state::{MAX_MESSAGE, Outcome};

/// Ends of unknown children that are remembered while `create` runs: the container's first process can die
/// before its pid is known. The runtime's own helpers are the others.
const MAX_EARLY: usize = 16;

pub(crate) struct Supervised {
    kind: Kind,
    root: OsString,
    pid_file: OsString,
    /// What the container was made of: a runtime reads it again to run one more program in it.
    private: Option<Private>,
    init: Option<i32>,
    runtime: Option<Running>,
    early: Vec<(i32, Outcome)>,
    oom: Option<OomCounter>,
}

/// The command of the runtime that runs now.
struct Running {
    verb: Verb,
    pid: i32,
    /// Its own output; `create` writes to the pipes that the container inherits instead.
    output: Option<OwnedFd>,
    said: Vec<u8>,
}

impl Supervised {
    pub(crate) fn new(kind: Kind, run: &RunDir, private: Option<Private>) -> Self {
        Self {
            kind,
            root: run.file(OCI).into(),
            pid_file: run.file(OCI_PID).into(),
            private,
            init: None,
            runtime: None,
            early: Vec::new(),
            oom: None,
        }
    }

    /// Whether what it is made of is on no disk.
    pub(crate) fn is_private(&self) -> bool {
        self.kind.is_private()
    }

    /// Starts a plain process.
    pub(crate) fn launch(&mut self, outputs: &mut Outputs) -> Result<i32, String> {
        let Kind::Process(process) = &self.kind else {
            return Err("a container is created by its runtime".to_owned());
        };
        let output = outputs.open().map_err(|error| format!("could not open pipes: {error}"))?;
        let input = self.private.take().map(Private::into_fd);
        let pid = launch::process(process, input, output)?.as_raw_pid();
        self.init = Some(pid);
        self.oom = OomCounter::open(pid);
        Ok(pid)
    }

    /// Starts a command of the runtime. The error is the event that its failure amounts to.
    pub(crate) fn run(&mut self, verb: Verb, outputs: &mut Outputs) -> Result<(), Event> {
        let Kind::Container(container) = &self.kind else {
            return Err(Event::Did(verb));
        };
        if verb == Verb::Create {
            let private = self.private.as_ref().map(|private| (private, Path::new(&self.root)));
            namespace::enter(container, private)
                .map_err(|reason| Event::LaunchFailed { reason })?;
        }
        let running = start(container, verb, &self.root, &self.pid_file, outputs)
            .map_err(|reason| Event::Failed { verb, reason })?;
        self.runtime = Some(running);
        Ok(())
    }

    /// The output of the runtime's command, to be polled.
    pub(crate) fn runtime_output(&self) -> Option<BorrowedFd<'_>> {
        self.runtime.as_ref()?.output.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn read_runtime_output(&mut self) {
        let Some(Running { output, said, .. }) = &mut self.runtime else { return };
        let Some(fd) = output else { return };
        let mut bytes = [0; 1024];
        loop {
            match rustix::io::read(&*fd, &mut bytes) {
                Ok(length) if length > 0 => keep(said, &bytes[..length]),
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::INTR) => {}
                _ => {
                    *output = None;
                    return;
                }
            }
        }
    }

    /// Bytes from the container's standard error: they are the runtime's while `create` runs.
    pub(crate) fn overhear(&mut self, bytes: &[u8]) {
        if let Some(Running { verb: Verb::Create, said, .. }) = &mut self.runtime {
            keep(said, bytes);
        }
    }

    /// What the end of a child means.
    pub(crate) fn ended(&mut self, pid: i32, outcome: Outcome) -> Vec<Event> {
        if self.runtime.as_ref().is_some_and(|running| running.pid == pid) {
            self.read_runtime_output();
            return self
                .runtime
                .take()
                .map_or(Vec::new(), |running| self.runtime_ended(running, outcome));
        }
        if self.init == Some(pid) {
            return vec![self.init_ended(outcome)];
        }
        if self.runtime.as_ref().is_some_and(|running| running.verb == Verb::Create) {
            if self.early.len() == MAX_EARLY {
                self.early.remove(0);
            }
            self.early.push((pid, outcome));
        }
        Vec::new()
    }

    fn init_ended(&mut self, outcome: Outcome) -> Event {
        self.init = None;
        let oom_killed = self.oom.take().is_some_and(|counter| counter.has_counted());
        if let Kind::Process(Process { group: Some(group), .. }) = &self.kind {
            // What is left is removed with the Pod's, and before the next start.
            let _left = cgroup::remove(&group.path);
        }
        Event::Ended { outcome, oom_killed }
    }

    fn runtime_ended(&mut self, running: Running, outcome: Outcome) -> Vec<Event> {
        let verb = running.verb;
        let early = std::mem::take(&mut self.early);
        if verb == Verb::Delete
            && let Err(reason) = self.remove_cgroup()
        {
            return vec![Event::Failed { verb, reason }];
        }
        if outcome != Outcome::Code(0) {
            return vec![Event::Failed { verb, reason: self.complaint(&running, outcome) }];
        }
        if verb != Verb::Create {
            return vec![Event::Did(verb)];
        }
        let Some(pid) = self.read_pid() else {
            let reason = "the runtime created the container but wrote no pid file".to_owned();
            return vec![Event::Failed { verb, reason }];
        };
        self.init = Some(pid);
        self.oom = OomCounter::open(pid);
        let mut events = vec![Event::Created { pid }];
        if let Some(&(_, outcome)) = early.iter().find(|(early, _)| *early == pid) {
            events.push(self.init_ended(outcome));
        }
        events
    }

    fn remove_cgroup(&self) -> Result<(), String> {
        match &self.kind {
            Kind::Container(Container { cgroup: Some(group), .. }) => cgroup::remove(group),
            _ => Ok(()),
        }
    }

    fn read_pid(&self) -> Option<i32> {
        let text = fs::read_to_string(&self.pid_file).ok()?;
        text.trim().parse().ok().filter(|&pid| pid > 1)
    }

    fn complaint(&self, running: &Running, outcome: Outcome) -> String {
        let name = match &self.kind {
            Kind::Container(container) => container.runtime.file_name().unwrap_or_default(),
            Kind::Process(_) => Default::default(),
        };
        let verb = match running.verb {
            Verb::Create => "create",
            Verb::Start => "start",
            Verb::Delete => "delete",
        };
        let how = match outcome {
            Outcome::Signal(signal) => format!("was ended by signal {signal}"),
            other => format!("failed with exit code {}", other.exit_code()),
        };
        let said = String::from_utf8_lossy(&running.said);
        let said = if said.trim().is_empty() { "it gave no reason" } else { said.trim() };
        format!("`{} {verb}` {how}: {said}", name.to_string_lossy())
    }

    /// Kills the runtime's command; its end is told by [`Self::ended`].
    pub(crate) fn kill_runtime(&self) {
        if let Some(running) = &self.runtime {
            reap::kill_group(running.pid);
        }
    }

    pub(crate) fn signal(&self, signal: i32) {
        if let (Some(init), Some(signal)) = (self.init, Signal::from_named_raw(signal)) {
            reap::signal(init, signal);
        }
    }

    pub(crate) fn kill(&self) {
        if let Some(init) = self.init {
            reap::kill_group(init);
        }
    }
}

fn start(
    container: &Container,
    verb: Verb,
    root: &OsString,
    pid_file: &OsString,
    outputs: &mut Outputs,
) -> Result<Running, String> {
    let failed = |error| format!("could not open pipes: {error}");
    let (output, handed) = if verb == Verb::Create {
        (None, outputs.open().map_err(failed)?)
    } else {
        let (read, stdout) = pipe().map_err(failed)?;
        let stderr = stdout.try_clone().map_err(failed)?;
        (Some(read), Output { stdout, stderr })
    };
    let pid = launch::runtime(container, verb, root, pid_file, handed)?.as_raw_pid();
    Ok(Running { verb, pid, output, said: Vec::new() })
}

/// Keeps the beginning: a runtime says first what went wrong.
fn keep(said: &mut Vec<u8>, bytes: &[u8]) {
    let room = MAX_MESSAGE.saturating_sub(said.len());
    said.extend_from_slice(&bytes[..bytes.len().min(room)]);
}
