//! The shim's one loop: waits for pipes, sockets and children, feeds the machine, carries out its effects.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use signal_hook::consts::{SIGCHLD, SIGTERM};

use super::machine::{Effect, Event, Machine, Now, Shape};
use super::output::Outputs;
use super::reap;
use super::server::Server;
use super::supervised::Supervised;
use crate::log::time::wall_ms;
use crate::private::Private;
use crate::protocol::{Refusal, Reply, Request};
use crate::run_dir::{LOG, OCI_PID, PidRecord, RunDir, SHIM_PID, SOCKET};
use crate::spec::{Kind, Spec};
use crate::state::{BootId, Exit, Outcome, Started, State};
use crate::{procfs, spec};

/// The grace when the shim itself is told to end (a machine that shuts down).
const SHUTDOWN_GRACE_MS: u64 = 10_000;

pub(crate) struct Shell {
    run: RunDir,
    boot_id: BootId,
    began: Instant,
    machine: Machine,
    supervised: Supervised,
    outputs: Outputs,
    server: Server,
    signals: Signals,
    left: bool,
}

/// Where something came in.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Listener,
    Stdout,
    Stderr,
    Runtime,
    Connection(usize),
}

impl Shell {
    pub(crate) fn new(
        run: RunDir,
        spec: Spec,
        boot_id: BootId,
        server: Server,
        private: Option<Private>,
    ) -> io::Result<Self> {
        let spec::Spec { kind, log, label: _ } = spec;
        let shape = match &kind {
            Kind::Process(_) => Shape::Process,
            Kind::Container(_) => Shape::Container,
        };
        let now = Now { steady_ms: 0, wall_ms: wall_ms() };
        Ok(Self {
            boot_id,
            began: Instant::now(),
            machine: Machine::begin(shape, boot_id, now),
            supervised: Supervised::new(kind, &run, private),
            outputs: Outputs::new(run.path().to_owned(), log),
            server,
            signals: Signals::register()?,
            left: false,
            run,
        })
    }

    /// Supervises the run to its end.
    pub(crate) fn run(&mut self) {
        self.act();
        while !self.left {
            for (source, flags) in self.wait() {
                self.take_in(source, flags);
                self.act();
                if self.left {
                    return;
                }
            }
            self.server.sweep();
            self.tell(Event::Timeout);
            self.act();
        }
    }

