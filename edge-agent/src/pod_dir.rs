//! The directory of one Pod: what it is, its volumes, and one run directory per start.
//!
//! ```text
//! run/<Pod>/Pod      which spec it runs, for an agent that starts later
//! run/<Pod>/volumes/      emptyDir and configMap volumes: they live as long as the Pod
//! run/<Pod>/<attempt>/    the run directory of one start: shim, log, exit record, bundle
//! ```
//!
//! The newest run and the one before it are kept, the latter for its log.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use firmware_compat::id::{Hash, PodId};
use lichen_shim::run_dir;
use serde::{Deserialize, Serialize};

use crate::state::{StateError, make_dir, read_bounded};

const RECORD: &str = "pod";
/// Raised when [`Record`] changes shape.
const RECORD_VERSION: u8 = 1;
const MAX_RECORD: u64 = 4096;

/// What an agent that starts later must know about a Pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Of the spec that it runs.
    pub identity: Hash,
    /// What the operator calls it: `namespace/name`.
    pub label: String,
    /// What asks it to stop.
    pub stop_signal: i32,
    /// Whether it is the process of a Wasm Pod, whose exit codes have meanings of their own.
    pub wasm: bool,
}

/// The directory of one Pod.
#[derive(Clone, Debug)]
pub struct PodDir {
    path: PathBuf,
}

impl PodDir {
    /// Names the directory below `run`; nothing is made yet.
    #[must_use]
    pub fn new(run: &Path, pod: PodId) -> Self {
        Self { path: run.join(pod.to_string()) }
    }

    /// Every Pod that has a directory.
    ///
    /// # Errors
    /// Those of the system.
    pub fn all(run: &Path) -> Result<Vec<(PodId, Self)>, StateError> {
        let mut found = Vec::new();
        for name in names(run)? {
            match PodId::parse(&name) {
                Some(pod) => found.push((pod, Self::new(run, pod))),
                None => tracing::debug!(name, "not a Pod's directory"),
            }
        }
        found.sort_by_key(|(pod, _)| *pod);
        Ok(found)
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its volumes are.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        self.path.join("volumes")
    }

    /// The run directory of one start.
    #[must_use]
    pub fn attempt(&self, attempt: u32) -> PathBuf {
        self.path.join(attempt.to_string())
    }

    /// Makes the directory.
    ///
    /// # Errors
    /// Those of the system.
    pub fn make(&self) -> Result<(), StateError> {
        make_dir(&self.path)
    }

    /// What [`Self::set_record`] kept. `None` if there is none or it is damaged.
    ///
    /// # Errors
    /// Those of the system.
    pub fn record(&self) -> Result<Option<Record>, StateError> {
        let bytes = read_bounded(&self.path.join(RECORD), MAX_RECORD)?;
        Ok(bytes.and_then(|bytes| match bytes.split_first() {
            Some((&RECORD_VERSION, body)) => match postcard::take_from_bytes(body) {
                Ok((record, [])) => Some(record),
                _ => None,
            },
            _ => None,
        }))
    }

    /// Keeps what it is. It means nothing after a power loss, so nothing waits for the disk.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_record(&self, record: &Record) -> Result<(), StateError> {
        if self.record()?.as_ref() == Some(record) {
            return Ok(());
        }
        let bytes = postcard::to_extend(record, vec![RECORD_VERSION]).expect("a record encodes");
        let (path, new) = (self.path.join(RECORD), self.path.join("pod.new"));
        fs::write(&new, bytes).map_err(|source| StateError::io("write", &new, source))?;
        fs::rename(&new, &path).map_err(|source| StateError::io("replace", &path, source))
    }

    /// The starts that have a run directory, newest first.
    ///
    /// # Errors
    /// Those of the system.
    pub fn attempts(&self) -> Result<Vec<u32>, StateError> {
        let mut attempts: Vec<u32> =
            names(&self.path)?.iter().filter_map(|name| name.parse().ok()).collect();
        attempts.sort_unstable_by(|a, b| b.cmp(a));
        Ok(attempts)
    }

    /// The starts that got as far as a shim, newest first. The first is the current run, the second the one before.
    ///
    /// # Errors
    /// Those of the system.
    pub fn runs(&self) -> Result<Vec<u32>, StateError> {
        let mut attempts = self.attempts()?;
        attempts.retain(|attempt| self.attempt(*attempt).join(run_dir::SPEC).exists());
        Ok(attempts)
    }
}

fn names(dir: &Path) -> Result<Vec<String>, StateError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(StateError::io("list", dir, source)),
    };
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_a_damaged_one_is_none() {
        let run = tempfile::tempdir().expect("a directory");
        let dir = PodDir::new(run.path(), PodId([1; 16]));
        dir.make().expect("makeable");
        assert_eq!(dir.record().expect("readable"), None);
        let record =
            Record { identity: Hash([2; 32]), label: "a/b".into(), stop_signal: 15, wasm: true };
        dir.set_record(&record).expect("writable");
        assert_eq!(dir.record().expect("readable"), Some(record));
        fs::write(dir.path().join(RECORD), [RECORD_VERSION, 1, 2]).expect("writable");
        assert_eq!(dir.record().expect("readable"), None);
    }

    #[test]
    fn runs_are_listed_newest_first_and_only_with_a_shim() {
        let run = tempfile::tempdir().expect("a directory");
        let dir = PodDir::new(run.path(), PodId([1; 16]));
        for attempt in [2, 10, 9] {
            fs::create_dir_all(dir.attempt(attempt)).expect("makeable");
        }
        fs::create_dir_all(dir.volumes()).expect("makeable");
        fs::write(dir.attempt(9).join(run_dir::SPEC), "").expect("writable");
        assert_eq!(dir.attempts().expect("readable"), [10, 9, 2]);
        assert_eq!(dir.runs().expect("readable"), [9]);
        let all = PodDir::all(run.path()).expect("readable");
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].0, PodId([1; 16]));
    }
}
