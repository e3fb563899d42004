//! The directory of one container of a Pod: one run directory per start.
//!
//! ```text
//! main-0/container    its name, and how it is asked to stop
//! main-0/<attempt>/   the run directory of one start: shim, log, exit record, bundle, what its probes have said, its last word
//! ```
//!
//! The newest run and the one before it are kept, the latter for its log and its end.

use std::{fs, path::PathBuf};

use lichen_agent_core::event::Health;
use lichen_shim::run_dir;
use serde::{Deserialize, Serialize};

use super::{load, names, store};
use crate::{
    runtime::signal,
    state::{StateError, make_dir, read_bounded},
};

const RECORD: &str = "container";
/// In a run directory: what is known of a container that runs.
const HEALTH: &str = "health";

/// What an agent that starts later must know about a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// As the spec has it.
    pub name: String,
    /// What asks it to stop.
    pub stop_signal: i32,
    /// Whether the end of its log is its last word, if it failed and left no other.
    pub message_from_log: bool,
    /// The last start whose end counts no more: the sandbox that it ran in was removed, so an init container runs again.
    pub forgotten: Option<u32>,
}

/// The directory of one container.
#[derive(Clone, Debug)]
pub struct ContainerDir {
    path: PathBuf,
}

impl ContainerDir {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
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
    /// Those that pass: the system has no memory or no descriptors left.
    pub fn record(&self) -> Result<Option<ContainerRecord>, StateError> {
        load(&self.path.join(RECORD))
    }

    /// Keeps what it is.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_record(&self, record: &ContainerRecord) -> Result<(), StateError> {
        store(&self.path, RECORD, record)
    }

    /// From now on, how its runs ended counts no more. A start that was prepared and has not run yet is none of them.
    ///
    /// # Errors
    /// Those of the system.
    pub fn forget_ends(&self) -> Result<(), StateError> {
        let Some(newest) = self.runs()?.first().copied() else { return Ok(()) };
        // A power loss may have taken the record; the next start writes name and signal anew.
        let record = self.record()?.unwrap_or_else(|| ContainerRecord {
            name: String::new(),
            stop_signal: signal::TERM,
            message_from_log: false,
            forgotten: None,
        });
        self.set_record(&ContainerRecord { forgotten: Some(newest), ..record })
    }

    /// Keeps what is known of a run while it runs: one byte, beside the run's own files.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_health(&self, attempt: u32, health: Health) -> Result<(), StateError> {
        let Health { hooked, started, ready } = health;
        let bits = [hooked, started, ready]
            .into_iter()
            .rev()
            .fold(0, |bits, bit| bits << 1 | u8::from(bit));
        let path = self.attempt(attempt).join(HEALTH);
        fs::write(&path, [bits]).map_err(|source| StateError::io("write", &path, source))
    }

    /// What [`Self::set_health`] kept. `None` if nothing was.
    #[must_use]
    pub fn health(&self, attempt: u32) -> Option<Health> {
        let bytes = read_bounded(&self.attempt(attempt).join(HEALTH), 1).ok().flatten()?;
        let bits = *bytes.first()?;
        let bit = |place: u8| bits >> place & 1 == 1;
        Some(Health { hooked: bit(0), started: bit(1), ready: bit(2) })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_listed_newest_first_and_only_with_a_shim() {
        let run = tempfile::tempdir().expect("a directory");
        let dir = ContainerDir::new(run.path().join("main-0"));
        for attempt in [2, 10, 9] {
            fs::create_dir_all(dir.attempt(attempt)).expect("makeable");
        }
        dir.forget_ends().expect("nothing to forget");
        assert_eq!(dir.record().expect("readable"), None);
        fs::write(dir.attempt(9).join(run_dir::SPEC), "").expect("writable");
        dir.forget_ends().expect("writable");
        let record = dir.record().expect("readable").expect("made for what there was none of");
        assert_eq!(record.forgotten, Some(9));
        let record = ContainerRecord {
            name: "web".into(),
            stop_signal: 3,
            message_from_log: false,
            forgotten: None,
        };
        dir.set_record(&record).expect("writable");
        assert_eq!(dir.record().expect("readable"), Some(record));
        dir.forget_ends().expect("writable");
        let record = dir.record().expect("readable").expect("there");
        // The tenth was prepared and has not run: how it will end counts.
        assert_eq!((record.stop_signal, record.forgotten), (3, Some(9)));
        assert_eq!(dir.attempts().expect("readable"), [10, 9, 2]);
        assert_eq!(dir.health(9), None);
        for health in [
            Health { hooked: true, started: true, ready: false },
            Health { hooked: false, started: false, ready: true },
        ] {
            dir.set_health(9, health).expect("writable");
            assert_eq!(dir.health(9), Some(health));
        }
        assert_eq!(dir.runs().expect("readable"), [9]);
    }
}