    fn wait(&self) -> Vec<(Source, PollFlags)> {
        let mut sources = vec![
            (Source::Signals, self.signals.pipe.as_fd(), PollFlags::IN),
            (Source::Listener, self.server.listener.as_fd(), PollFlags::IN),
        ];
        let pipes = [
            (Source::Stdout, self.outputs.stdout.fd()),
            (Source::Stderr, self.outputs.stderr.fd()),
            (Source::Runtime, self.supervised.runtime_output()),
        ];
        sources.extend(pipes.iter().filter_map(|(s, fd)| Some((*s, (*fd)?, PollFlags::IN))));
        for (index, connection) in self.server.connections.iter().enumerate() {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, connection.wants_to_write());
            sources.push((Source::Connection(index), connection.stream.as_fd(), flags));
        }
        let mut fds: Vec<_> =
            sources.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        match poll(&mut fds, self.timeout().as_ref()) {
            Ok(_) => {}
            // A signal interrupts; its byte is in the pipe for the next round.
            Err(Errno::INTR) => return Vec::new(),
            // Out of kernel memory at worst: try again instead of ending the container.
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(100)),
        }
        let ready = fds.iter().zip(&sources).filter(|(fd, _)| !fd.revents().is_empty());
        ready.map(|(fd, (source, ..))| (*source, fd.revents())).collect()
    }

    fn timeout(&self) -> Option<Timespec> {
        let left = self.machine.poll_timeout()?.saturating_sub(self.now().steady_ms);
        Some(Timespec {
            tv_sec: i64::try_from(left / 1000).unwrap_or(i64::MAX),
            tv_nsec: (left % 1000 * 1_000_000) as _,
        })
    }

    fn take_in(&mut self, source: Source, flags: PollFlags) {
        match source {
            Source::Signals => self.take_signals(),
            Source::Listener => self.server.accept(),
            Source::Stdout => self.outputs.read_stdout(),
            Source::Stderr => self.read_stderr(),
            Source::Runtime => self.supervised.read_runtime_output(),
            Source::Connection(index) => self.converse(index, flags),
        }
    }

    /// Before the container runs, standard error carries the runtime's complaints.
    fn read_stderr(&mut self) {
        let Self { outputs, supervised, .. } = self;
        outputs.read_stderr(|bytes| supervised.overhear(bytes));
    }

    fn take_signals(&mut self) {
        if self.signals.take() {
            self.tell(Event::Stop { signal: Signal::TERM.as_raw(), grace_ms: SHUTDOWN_GRACE_MS });
        }
        let mut ended = Vec::new();
        reap::reap(|pid, outcome| ended.push((pid.as_raw_pid(), outcome)));
        for (pid, outcome) in ended {
            self.child_ended(pid, outcome);
            self.act();
        }
    }

    fn child_ended(&mut self, pid: i32, outcome: Outcome) {
        // What it wrote last belongs to the reason.
        self.read_stderr();
        for event in self.supervised.ended(pid, outcome) {
            // The runtime's own state, by which others are cleaned up after, ends with this process if it is in memory.
            if let Event::Created { pid } = event
                && self.supervised.is_private()
            {
                self.record(Started { pid, at_ms: wall_ms() });
            }
            self.tell(event);
        }
    }

    fn converse(&mut self, index: usize, flags: PollFlags) {
        let now = self.now();
        let Self { machine, server, outputs, boot_id, .. } = self;
        let Some(connection) = server.connections.get_mut(index) else { return };
        if flags.contains(PollFlags::OUT) {
            connection.flush();
        }
        if !flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return;
        }
        connection.read(|request| {
            if let Err(refusal) = request.and_then(|request| obey(machine, &request, now)) {
                return Reply::Refused(refusal);
            }
            Reply::State(State {
                phase: machine.phase(),
                boot_id: *boot_id,
                shim_pid: rustix::process::getpid().as_raw_pid(),
                dropped_log_lines: outputs.log.dropped_lines,
                log_bytes: outputs.log.written_bytes,
            })
        });
    }

    fn tell(&mut self, event: Event) {
        let now = self.now();
        self.machine.handle(event, now);
    }

    fn now(&self) -> Now {
        let steady_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { steady_ms, wall_ms: wall_ms() }
    }

    /// Carries out everything that the machine has decided.
    fn act(&mut self) {
        while let Some(effect) = self.machine.drain() {
            match effect {
                Effect::Launch => self.launch(),
                Effect::Run(verb) => {
                    if let Err(event) = self.supervised.run(verb, &mut self.outputs) {
                        self.tell(event);
                    }
                }
                Effect::KillRuntime => self.supervised.kill_runtime(),
                Effect::Record(started) => self.record(started),
                Effect::Announce(started) => self.server.push(&Reply::Started(started)),
                Effect::Signal(signal) => self.supervised.signal(signal),
                Effect::KillContainer => self.supervised.kill(),
                Effect::KillRest => reap::kill_rest(),
                Effect::Finish(exit) => self.finish(&exit),
            }
        }
    }

    fn launch(&mut self) {
        let event = match self.supervised.launch(&mut self.outputs) {
            Ok(pid) => Event::Launched { pid },
            Err(reason) => Event::LaunchFailed { reason },
        };
        self.tell(event);
    }

    /// A missing record costs precision of a later clean-up, not the container.
    fn record(&self, started: Started) {
        let Some(stat) = procfs::stat(started.pid) else { return };
        let _ = self.run.store_pid(&PidRecord {
            boot_id: self.boot_id,
            pid: started.pid,
            start_ticks: stat.start_ticks,
            at_ms: started.at_ms,
        });
    }

    fn finish(&mut self, exit: &Exit) {
        self.outputs.finish();
        if self.run.store_exit(exit).is_err() {
            // A full disk: the reason is worth more than old output.
            for number in 1..spec::MAX_LOG_FILES {
                let _ = std::fs::remove_file(self.run.file(&format!("{LOG}.{number}")));
            }
            let _ = self.run.store_exit(exit);
        }
        self.server.push(&Reply::Exited(exit.clone()));
        self.server.say_farewell();
        for name in [OCI_PID, SHIM_PID, SOCKET] {
            let _ = std::fs::remove_file(self.run.file(name));
        }
        self.left = true;
    }
}

fn obey(machine: &mut Machine, request: &Request, now: Now) -> Result<(), Refusal> {
    match *request {
        Request::Status | Request::Follow => {}
        Request::Kill => machine.handle(Event::Stop { signal: 9, grace_ms: 0 }, now),
        Request::Stop { signal, grace_ms } => {
            if Signal::from_named_raw(signal).is_none() {
                return Err(Refusal::Signal(signal));
            }
            machine.handle(Event::Stop { signal, grace_ms }, now);
        }
    }
    Ok(())
}

/// Signals as bytes on a pipe.
struct Signals {
    pipe: OwnedFd,
    told_to_end: Arc<AtomicBool>,
}

impl Signals {
    fn register() -> io::Result<Self> {
        let (pipe, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let told_to_end = Arc::new(AtomicBool::new(false));
        signal_hook::low_level::pipe::register(SIGCHLD, write.try_clone()?)?;
        // The flag first: whoever reads the byte must find it set.
        signal_hook::flag::register(SIGTERM, Arc::clone(&told_to_end))?;
        signal_hook::low_level::pipe::register(SIGTERM, write)?;
        Ok(Self { pipe, told_to_end })
    }

    /// Empties the pipe; true if the shim was told to end.
    fn take(&self) -> bool {
        let mut bytes = [0; 64];
        while rustix::io::read(&self.pipe, &mut bytes).is_ok_and(|length| length == bytes.len()) {}
        self.told_to_end.swap(false, Ordering::Relaxed)
    }
}
