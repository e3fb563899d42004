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
    hub::Hub,
    programs::{repository, workspace_program},
    wait::try_within,
};

/// Commands that only look, and are asked again until they show what the page says.
const LOOKS: [&str; 11] = [
    "lichen get",
    "lichen describe",
    "lichen explain",
    "lichen logs",
    "lichen image list",
    "lichen audit --node",
    "lichen hub trust",
    "kubectl get",
    "kubectl describe",
    "kubectl logs",
    "curl",
];
/// How a line begins that tells of a failure of these programs; of others it is not known how they end.
const FAILURES: [&str; 3] = ["error:", "Error", "The ConfigMap"];
const JUDGED: [&str; 2] = ["lichen ", "kubectl "];
/// What pages use of the repository: examples, a module, and a frame for a device to send.
const LINKS: [&str; 3] = ["manifests", "hub", "firmware-compat"];
/// How long a command may take to show what the page says. It only bounds how long a wrong page is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where lichen and kubectl look for what tells them of the hub, in a home directory.
const KUBECONFIGS: [&str; 2] = [".local/state/lichen/hub/admin.kubeconfig", ".kube/config"];

/// Where a page is run.
#[derive(Debug)]
pub struct Desk {
    dir: TempDir,
    /// Ports on the pages, and those of the test's hub.
    ports: [(String, String); 2],
}

impl Desk {
    /// A fresh directory with the repository's examples in it, for commands to a hub.
    ///
    /// # Panics
    /// If it can't be made.
    #[must_use]
    pub fn new(hub: &Hub) -> Self {
        let dir = TempDir::with_prefix("lt-docs-").unwrap();
        for name in LINKS {
            symlink(fs::canonicalize(repository(name)).unwrap(), dir.path().join(name)).unwrap();
        }
        for kubeconfig in KUBECONFIGS.map(|path| dir.path().join(path)) {
            fs::create_dir_all(kubeconfig.parent().unwrap()).unwrap();
            fs::copy(hub.kubeconfig(), kubeconfig).unwrap();
        }
        let [api, devices] = usual_ports();
        let ports = [
            (api, hub.address().port().to_string()),
            (devices, hub.device_address().port().to_string()),
        ];
        Self { dir, ports }
    }

    /// Runs a page of `docs/`.
    ///
    /// # Panics
    /// At the first command that prints something else than the page says.
    pub fn follow(&self, name: &str) {
        let path = repository("docs").join(name);
        let mut text =
            fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for (usual, own) in &self.ports {
            text = text.replace(usual, own);
        }
        let page = Page::parse(&text);
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
        let tells = |line: &str| FAILURES.iter().any(|failure| line.starts_with(failure));
        let fails = step.expected.lines().any(tells);
        let judged = JUDGED.iter().any(|program| step.command.starts_with(program));
        match (!judged || success != fails, matches(&step.expected, &said)) {
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
        // Debian's own Python has Debian's own packages.
        path.push(PathBuf::from("/usr/bin"));
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let mut command = Command::new("sh");
        command.arg("-c").arg(&step.command).current_dir(self.dir.path());
        command.env("PATH", std::env::join_paths(path).unwrap());
        command.env("HOME", self.dir.path());
        for variable in
            ["LICHEN_LOG", "LICHEN_SERVER", "KUBECONFIG", "XDG_STATE_HOME", "XDG_CONFIG_HOME"]
        {
            command.env_remove(variable);
        }
        command.process_group(0);
        command.stdin(Stdio::null()).stderr(output.try_clone().unwrap()).stdout(output);
        command
    }
}

/// Ports of a hub that is told nothing, as the program says them: of its API, and for devices.
fn usual_ports() -> [String; 2] {
    let said = Command::new(workspace_program("lichen")).args(["hub", "--help"]).output().unwrap();
    // Lines are broken where the terminal ends.
    let help = String::from_utf8(said.stdout).unwrap();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    ["--api <ADDR>", "--devices <ADDR>"].map(|option| {
        let (_, rest) = help.split_once(option).unwrap_or_else(|| panic!("{option}: {help}"));
        let (_, rest) = rest.split_once("[default: ").expect("it has a default");
        let rest = rest.strip_prefix("[::]:").expect("every address of the machine");
        let (port, _) = rest.split_once(']').expect("the bracket is closed");
        port.to_owned()
    })
}
