//! Starts the real compiler and a real host process, the way the hub and the shim do.

#![allow(dead_code, reason = "every test file uses its own part of it")]

pub mod componentize;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use lichen_wasm_host::{Class, Run};
use tempfile::TempDir;

/// How long anything may take before a test gives up. Never reached when all is well.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A folder with what a test compiles and runs.
pub struct Bench {
    folder: TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        Bench { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("the temporary folder can be written");
        path
    }

    /// Starts the compiler on `input`; the artefact's path is the second value.
    pub fn compile_with(&self, input: &Path, class: Class, options: &[&str]) -> (Output, PathBuf) {
        let stem = input.file_stem().expect("inputs have names").to_string_lossy();
        let artefact = self.path(&format!("{stem}.{class}.cwasm"));
        let output = Command::new(env!("CARGO_BIN_EXE_lichen-wasmc"))
            .args(["compile", "--class", class.as_str(), "--output"])
            .arg(&artefact)
            .args(options)
            .arg(input)
            .output()
            .expect("the compiler can be started");
        (output, artefact)
    }

    /// Compiles what must compile.
    pub fn compile(&self, input: &Path, class: Class) -> PathBuf {
        let (output, artefact) = self.compile_with(input, class, &[]);
        assert!(output.status.success(), "{input:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "");
        artefact
    }

    /// Compiles what must not, and returns exit code and message.
    pub fn refuse(&self, input: &Path, options: &[&str]) -> (i32, String) {
        let (output, artefact) = self.compile_with(input, Class::of_this_machine(), options);
        assert!(!artefact.exists(), "a refused program leaves no artefact");
        let message = text(&output.stderr);
        assert_eq!(message.lines().count(), 1, "one clear line: {message}");
        (output.status.code().expect("the compiler was not killed"), message)
    }

    /// Starts a host process for `run` as a device of `class`.
    pub fn start(&self, run: &Run, class: Class) -> Child {
        let bytes = run.to_bytes().expect("paths are UTF-8");
        let spec = self.file("spec", bytes);
        Command::new(example("wasm-run"))
            .arg(spec)
            .arg(class.as_str())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the host process can be started")
    }

    /// Runs `run` to its end: exit code, standard output, standard error.
    pub fn run(&self, run: &Run, class: Class) -> (i32, String, String) {
        let output = self.start(run, class).wait_with_output().expect("the process can be awaited");
        let code = output.status.code().expect("the process was not killed");
        (code, text(&output.stdout), text(&output.stderr))
    }
}

/// A program of this crate's `samples` folder.
pub fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name)
}

/// A spec with nothing but an artefact.
pub fn plain(artefact: PathBuf) -> Run {
    Run { artefact, args: vec!["program".to_owned()], ..Run::default() }
}

/// The lines that a process prints, as they come.
pub struct Lines(mpsc::Receiver<String>);

impl Lines {
    pub fn of(child: &mut Child) -> Lines {
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Lines(receiver)
    }

    pub fn next(&self) -> String {
        self.0.recv_timeout(DEADLINE).expect("another line is printed before the deadline")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Cargo builds a package's examples before its tests, next to the folder of the tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(Path::parent).expect("tests are two folders down");
    let path = folder.join("examples").join(name);
    assert!(
        path.exists(),
        "{path:?} is missing: run the whole package, `cargo test -p lichen-wasmc`"
    );
    path
}
