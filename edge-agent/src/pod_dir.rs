//! The directory of one Pod: what it is, what its containers share, and one directory per container.
//!
//! ```text
//! run/<Pod>/pod                     which spec it runs, for an agent that starts later
//! run/<Pod>/volumes/                emptyDir and configMap volumes: they live as long as the Pod
//! run/<Pod>/claims                  the claims that it mounts, see [`crate::claims`]
//! run/<Pod>/etc/                    hosts, hostname, resolv.conf
//! run/<Pod>/network, ipc, processes hold the namespaces
//! run/<Pod>/shm/                    its /dev/shm
//! run/<Pod>/main-0/, init-0/ …      see [`ContainerDir`]
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use firmware_compat::id::{Hash, PodId};
use lichen_agent_core::{ContainerId, event::Failure};
use lichen_shim::BootId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::state::{StateError, Written, make_dir, read_bounded, sync_dir_of};

mod container;

pub use container::{ContainerDir, ContainerRecord};

const RECORD: &str = "pod";
/// Raised when a record changes shape.
const RECORD_VERSION: u8 = 1;
const MAX_RECORD: u64 = 4096;

/// What an agent that starts later must know about a Pod. Written when its sandbox is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Of the spec that it runs.
    pub identity: Hash,
    /// The boot that the sandbox is of: with the next one its network, its memory and every process are gone. `None` if
    /// it has been taken down.
    pub boot_id: Option<BootId>,
    /// Whether the sandbox holds a network namespace.
    pub network: bool,
    /// What the operator calls it: `namespace/name`.
    pub label: String,
    /// Time between the stop signal and the kill, in milliseconds.
    pub grace_ms: u32,
    /// Whether it is a Wasm Pod, whose exit codes have meanings of their own.
    pub wasm: bool,
    /// When it became active: the boot, and milliseconds since that began.
    pub active_since: Option<(BootId, u64)>,
    /// Why it has failed for good, if it has: reason and words.
    pub failed: Option<(String, String)>,
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

    /// Where the files are that its containers see in `/etc`.
    #[must_use]
    pub fn etc(&self) -> PathBuf {
        self.path.join("etc")
    }

    /// Which claims it mounts.
    #[must_use]
    pub fn claims(&self) -> PathBuf {
        self.path.join("claims")
    }

    /// What holds its network namespace.
    #[must_use]
    pub fn network(&self) -> PathBuf {
        self.path.join("network")
    }

    /// What holds its IPC namespace.
    #[must_use]
    pub fn ipc(&self) -> PathBuf {
        self.path.join("ipc")
    }

    /// What holds the namespace of its processes, if its containers share one.
    #[must_use]
    pub fn processes(&self) -> PathBuf {
        self.path.join("processes")
    }

    /// Where its shared memory is.
    #[must_use]
    pub fn shm(&self) -> PathBuf {
        self.path.join("shm")
    }

    /// The directory of one of its containers.
    #[must_use]
    pub fn container(&self, container: ContainerId) -> ContainerDir {
        ContainerDir::new(self.path.join(container.to_string()))
    }

    /// Every container that has a directory, in the order in which they are started.
    ///
    /// # Errors
    /// Those of the system.
    pub fn containers(&self) -> Result<Vec<(ContainerId, ContainerDir)>, StateError> {
        let names = names(&self.path)?;
        let mut all: Vec<_> = names.iter().filter_map(|name| ContainerId::parse(name)).collect();
        all.sort();
        Ok(all.into_iter().map(|container| (container, self.container(container))).collect())
    }

    /// Makes the directory, durably: what an application will have synced in it must not go with the directory's name.
    ///
    /// # Errors
    /// Those of the system.
    pub fn make(&self) -> Result<(), StateError> {
        make_dir(&self.path)?;
        sync_dir_of(&self.path)
    }

    /// What [`Self::set_record`] kept. `None` if there is none, or it is damaged or an agent's that writes it differently:
    /// then the directory is that of the Pod of its name, and no more is known of it.
    ///
    /// # Errors
    /// Those that pass: the system has no memory or no descriptors left.
    pub fn record(&self) -> Result<Option<Record>, StateError> {
        load(&self.path.join(RECORD))
    }

    /// Keeps that it has failed for good, durably: or it would run again.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_failed(&self, failure: &Failure, written: &Written) -> Result<(), StateError> {
        let Some(record) = self.record()? else { return Ok(()) };
        let failed = Some((failure.reason.clone(), failure.message.clone()));
        self.set_record(&Record { failed, ..record }, written)
    }

    /// Keeps what it is, durably: without it nobody knows after a power loss whose volumes these are and whose ends were
    /// told, and a Pod that has ended for good would run again.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_record(&self, record: &Record, written: &Written) -> Result<(), StateError> {
        if self.record()?.as_ref() == Some(record) {
            return Ok(());
        }
        written.replace(&self.path.join(RECORD), &encode(record))
    }
}

fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateError> {
    let bytes = match read_bounded(path, MAX_RECORD) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(error) if error.passes() => return Err(error),
        Err(error) => {
            tracing::warn!("{error}: it is taken for damaged");
            return Ok(None);
        }
    };
    let record = match bytes.split_first() {
        Some((&RECORD_VERSION, body)) => match postcard::take_from_bytes(body) {
            Ok((record, [])) => Some(record),
            _ => None,
        },
        _ => None,
    };
    if record.is_none() {
        tracing::warn!(path = %path.display(), "a record is damaged or of another version of this program");
    }
    Ok(record)
}

fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    postcard::to_extend(record, vec![RECORD_VERSION]).expect("a record encodes")
}

/// Replaces a record, unless it says this already. A power loss may take it: nothing waits for the disk.
fn store<T>(dir: &Path, name: &str, record: &T) -> Result<(), StateError>
where
    T: Serialize + DeserializeOwned + PartialEq,
{
    let path = dir.join(name);
    if load(&path)?.as_ref() == Some(record) {
        return Ok(());
    }
    let new = dir.join(format!("{name}.new"));
    fs::write(&new, encode(record)).map_err(|source| StateError::io("write", &new, source))?;
    fs::rename(&new, &path).map_err(|source| StateError::io("replace", &path, source))
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
        let record = Record {
            identity: Hash([2; 32]),
            boot_id: Some(BootId([3; 16])),
            network: true,
            label: "a/b".into(),
            grace_ms: 5,
            wasm: true,
            active_since: Some((BootId([3; 16]), 7)),
            failed: None,
        };
        let written = Written::default();
        dir.set_record(&record, &written).expect("writable");
        assert_eq!(dir.record().expect("readable"), Some(record.clone()));
        let bytes = written.bytes();
        assert_eq!(bytes, fs::metadata(dir.path().join(RECORD)).expect("there").len());
        dir.set_record(&record, &written).expect("writable");
        assert_eq!(written.bytes(), bytes, "what it says already is not written again");
        for damaged in [&[RECORD_VERSION, 1, 2][..], &[], &[RECORD_VERSION + 1, 0]] {
            fs::write(dir.path().join(RECORD), damaged).expect("writable");
            assert_eq!(dir.record().expect("readable"), None);
        }
        dir.set_record(&record, &written).expect("what is damaged is written over");
        assert_eq!(dir.record().expect("readable"), Some(record));
    }

    #[test]
    fn a_record_that_the_disk_does_not_give_back_is_none() {
        let run = tempfile::tempdir().expect("a directory");
        let dir = PodDir::new(run.path(), PodId([1; 16]));
        dir.make().expect("makeable");
        // Opens, and every read of it fails.
        fs::create_dir(dir.path().join(RECORD)).expect("writable");
        assert_eq!(dir.record().expect("it is as if there were none"), None);
    }

    #[test]
    fn pods_and_their_containers_are_listed_in_order() {
        use ContainerId::{Init, Main};
        let run = tempfile::tempdir().expect("a directory");
        let dir = PodDir::new(run.path(), PodId([1; 16]));
        assert!(dir.containers().expect("nothing there").is_empty());
        for container in [Main(10), Main(2), Init(0)] {
            fs::create_dir_all(dir.container(container).attempt(0)).expect("makeable");
        }
        fs::create_dir_all(dir.volumes()).expect("makeable");
        fs::create_dir_all(run.path().join("lost+found")).expect("makeable");
        let all = PodDir::all(run.path()).expect("readable");
        assert_eq!(all.iter().map(|(pod, _)| *pod).collect::<Vec<_>>(), [PodId([1; 16])]);
        let containers = dir.containers().expect("readable");
        let found: Vec<_> = containers.iter().map(|(container, _)| *container).collect();
        assert_eq!(found, [Init(0), Main(2), Main(10)]);
    }
}
