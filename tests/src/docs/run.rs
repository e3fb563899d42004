//! Runs a page as a reader would: in a directory of its own, with the programs in PATH and a hub to talk to.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use super::{Block, Page, Step, compare::matches};
use crate::{
    programs::{repository, workspace_program},
    wait::try_within,
};

/// Commands that only look, and are asked again until they show what the page says.
const LOOKS: [&str; 9] = [
    "lichen get",
    "lichen describe",
    "lichen explain",
    "lichen logs",
    "lichen image list",
    "kubectl get",
    "kubectl describe",
    "kubectl logs",
    "curl",
];
/// How long a command may take to show what the page says. It only bounds how long a wrong page is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a page is run.
#[derive(Debug)]
pub struct Desk {
    dir: TempDir,
    server: String,
}

impl Desk {
    /// A fresh directory, with the repository's `manifests` in it.
    ///
    /// # Panics
    /// If it can't be made.
    #[must_use]
    pub fn new(server: &str) -> Self {
        let dir = TempDir::with_prefix("lt-docs-").unwrap();
        symlink(fs::canonicalize(repository("manifests")).unwrap(), dir.path().join("manifests"))
            .unwrap();
        Self { dir, server: server.to_owned() }
    }

    /// Runs a page of `docs/`.
    ///
    /// # Panics
    /// At the first command that prints something else than the page says.
    pub fn follow(&self, name: &str) {
        let page = Page::read(&repository("docs").join(name));
        assert!(!page.blocks.is_empty(), "docs/{name} has no block marked console");
        for block in page.blocks {
            match block {
                Block::File { name, text } => fs::write(self.dir.path().join(name), text).unwrap(),
                Block::Command(step) => {
                    if let Err(why) = self.run(&step) {
                        panic!("docs/{name}:{}: $ {}\n{why}", step.line, step.command);
                    }
                }
            }
        }
    }

    fn run(&self, step: &Step) -> Result<(), String> {
        if step.is_interrupted {
            return self.interrupt(step);
        }
        if LOOKS.iter().any(|looks| step.command.starts_with(looks)) {
            return try_within(PATIENCE, "it shows what the page says", || self.run_once(step));
        }
        self.run_once(step)
    }

    fn run_once(&self, step: &Step) -> Result<(), String> {
        let log = self.dir.path().join(".said");
        let mut child = self.command(step, &log).spawn().unwrap();
        let success = child.wait().unwrap().success();
        let said = fs::read_to_string(&log).unwrap();
        let fails = step
            .expected
            .lines()
            .any(|line| line.starts_with("error:") || line.starts_with("Error"));
        match (success != fails, matches(&step.expected, &said)) {
            (true, true) => Ok(()),
            (false, true) => {
                Err(format!("it {} unexpectedly", if fails { "ended well" } else { "failed" }))
            }
            _ => Err(format!("the page says\n{}\nit said\n{said}", step.expected)),
        }
    }

    /// Runs a command until it has printed what the page says, and ends it.
    fn interrupt(&self, step: &Step) -> Result<(), String> {
        let log = self.dir.path().join(".said");
        let mut child = self.command(step, &log).spawn().unwrap();
        let seen = try_within(PATIENCE, "it prints what the page says", || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            match matches(&step.expected, &said) {
                true => Ok(()),
                false => Err(format!("the page says\n{}\nit said\n{said}", step.expected)),
            }
        });
        // The shell and what it started, which are a process group of their own.
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // It may have ended by itself just now.
            let _ = kill_process_group(group, Signal::TERM);
        }
        let _ = child.wait();
        seen
    }

    /// Both outputs go to one file, as they would to a terminal.
    fn command(&self, step: &Step, log: &Path) -> Command {
        use std::os::unix::process::CommandExt;
        let output = File::create(log).unwrap();
        let programs = workspace_program("lichen");
        let mut path: Vec<PathBuf> = vec![programs.parent().unwrap().to_owned()];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let mut command = Command::new("sh");
        command.arg("-c").arg(&step.command).current_dir(self.dir.path());
        command.env("PATH", std::env::join_paths(path).unwrap());
        command.env("LICHEN_SERVER", &self.server).env("HOME", self.dir.path());
        command.env_remove("LICHEN_LOG").env_remove("KUBECONFIG").process_group(0);
        command.stdin(Stdio::null()).stderr(output.try_clone().unwrap()).stdout(output);
        command
    }
}
