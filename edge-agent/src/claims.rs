//! The data of PersistentVolumeClaims: a directory each, which outlives Pods, agents and their upgrades.
//!
//! ```text
//! claims/<claim>/                  what containers mount
//! claims/<claim>.removing/         the hub has had it removed; it goes once no Pod has it
//! claim-records/<claim>            it was here: without its directory its data is lost, not new
//! claim-records/<claim>.removed    the same of one that was removed
//! run/<Pod>/claims                 the claims that a Pod mounts, one a line
//! ```
//!
//! Nothing is removed but what the hub names, and nothing that a Pod's directory names. A directory is made once in the
//! life of a claim, on the state directory for which the claim was bound.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use firmware_compat::{
    id::{AgentId, ClaimId},
    v1::owned::{Claim, Pod, VolumeSource},
};

use crate::{
    pod_dir::PodDir,
    state::{StateDir, StateError, Written, make_dir, read_bounded, sync_dir_of},
    volumes::own_claim,
};

/// Containers of any user write to a claim, as to an emptyDir.
const MODE: u32 = 0o777;
/// Of a directory that is to go.
const REMOVING: &str = "removing";
/// Of the record of one that is gone.
const REMOVED: &str = "removed";
/// Records of removed claims that are kept: a hub from a backup may name one.
const KEPT_REMOVED: usize = 256;
/// A file that names as many claims as a Pod has volumes.
const MAX_NAMES: u64 = 4096;

/// Why a claim can't be mounted.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The system refused.
    #[error("claim {claim}: {cause}")]
    State {
        /// The claim's name.
        claim: String,
        /// What was tried, and the answer.
        cause: StateError,
    },
    /// It was bound for another state directory.
    #[error(
        "claim {claim}: its data is on the board that had this device's name before; bring that one back, or delete the claim and make it again to begin empty"
    )]
    OtherBoard {
        /// The claim's name.
        claim: String,
    },
    /// It was here.
    #[error(
        "claim {claim}: its directory {} is gone; bring it back, or delete the claim and make it again to begin empty",
        path.display()
    )]
    Gone {
        /// The claim's name.
        claim: String,
        /// Where it was.
        path: PathBuf,
    },
    /// A hub had it removed.
    #[error("claim {claim}: its data was removed when the claim was deleted; make the claim anew")]
    Removed {
        /// The claim's name.
        claim: String,
    },
}

impl ClaimError {
    /// CamelCase, for who looks at the Pod.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::State { .. } => "VolumeUnreadable",
            Self::OtherBoard { .. } | Self::Gone { .. } | Self::Removed { .. } => "VolumeLost",
        }
    }
}

/// The claims of one state directory.
#[derive(Clone, Debug)]
pub struct Claims {
    agent: AgentId,
    data: PathBuf,
    records: PathBuf,
    run: PathBuf,
    written: Written,
    /// Held by the one that removes.
    sweeping: Arc<Mutex<()>>,
}

impl Claims {
    /// Those of a state directory, which are made as they are needed.
    #[must_use]
    pub fn of(state: &StateDir, agent: AgentId) -> Self {
        Self::at(state.path(), agent, state.written().clone())
    }

    /// The same, by the directory's path.
    #[must_use]
    pub fn at(state: &Path, agent: AgentId, written: Written) -> Self {
        Self {
            agent,
            data: data(state),
            records: state.join("claim-records"),
            run: state.join("run"),
            written,
            sweeping: Arc::default(),
        }
    }

    /// Makes what is missing of the claims that a Pod mounts, durably, and notes that the Pod has them.
    ///
    /// # Errors
    /// See [`ClaimError`].
    pub fn place(&self, pod: &Pod, dir: &PodDir) -> Result<(), ClaimError> {
        let mut names = String::new();
        for claim in mounted(pod) {
            names.push_str(&format!("{}\n", claim.id));
        }
        if names.is_empty() {
            return Ok(());
        }
        let path = dir.claims();
        let noted = fs::write(&path, &names);
        for claim in mounted(pod) {
            let of = |cause| ClaimError::State { claim: claim.name.to_string(), cause };
            noted.as_ref().map_err(|error| of(StateError::io("write", &path, again(error))))?;
            self.make(claim)?;
            if let Some(group) = pod.security.fs_group {
                let path = self.root(claim)?;
                own_claim(&path, group).map_err(|error| {
                    of(StateError::io("give to the Pod's fsGroup what is in", &path, error))
                })?;
            }
        }
        self.written.add(names.len() as u64);
        Ok(())
    }

