//! Starts programs so that they die with the shim.
//!
//! The only `unsafe` of process creation is here: the few calls between fork and exec.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal, setsid};

use crate::spec::{Container, Process};
use crate::supervise::machine::Verb;

/// Both ends of the instance's output that the child gets.
pub(crate) struct Output {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Starts the instance of a [`Process`] as a session of its own.
pub(crate) fn process(process: &Process, output: Output) -> Result<Pid, String> {
    let (program, arguments) = process.argv.split_first().ok_or("argv is empty")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir(&process.cwd);
    command.envs(process.env.iter().map(|(name, value)| (name, value)));
    spawn(command, output).map_err(|error| {
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
    command.current_dir("/");
    spawn(command, output)
        .map_err(|error| format!("could not run {}: {error}", container.runtime.display()))
}

fn spawn(mut command: Command, output: Output) -> io::Result<Pid> {
    command.stdin(Stdio::null()).stdout(output.stdout).stderr(output.stderr);
    die_with_parent(&mut command);
    // The handle is dropped: the shim's loop reaps every child itself, by pid.
    command.spawn().map(|child| Pid::from_child(&child))
}

fn die_with_parent(command: &mut Command) {
    let shim = getpid();
    let before_exec = move || {
        setsid()?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The shim may have died before the call above took effect.
        if getppid() == Some(shim) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: the closure runs between fork and exec. It makes three system calls without touching memory
    // that it shares with anything, allocates nothing (both error conversions are plain numbers), and takes no lock.
    unsafe { command.pre_exec(before_exec) };
}
