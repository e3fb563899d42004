//! What both test files need: runs in temporary directories, and waiting for events with a deadline.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lichen_shim::log::{Line, parse};
use lichen_shim::{
    Client, Exit, Found, Kind, LogLimits, Phase, Private, Process, Reply, Request, Spec, Started,
    clean_up, inspect, spawn_private,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Generous: it only bounds how long a broken build hangs.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The program under test.
pub fn shim() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_lichen-shim"))
}

/// One run in a temporary directory. What is left of it is killed when the test ends, also when it fails.
pub struct Run {
    pub dir: PathBuf,
    _parent: tempfile::TempDir,
}

impl Run {
    pub fn new() -> Self {
        Self::below("run")
    }

    pub fn below(name: &str) -> Self {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let dir = parent.path().join(name);
        fs::create_dir_all(&dir).expect("a run directory");
        Self { dir, _parent: parent }
    }

    /// Spawns a shim, follows it, and returns the connection with what it said first.
    pub fn start(&self, spec: &Spec) -> i32 {
        self.start_private(spec, None)
    }

    pub fn start_private(&self, spec: &Spec, private: Option<&Private>) -> i32 {
        spawn_private(shim(), &self.dir, spec, private).expect("a shim").shim_pid
    }

    pub fn follow(&self) -> (Client, Phase) {
        let mut client = Client::open(&self.dir).expect("a connection");
        let phase = client.request(&Request::Follow).expect("an answer").phase;
        (client, phase)
    }

    /// Waits until the container runs.
    pub fn started(&self) -> Started {
        let (mut client, mut phase) = self.follow();
        loop {
            match phase {
                Phase::Running(started) | Phase::Stopping(started) => return started,
                Phase::Exited(exit) => panic!("it has ended: {exit:?}"),
                Phase::Starting => match client.wait_for_push(DEADLINE).expect("a push") {
                    Reply::Started(started) => return started,
                    Reply::Exited(exit) => phase = Phase::Exited(exit),
                    other => panic!("unexpected {other:?}"),
                },
            }
        }
    }

    /// Waits for the end of the run, whether it is still to come or not.
    pub fn ended(&self) -> Exit {
        eventually("the run ends", || match inspect(&self.dir).expect("inspectable") {
            Found::Running(_) => None,
            Found::Exited(exit) => Some(exit),
            Found::Lost => panic!("the run was lost"),
        })
    }

    pub fn request(&self, request: &Request) -> lichen_shim::State {
        lichen_shim::request(&self.dir, request).expect("an answer")
    }

    pub fn log(&self) -> Vec<u8> {
        fs::read(self.dir.join("log")).unwrap_or_default()
    }

    /// The texts of one stream.
    pub fn lines(&self, stream: &str) -> Vec<String> {
        let log = self.log();
        let lines = log.split_inclusive(|&b| b == b'\n').map(|line| parse(line).expect("a line"));
        lines
            .filter(|line: &Line<'_>| line.stream.name() == stream)
            .map(|line| String::from_utf8_lossy(line.text).into_owned())
            .collect()
    }

    /// Waits until a line that `f` accepts is in the log.
    pub fn line<T>(&self, what: &str, f: impl Fn(&str) -> Option<T>) -> T {
        eventually(what, || self.lines("stdout").iter().find_map(|line| f(line)))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        match inspect(&self.dir) {
            Ok(Found::Running(state)) => {
                let _ = lichen_shim::request(&self.dir, &Request::Kill);
                gone(state.shim_pid);
            }
            Ok(Found::Lost) => drop(clean_up(shim(), &self.dir)),
            _ => {}
        }
    }
}

/// Looks again and again until there is something, with a deadline.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for the end of a process that need not be a child.
pub fn gone(pid: i32) {
    let Some(pid) = Pid::from_raw(pid) else { panic!("{pid} is not a process") };
    let Ok(descriptor) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let mut fds = [PollFd::from_borrowed_fd(descriptor.as_fd(), PollFlags::IN)];
    let deadline = Timespec { tv_sec: 30, tv_nsec: 0 };
    assert_eq!(poll(&mut fds, Some(&deadline)), Ok(1), "process {pid:?} lives on");
}

pub fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

pub fn kill_9(pid: i32) {
    let pid = Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it lives");
}

/// A shell script as a container.
pub fn script(text: &str) -> Spec {
    command(&["/bin/sh", "-c", text])
}

pub fn command(argv: &[&str]) -> Spec {
    Spec {
        kind: Kind::Process(Process {
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            cwd: "/".into(),
            private: false,
            group: None,
        }),
        log: LogLimits::default(),
        label: "default/test".into(),
    }
}