    /// The directory of a claim that [`Self::place`] has made.
    ///
    /// # Errors
    /// See [`ClaimError`].
    pub fn root(&self, claim: &Claim) -> Result<PathBuf, ClaimError> {
        let name = || claim.name.to_string();
        let path = self.data.join(claim.id.to_string());
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => Ok(path),
            Ok(_) => Err(ClaimError::Gone { claim: name(), path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let removed = self.record(claim.id).with_extension(REMOVED).exists()
                    || path.with_extension(REMOVING).exists();
                Err(match removed {
                    true => ClaimError::Removed { claim: name() },
                    false => ClaimError::Gone { claim: name(), path },
                })
            }
            Err(error) => {
                let cause = StateError::io("look at", &path, error);
                Err(ClaimError::State { claim: name(), cause })
            }
        }
    }

    fn make(&self, claim: &Claim) -> Result<(), ClaimError> {
        let name = || claim.name.to_string();
        let (path, record) = (self.data.join(claim.id.to_string()), self.record(claim.id));
        match self.root(claim) {
            Err(ClaimError::Gone { .. }) if !record.exists() && !path.is_symlink() => {
                if claim.bound_to != self.agent {
                    return Err(ClaimError::OtherBoard { claim: name() });
                }
            }
            Ok(_) if record.exists() => return Ok(()),
            // Power went between the directory and its record.
            Ok(_) => {}
            Err(error) => return Err(error),
        }
        let made = || -> Result<(), StateError> {
            make_dir(&self.data)?;
            make_dir(&self.records)?;
            make_dir(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(MODE))
                .map_err(|error| StateError::io("set the mode of", &path, error))?;
            sync_dir_of(&path)?;
            sync_dir_of(&self.data)?;
            let text = format!("{}\n", claim.name);
            self.written.replace(&record, text.as_bytes())
        };
        made().map_err(|cause| ClaimError::State { claim: name(), cause })
    }

    /// Notes durably that claims are to go. What is not here has gone, or never was.
    ///
    /// # Errors
    /// The first that could not be noted; the others are.
    pub fn condemn(&self, claims: &[ClaimId]) -> Result<(), StateError> {
        let mut result = Ok(());
        let mut found = None;
        for claim in claims {
            let path = self.data.join(claim.to_string());
            // A name is changed without a byte more: this works on a full disk.
            match fs::rename(&path, path.with_extension(REMOVING)) {
                Ok(()) => found = Some(path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => result = Err(StateError::io("rename", &path, error)),
            }
        }
        match found {
            Some(path) => sync_dir_of(&path).and(result),
            None => result,
        }
    }

    /// Removes what is noted to go, but for what a Pod's directory names. Returns what was removed.
    ///
    /// # Errors
    /// The first that could not be removed; it is tried again with the next call.
    pub fn sweep(&self) -> Result<Vec<ClaimId>, StateError> {
        // Whoever panicked left nothing half said: the disk says what is to go.
        let _one = self.sweeping.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let condemned = self.with_extension(&self.data, REMOVING)?;
        if condemned.is_empty() {
            return Ok(Vec::new());
        }
        let kept = self.mounted()?;
        let mut removed = Vec::new();
        for claim in condemned.into_iter().filter(|claim| !kept.contains(claim)) {
            let path = self.data.join(claim.to_string()).with_extension(REMOVING);
            fs::remove_dir_all(&path).map_err(|error| StateError::io("remove", &path, error))?;
            let record = self.record(claim);
            match fs::rename(&record, record.with_extension(REMOVED)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StateError::io("rename", &record, error));
                }
                Ok(()) | Err(_) => removed.push(claim),
            }
        }
        self.forget_oldest()?;
        Ok(removed)
    }

    /// Claims that the directory of a Pod names.
    fn mounted(&self) -> Result<BTreeSet<ClaimId>, StateError> {
        let mut all = BTreeSet::new();
        for (_, dir) in PodDir::all(&self.run)? {
            let bytes = read_bounded(&dir.claims(), MAX_NAMES)?.unwrap_or_default();
            all.extend(String::from_utf8_lossy(&bytes).lines().filter_map(ClaimId::parse));
        }
        Ok(all)
    }

    fn record(&self, claim: ClaimId) -> PathBuf {
        self.records.join(claim.to_string())
    }

    fn forget_oldest(&self) -> Result<(), StateError> {
        let mut removed: Vec<_> = self
            .with_extension(&self.records, REMOVED)?
            .into_iter()
            .map(|claim| self.record(claim).with_extension(REMOVED))
            .map(|path| (fs::metadata(&path).and_then(|of| of.modified()).ok(), path))
            .collect();
        removed.sort();
        let over = removed.len().saturating_sub(KEPT_REMOVED);
        for (_, path) in removed.into_iter().take(over) {
            fs::remove_file(&path).map_err(|error| StateError::io("remove", &path, error))?;
        }
        Ok(())
    }

    /// The claims of which a directory has an entry with this extension.
    fn with_extension(&self, dir: &Path, extension: &str) -> Result<Vec<ClaimId>, StateError> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StateError::io("list", dir, error)),
        };
        let names = entries.flatten().map(|entry| PathBuf::from(entry.file_name()));
        let of = names.filter(|name| name.extension().is_some_and(|found| found == extension));
        Ok(of.filter_map(|name| ClaimId::parse(name.file_stem()?.to_str()?)).collect())
    }
}

