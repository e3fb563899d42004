//! Starts the container's process, which dies with the shim, and the runtime's commands, which do not.
//!
//! A runtime that is killed half way leaves cgroups that it knows nothing about later. So its commands run to
//! their end whatever happens to the shim, and `clean-up` waits for them. It knows them by the shim's session, which they
//! stay in: no command line is as good, since a process has none for a moment in every exec, and crun execs itself.
//!
//! The only `unsafe` of process creation is here: the few calls between fork and exec.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{
    Pid, Signal, getpid, getppid, set_parent_process_death_signal, setpgid, setsid,
};

use crate::cgroup;
use crate::spec::{Container, Process};
use crate::supervise::machine::Verb;

/// Both ends of the container's output that the child gets.
pub(crate) struct Output {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Starts the container of a [`Process`] as a session of its own. `input`: what is private to it.
pub(crate) fn process(
    process: &Process,
    input: Option<OwnedFd>,
    output: Output,
) -> Result<Pid, String> {
    let (program, arguments) = process.argv.split_first().ok_or("argv is empty")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir(&process.cwd);
    command.envs(process.env.iter().map(|(name, value)| (name, value)));
    command.stdin(input.map_or_else(Stdio::null, Stdio::from));
    let groups = process.group.as_ref().map(cgroup::make).unwrap_or_default();
    spawn(command, output, Fate::Shared(groups)).map_err(|error| {
        if process.cwd.is_dir() {
            format!("could not run {program}: {error}")
        } else {
            format!("could not run {program}: its directory {} is missing", process.cwd.display())
        }
    })
}

/// Starts one command of the container's runtime.
pub(crate) fn runtime(
    container: &Container,
    verb: Verb,
    root: &OsStr,
    pid_file: &OsStr,
    output: Output,
) -> Result<Pid, String> {
    let mut command = Command::new(&container.runtime);
    command.args(&container.runtime_args).arg("--root").arg(root);
    match verb {
        Verb::Create => {
            command.arg("create").arg("--bundle").arg(&container.bundle);
            command.arg("--pid-file").arg(pid_file).arg(&container.id);
        }
        Verb::Start => {
            command.arg("start").arg(&container.id);
        }
        Verb::Delete => {
            command.arg("delete").arg("--force").arg(&container.id);
        }
    }
    command.current_dir("/").stdin(Stdio::null());
    spawn(command, output, Fate::Own)
        .map_err(|error| format!("could not run {}: {error}", container.runtime.display()))
}

/// Whether a child dies with the shim.
enum Fate {
    /// It does, and is in these control groups: files to write to.
    Shared(Vec<File>),
    Own,
}

/// Every child leads a process group of its own, so that it can be killed with what it starts. The container leads
/// a session as well.
fn spawn(mut command: Command, output: Output, fate: Fate) -> io::Result<Pid> {
    command.stdout(output.stdout).stderr(output.stderr);
    let shim = getpid();
    let before_exec = move || {
        let Fate::Shared(groups) = &fate else {
            return setpgid(None, None).map_err(Into::into);
        };
        for group in groups {
            // Outside of its group it would have no limits, and nobody would find what it starts.
            rustix::io::write(group, b"0")?;
        }
        setsid()?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The shim may have died before the call above took effect.
        if getppid() == Some(shim) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: the closure runs between fork and exec. It makes system calls alone, without touching memory that it shares
    // with anything but to read which files to write to, allocates nothing (the error conversions are plain numbers), and
    // takes no lock.
    unsafe { command.pre_exec(before_exec) };
    // The handle is dropped: the shim's loop reaps every child itself, by pid.
    command.spawn().map(|child| Pid::from_child(&child))
}
