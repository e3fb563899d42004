//! The program `lichen-shim`: `launch`, `supervise`, `exec` and `clean-up`.
//!
//! `machine` decides, `shell` loops, the rest are its hands. Nothing here is for the agent; it uses
//! [`crate::spawn`], [`crate::adopt`] and [`crate::protocol`].

mod clean;
mod exec;
mod launch;
mod machine;
mod namespace;
mod oom;
mod output;
mod reap;
mod server;
mod shell;
mod supervised;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use rustix::fs::Mode;
use rustix::io::FdFlags;
use rustix::process::{getpid, set_child_subreaper, setsid, umask};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::log::time::wall_ms;
use crate::pause;
use crate::private::{Private, keep_out_of_cores};
use crate::procfs;
use crate::run_dir::{PidRecord, RunDir};
use crate::spawn::READY;
use crate::spec::Kind;
use crate::state::BootId;
use shell::Shell;

const USAGE: &str = "\
lichen-shim supervises one container. The agent starts it; people rarely do.

  lichen-shim launch DIR [LABEL]     start `supervise` in the background (standard input: DIR, locked; standard
                                     error: what DIR/shim.spec wants in memory)
  lichen-shim supervise DIR [LABEL]  run what DIR/shim.spec says
  lichen-shim exec DIR TIMEOUT_MS WORD...
                                     run a program in its container; 0 waits for ever
  lichen-shim clean-up DIR           remove what a killed shim has left
  lichen-shim pause FILE [LABEL]     make a process namespace for a Pod's containers, held by FILE
  lichen-shim --version";

/// The whole program. Takes the command line, program name included.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().skip(1).collect();
    let words: Vec<Option<&str>> = arguments.iter().take(1).map(|word| word.to_str()).collect();
    let dir = arguments.get(1).map(PathBuf::from);
    let result = match (words.first().copied().flatten(), dir) {
        (Some("launch"), Some(dir)) => launch_detached(&dir, &arguments[2..]),
        (Some("supervise"), Some(dir)) => supervise(dir),
        (Some("exec"), Some(dir)) => {
            let words = arguments[2..].iter().map(|word| word.to_string_lossy().into_owned());
            exec::exec(&dir, &words.collect::<Vec<_>>())
        }
        (Some("clean-up"), Some(dir)) => clean::clean_up(&dir),
        (Some("pause"), Some(file)) => pause::start(&file, &arguments[2..]),
        (Some("paused"), Some(_)) => pause::pause(),
        (Some("--version"), None) => {
            println!("lichen-shim {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // Standard output is what the agent listens to.
            let _ = writeln!(io::stdout(), "{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Starts `supervise` and leaves, so that it becomes a child of init. The descriptor of the run directory
/// (standard input), the channel to the agent (standard output) and what is private (standard error) are passed on.
///
/// Everything else that is open is closed: a container may run for months, and whoever reads the other end of
/// some pipe of the agent's must not wait that long.
fn launch_detached(dir: &Path, label: &[OsString]) -> Result<(), String> {
    close_on_exec_above_stderr();
    Command::new("/proc/self/exe")
        .arg0("lichen-shim")
        .arg("supervise")
        .arg(dir)
        .args(label)
        .stdin(Stdio::inherit())
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit())
        .spawn()
        .map(drop)
        .map_err(|error| format!("could not start the supervising process: {error}"))
}

fn close_on_exec_above_stderr() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for number in numbers.filter(|&number: &RawFd| number > 2) {
        // SAFETY: the borrow ends with this statement, this process has one thread, and the descriptor is listed
        // as open. Nothing is read from or written to it; only its close-on-exec flag is set.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC);
    }
}

fn supervise(dir: PathBuf) -> Result<(), String> {
    let private = take_private()?;
    let run = take_run_dir(dir)?;
    detach()?;
    let record = run
        .spec()
        .map_err(|error| error.to_string())?
        .ok_or_else(|| format!("{} holds no shim.spec", run.path().display()))?;
    record.spec.validate().map_err(|error| error.to_string())?;
    if record.spec.kind.is_private() != private.is_some() {
        return Err("it was not given what its specification wants in memory".to_owned());
    }
    if matches!(record.spec.kind, Kind::Container(_)) {
        claim_session(&run, record.boot_id)?;
    }
    let server = server::Server::bind(&run)
        .map_err(|error| format!("could not open a socket in {}: {error}", run.path().display()))?;
    let mut shell = Shell::new(run, record.spec, record.boot_id, server, private)
        .map_err(|error| format!("could not watch for signals: {error}"))?;
    report_ready()?;
    shell.run();
    Ok(())
}

/// Standard input is the run directory, with the lock that the agent took. It moves to a descriptor that no
/// child inherits: a lock that outlived the shim would make it look alive.
fn take_run_dir(path: PathBuf) -> Result<RunDir, String> {
    let failed = |error: io::Error| format!("could not take over {}: {error}", path.display());
    let inherited = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    let theirs = rustix::fs::fstat(&inherited).map_err(|errno| failed(errno.into()))?;
    let named = rustix::fs::stat(&path).map_err(|errno| failed(errno.into()))?;
    if (theirs.st_dev, theirs.st_ino) != (named.st_dev, named.st_ino) {
        return Err(format!(
            "standard input is not {}: start shims through the agent, which locks it first",
            path.display()
        ));
    }
    dup2_stdin(open_null("read")?).map_err(|errno| failed(errno.into()))?;
    Ok(RunDir::inherited(inherited, path))
}

/// Standard error is what is private, if there is something. It moves to a descriptor that no child inherits.
fn take_private() -> Result<Option<Private>, String> {
    let Some(private) = Private::of(&io::stderr()) else { return Ok(None) };
    let failed = |error: io::Error| format!("could not take over what is private: {error}");
    dup2_stderr(open_null("write")?).map_err(|errno| failed(errno.into()))?;
    keep_out_of_cores().map_err(failed)?;
    Ok(Some(private))
}

fn detach() -> Result<(), String> {
    setsid().map_err(|errno| format!("could not make a session: {errno}"))?;
    umask(Mode::from_raw_mode(0o022));
    set_child_subreaper(Some(getpid()))
        .map_err(|errno| format!("could not become a subreaper: {errno}"))?;
    std::env::set_current_dir("/").map_err(|error| format!("could not leave for /: {error}"))
}

/// Records that the runtime's commands, from now on, are in this process's session. Before the first of them.
fn claim_session(run: &RunDir, boot_id: BootId) -> Result<(), String> {
    let me = getpid().as_raw_pid();
    let stat = procfs::stat(me).ok_or("could not read /proc/self/stat: is /proc mounted?")?;
    let record = PidRecord { boot_id, pid: me, start_ticks: stat.start_ticks, at_ms: wall_ms() };
    run.store_shim_pid(&record).map_err(|error| error.to_string())
}

/// Tells the agent that the socket is there, and lets go of its pipe.
fn report_ready() -> Result<(), String> {
    let failed = |error: io::Error| format!("could not report to the agent: {error}");
    // The agent may be dead already; the container runs all the same.
    let _ = writeln!(io::stdout(), "{READY}{}", getpid().as_raw_pid());
    let null = open_null("write")?;
    dup2_stdout(&null).map_err(|errno| failed(errno.into()))?;
    dup2_stderr(&null).map_err(|errno| failed(errno.into()))
}

fn open_null(way: &str) -> Result<File, String> {
    File::options()
        .read(way == "read")
        .write(way == "write")
        .open("/dev/null")
        .map_err(|error| format!("could not open /dev/null: {error}"))
}
