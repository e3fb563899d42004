//! Which compiler makes code for a device. The device says by a hash which engine and settings it has; each
//! `lichen-wasmc` says which hashes it makes. Compilers of older agents can be kept in the state directory.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use firmware_compat::v1::owned::WasmSupport;
use lichen_hub_core::event::ImageError;
use tokio::process::Command;

/// The program's name.
const PROGRAM: &str = "lichen-wasmc";
/// A compiler that does not tell its version in this time is not used.
const VERSION_TIME: Duration = Duration::from_secs(10);
/// Files of the compilers' directory that are looked at.
const MAX_COMPILERS: usize = 32;

/// The compilers that can be found.
#[derive(Debug)]
pub(super) struct Compilers {
    given: Option<PathBuf>,
    older: PathBuf,
    /// What each file said, as long as it is the same file.
    known: Mutex<BTreeMap<PathBuf, (Option<SystemTime>, Makes)>>,
}

/// Class to compatibility hash.
type Makes = BTreeMap<String, String>;

impl Compilers {
    /// `given` comes first and is the only one outside `older`; without it the program is looked for beside the
    /// current one and in PATH.
    pub(super) fn new(given: Option<PathBuf>, older: PathBuf) -> Self {
        Self { given, older, known: Mutex::default() }
    }

    /// The compiler for a device.
    pub(super) async fn find(&self, support: &WasmSupport) -> Result<PathBuf, ImageError> {
        let candidates = self.candidates();
        let mut others = Vec::new();
        for path in &candidates {
            match self.ask(path).await {
                Ok(makes) => match makes.get(support.class.as_str()) {
                    Some(hash) if hash == support.compatibility.as_str() => return Ok(path.clone()),
                    Some(hash) => others.push(format!("{} makes {hash}", path.display())),
                    None => others.push(format!("{} has no such class", path.display())),
                },
                Err(error) => others.push(error),
            }
        }
        Err(self.shortage(support, &others))
    }

    fn shortage(&self, support: &WasmSupport, others: &[String]) -> ImageError {
        let (class, hash) = (support.class.as_str(), support.compatibility.as_str());
        let message = if others.is_empty() {
            format!(
                "the hub found no {PROGRAM} to compile Wasm with; put it beside the lichen program or into PATH, or \
                 name it with --wasm-compiler"
            )
        } else {
            format!(
                "no compiler makes {class} code for the device's engine {hash}: {}; update the agent to the hub's \
                 release, or put the {PROGRAM} of the agent's release into {}",
                others.join(", "),
                self.older.display()
            )
        };
        ImageError { reason: "CompilerMissing".into(), message, retry: true }
    }

    fn candidates(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> =
            self.given.clone().or_else(beside_or_in_path).into_iter().collect();
        let older = fs::read_dir(&self.older).into_iter().flatten().flatten();
        let mut older: Vec<PathBuf> = older
            .map(|entry| entry.path())
            .filter(|path| path.is_file())
            .take(MAX_COMPILERS)
            .collect();
        older.sort();
        found.extend(older);
        found
    }

    /// What a compiler makes.
    async fn ask(&self, path: &Path) -> Result<Makes, String> {
        let changed = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        if let Some((seen, makes)) = known
            && seen == changed
        {
            return Ok(makes);
        }
        let mut command = Command::new(path);
        command.arg("version").env_clear().stdin(Stdio::null()).kill_on_drop(true);
        let failed = |cause: &str| format!("{} could not be asked ({cause})", path.display());
        let output = tokio::time::timeout(VERSION_TIME, command.output()).await;
        let output = output.map_err(|_| failed("no answer"))?;
        let output = output.map_err(|error| failed(&error.to_string()))?;
        let makes = parse(&String::from_utf8_lossy(&output.stdout));
        if !output.status.success() || makes.is_empty() {
            return Err(failed("it is no compiler of Lichen's"));
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(path.to_owned(), (changed, makes.clone()));
        Ok(makes)
    }
}

/// One line per class: its name, the hash, and words for people.
fn parse(text: &str) -> Makes {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    lines.collect()
}

fn beside_or_in_path() -> Option<PathBuf> {
    let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(PROGRAM)));
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path).map(|dir| dir.join(PROGRAM));
    beside.into_iter().chain(in_path).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_a_compiler_is_read_line_by_line() {
        let makes = parse("x86_64 0a1b wasmtime 48 for x86_64\naarch64 2c3d wasmtime\n\nodd\n");
        let expected = [("aarch64", "2c3d"), ("x86_64", "0a1b")];
        assert_eq!(makes, expected.map(|(class, hash)| (class.to_owned(), hash.to_owned())).into());
    }

    #[tokio::test]
    async fn a_missing_compiler_is_reported_with_the_fix() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let given = dir.path().join("absent");
        let compilers = Compilers::new(Some(given), dir.path().join("compilers"));
        let support = WasmSupport {
            class: "x86_64".try_into().expect("short"),
            compatibility: "0a1b".try_into().expect("short"),
        };
        let shortage = compilers.find(&support).await.expect_err("none");
        assert_eq!(shortage.reason, "CompilerMissing");
        assert!(shortage.message.contains("could not be asked"), "{}", shortage.message);
        assert!(shortage.message.contains("update the agent"), "{}", shortage.message);
    }
}
