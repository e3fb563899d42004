//! The command line `lichen`, as a user runs it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::programs::workspace_program;

/// The command line, talking to one hub.
#[derive(Debug)]
pub struct Cli {
    kubeconfig: PathBuf,
    scratch: PathBuf,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// The arguments.
    pub command: String,
    /// Whether it ended with exit code 0.
    pub success: bool,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Said {
    /// Its output, if it ended well.
    ///
    /// # Panics
    /// If it did not.
    pub fn well(self) -> String {
        assert!(self.success, "it should end well: {self:#?}");
        self.stdout
    }
}

impl Cli {
    /// For tests that need no hub, any path does.
    #[must_use]
    pub fn new(kubeconfig: &Path, scratch: &Path) -> Self {
        Self { kubeconfig: kubeconfig.to_owned(), scratch: scratch.to_owned() }
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// If the program cannot be run.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Said {
        let output = self.command(arguments).output().unwrap();
        Said {
            command: arguments.join(" "),
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts a command that goes on until it is ended; its output can be read.
    ///
    /// # Panics
    /// If the program cannot be run.
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// Applies objects, from a file as a user would.
    ///
    /// # Panics
    /// If that fails.
    pub fn apply(&self, objects: &[&Value]) -> String {
        let file = self.scratch.join("apply.yaml");
        // JSON is YAML; each object is a document.
        let text: Vec<String> = objects.iter().map(|object| format!("{object:#}\n")).collect();
        fs::write(&file, text.join("---\n")).unwrap();
        self.run(&["apply", "-f", file.to_str().unwrap()]).well()
    }

    /// Pushes an image or a module under a name.
    ///
    /// # Panics
    /// If that fails.
    pub fn push(&self, file: &Path, name: &str) -> String {
        self.run(&["image", "push", file.to_str().unwrap(), name]).well()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(workspace_program("lichen"));
        command.args(arguments).env("LICHEN_KUBECONFIG", &self.kubeconfig);
        command.env_remove("LICHEN_LOG").current_dir(&self.scratch).stdin(Stdio::null());
        command
    }
}