/// Where the claims of a state directory are.
#[must_use]
pub fn data(state: &Path) -> PathBuf {
    state.join("claims")
}

fn mounted(pod: &Pod) -> impl Iterator<Item = &Claim> {
    pod.volumes.iter().filter_map(|volume| match &volume.source {
        VolumeSource::Claim(claim) => Some(claim),
        _ => None,
    })
}

/// The same answer of the system for each of several.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use firmware_compat::{
        id::{Hash, PodId},
        v1::owned::{PodNames, PodSecurity, RestartPolicy, RuntimeClass, Volume},
    };

    use super::*;

    const AGENT: AgentId = AgentId([7; 16]);
    const CLAIM: ClaimId = ClaimId([0xc1; 16]);

    fn open() -> (tempfile::TempDir, StateDir, Claims) {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(&dir.path().join("state")).expect("a state directory");
        let claims = Claims::of(&state, AGENT);
        (dir, state, claims)
    }

    fn claim(bound_to: AgentId) -> Claim {
        let name = "data".try_into().expect("short");
        Claim { id: CLAIM, name, bound_to, size_bytes: 1 << 20, read_only: false }
    }

    fn pod(claim: Claim) -> Pod {
        let name = "data".try_into().expect("short");
        let volume = Volume { name, source: VolumeSource::Claim(claim) };
        Pod {
            id: PodId([1; 16]),
            identity: Hash([1; 32]),
            namespace: "default".try_into().expect("short"),
            name: "db".try_into().expect("short"),
            hostname: "db".try_into().expect("short"),
            runtime_class: RuntimeClass::Wasm,
            init_containers: Default::default(),
            containers: Default::default(),
            volumes: vec![volume].try_into().expect("few"),
            restart: RestartPolicy::Always,
            names: PodNames::default(),
            grace_ms: 0,
            active_deadline_s: 0,
            host_network: false,
            security: PodSecurity::default(),
            after: Default::default(),
            secrets: Default::default(),
        }
    }

    fn place(claims: &Claims, state: &StateDir, bound_to: AgentId) -> Result<PodDir, ClaimError> {
        let dir = PodDir::new(&state.run(), PodId([1; 16]));
        dir.make().expect("makeable");
        claims.place(&pod(claim(bound_to)), &dir).map(|()| dir)
    }

    #[test]
    fn the_data_of_a_claim_outlives_its_pod_and_is_found_again() {
        let (_dir, state, claims) = open();
        let dir = place(&claims, &state, AGENT).expect("placeable");
        let root = claims.root(&claim(AGENT)).expect("there");
        assert_eq!(root, data(state.path()).join(CLAIM.to_string()));
        assert_eq!(fs::metadata(&root).expect("there").permissions().mode() & 0o777, MODE);
        fs::write(root.join("rows"), "1").expect("writable");
        fs::remove_dir_all(dir.path()).expect("the Pod is gone");
        assert_eq!(claims.sweep().expect("nothing is to go"), []);
        let written = state.written().bytes();
        place(&claims, &state, AGENT).expect("placeable");
        assert_eq!(fs::read_to_string(root.join("rows")).expect("still there"), "1");
        // The names of the Pod's claims, and nothing for what is there.
        assert_eq!(state.written().bytes() - written, 33);
    }

    #[test]
    fn a_claim_that_was_here_and_is_not_is_lost_and_no_empty_directory_takes_its_place() {
        let (_dir, state, claims) = open();
        place(&claims, &state, AGENT).expect("placeable");
        fs::remove_dir_all(data(state.path())).expect("another disk is mounted there");
        let error = place(&claims, &state, AGENT).expect_err("lost");
        assert!(matches!(error, ClaimError::Gone { .. }), "{error}");
        assert_eq!(error.reason(), "VolumeLost");
        assert!(!data(state.path()).join(CLAIM.to_string()).exists());
    }

    #[test]
    fn a_new_board_under_an_old_name_does_not_begin_empty() {
        let (_dir, state, claims) = open();
        let error = place(&claims, &state, AgentId([9; 16])).expect_err("another board's");
        assert!(matches!(error, ClaimError::OtherBoard { .. }), "{error}");
        // The same card under a new id of the agent has its data.
        let moved = Claims { agent: AgentId([9; 16]), ..claims.clone() };
        place(&moved, &state, AgentId([9; 16])).expect("placeable");
        place(&claims, &state, AgentId([9; 16])).expect("its data is here");
    }

    #[test]
    fn a_file_or_a_link_in_the_place_of_a_claim_is_no_claim() {
        let (_dir, state, claims) = open();
        fs::create_dir_all(data(state.path())).expect("makeable");
        let path = data(state.path()).join(CLAIM.to_string());
        std::os::unix::fs::symlink("/", &path).expect("a link");
        assert!(matches!(place(&claims, &state, AGENT), Err(ClaimError::Gone { .. })));
    }

    #[test]
    fn what_is_to_be_removed_stays_as_long_as_a_pod_has_it() {
        let (_dir, state, claims) = open();
        let dir = place(&claims, &state, AGENT).expect("placeable");
        let root = claims.root(&claim(AGENT)).expect("there");
        fs::write(root.join("rows"), "1").expect("writable");
        let other = ClaimId([0xc2; 16]);
        claims.condemn(&[other, CLAIM]).expect("noted");
        assert_eq!(claims.sweep().expect("in use"), []);
        assert!(root.with_extension(REMOVING).join("rows").exists());
        fs::remove_dir_all(dir.path()).expect("the Pod is gone");
        // As an agent that starts later.
        let later = Claims::of(&state, AGENT);
        assert_eq!(later.sweep().expect("removable"), [CLAIM]);
        assert!(fs::read_dir(data(state.path())).expect("readable").next().is_none());
        let error = place(&claims, &state, AGENT).expect_err("removed");
        assert!(matches!(error, ClaimError::Removed { .. }), "{error}");
    }

    #[test]
    fn records_of_removed_claims_are_bounded() {
        let (_dir, state, claims) = open();
        place(&claims, &state, AGENT).expect("placeable");
        for n in 0..300_u16 {
            let mut id = [0; 16];
            id[..2].copy_from_slice(&n.to_be_bytes());
            let record = claims.record(ClaimId(id)).with_extension(REMOVED);
            fs::write(record, "").expect("writable");
        }
        claims.forget_oldest().expect("removable");
        let left = claims.with_extension(&claims.records, REMOVED).expect("readable");
        assert_eq!(left.len(), KEPT_REMOVED);
        assert!(claims.record(CLAIM).exists(), "what is here is no record of what was");
    }
}
