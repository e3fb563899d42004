//! The saved assignment's files. What is in them, and in which order they are changed, is decided in
//! [`lichen_agent_core::saved`]; here it is done.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use lichen_agent_core::{
    Loaded, SavedAssignment,
    saved::{self, CURRENT, DiskStep, Files, MAX_FILE, MAX_PART, PREVIOUS},
};

use super::{StateDir, StateError, read_bounded, reserve};
use crate::failure::is_full;

impl StateDir {
    /// Reads the saved assignment and the one before. A file that the disk no longer gives back is damage like any
    /// other: a device with a bad sector starts what is left.
    ///
    /// # Errors
    /// Those that pass: the system has no memory or no descriptors left.
    pub fn load_assignments(&self) -> Result<Loaded, StateError> {
        let mut faults = Vec::new();
        if let Err(error) = self.carry_out(&saved::LOAD_STEPS) {
            faults.push(error.to_string());
        }
        let mut loaded = saved::load(self.read_files(&mut faults)?);
        loaded.damage.extend(faults);
        Ok(loaded)
    }

    /// Saves an assignment durably and keeps the one before. Of its parts only those are written that are not there.
    ///
    /// # Errors
    /// Those of the system; the saved assignment is then the one before.
    pub fn save_assignment(&self, saved: &SavedAssignment) -> Result<(), StateError> {
        match self.save(saved) {
            Err(error) if is_full(&error) => {
                tracing::warn!("{error}: what is kept for this is given up");
                reserve::release(self.path());
                // What was removed may be free only once that is durable.
                self.step(&DiskStep::SyncDir)?;
                self.save(saved)
            }
            saved => saved,
        }
    }

    fn save(&self, saved: &SavedAssignment) -> Result<(), StateError> {
        let files = self.read_files(&mut Vec::new())?;
        let steps = saved::save_steps(&files, saved);
        drop(files);
        self.carry_out(&steps)
    }

    /// Everything that is there of assignments; a file that can't be read is empty, and a fault says why.
    fn read_files(&self, faults: &mut Vec<String>) -> Result<Files, StateError> {
        let mut files = Files {
            current: self.read_file(CURRENT, MAX_FILE, faults)?,
            previous: self.read_file(PREVIOUS, MAX_FILE, faults)?,
            ..Files::default()
        };
        let names = fs::read_dir(self.path())
            .map_err(|source| StateError::io("list", self.path(), source))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        for name in names {
            if let Some(part) = saved::part_of(&name)
                && let Some(bytes) = self.read_file(&name, MAX_PART, faults)?
            {
                files.parts.insert(part, bytes);
            }
        }
        Ok(files)
    }

    /// A file's bytes, none of them if it can't be read, and why it can't.
    fn read_file(
        &self,
        name: &str,
        max: usize,
        faults: &mut Vec<String>,
    ) -> Result<Option<Vec<u8>>, StateError> {
        match read_bounded(&self.path().join(name), max as u64 + 1) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.passes() => Err(error),
            Err(error) => {
                faults.push(error.to_string());
                Ok(Some(Vec::new()))
            }
        }
    }

    fn carry_out(&self, steps: &[DiskStep]) -> Result<(), StateError> {
        steps.iter().try_for_each(|step| self.step(step))
    }

    fn step(&self, step: &DiskStep) -> Result<(), StateError> {
        match step {
            DiskStep::Write { name, bytes } => {
                let path = self.path().join(name);
                write(&path, bytes).map_err(|source| StateError::io("write", &path, source))?;
                self.written().add(bytes.len() as u64);
                Ok(())
            }
            DiskStep::Sync { name } => sync(&self.path().join(name)),
            DiskStep::Rename { from, to } => {
                let (from, to) = (self.path().join(from), self.path().join(to));
                fs::rename(from, &to).map_err(|source| StateError::io("replace", &to, source))
            }
            DiskStep::Remove { name } => {
                let path = self.path().join(name);
                match fs::remove_file(&path) {
                    Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                        Err(StateError::io("remove", &path, source))
                    }
                    _ => Ok(()),
                }
            }
            DiskStep::SyncDir => sync(self.path()),
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    File::create(path)?.write_all(bytes)
}

/// Of a file or a directory. A file's bytes are synced whoever wrote them.
fn sync(path: &Path) -> Result<(), StateError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| StateError::io("sync", path, source))
}

#[cfg(test)]
mod tests {
    use firmware_compat::{
        id::{Generation, Hash, Lineage},
        v1::owned::{Assignment, AssignmentId},
    };
    use lichen_agent_core::saved::TEMPORARY;
    use rustix::io::Errno;
    use sha2::{Digest, Sha256};

    use super::*;

    /// One that assigns nothing.
    fn saved(generation: u64) -> SavedAssignment {
        let body = postcard::to_allocvec(&Assignment::default()).expect("it encodes");
        let id = AssignmentId {
            lineage: Lineage([1; 16]),
            generation: Generation(generation),
            hash: Hash(Sha256::digest(&body).into()),
        };
        SavedAssignment { id, body, parts: Default::default() }
    }

    fn open() -> (tempfile::TempDir, StateDir) {
        let dir = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(dir.path()).expect("a state directory");
        (dir, state)
    }

    #[test]
    fn the_newest_assignment_and_the_one_before_are_there_after_a_restart() {
        let (_dir, state) = open();
        assert_eq!(state.load_assignments().expect("readable"), Loaded::default());
        for generation in 1..=3 {
            state.save_assignment(&saved(generation)).expect("writable");
        }
        let expected = Loaded { saved: vec![saved(3), saved(2)], ..Loaded::default() };
        assert_eq!(state.load_assignments().expect("readable"), expected);
        assert!(!state.path().join(TEMPORARY).exists());
    }

    #[test]
    fn saving_the_same_assignment_again_writes_nothing() {
        let (_dir, state) = open();
        state.save_assignment(&saved(1)).expect("writable");
        let written = state.written().bytes();
        assert!(written > 0);
        state.save_assignment(&saved(1)).expect("writable");
        assert_eq!(state.written().bytes(), written);
    }

    #[test]
    fn a_damaged_copy_is_reported_and_never_pushes_out_a_sound_one() {
        let (_dir, state) = open();
        state.save_assignment(&saved(1)).expect("writable");
        state.save_assignment(&saved(2)).expect("writable");
        fs::write(state.path().join(CURRENT), b"rubbish").expect("writable");
        let loaded = state.load_assignments().expect("readable");
        assert_eq!(loaded.saved, [saved(1)]);
        assert_eq!(loaded.damage, ["assignment: it is cut short or not an assignment"]);
        state.save_assignment(&saved(3)).expect("writable");
        let loaded = state.load_assignments().expect("readable");
        assert_eq!(loaded, Loaded { saved: vec![saved(3), saved(1)], ..Loaded::default() });
    }

    #[test]
    fn a_copy_that_the_disk_does_not_give_back_leaves_the_one_before() {
        let (_dir, state) = open();
        state.save_assignment(&saved(1)).expect("writable");
        state.save_assignment(&saved(2)).expect("writable");
        let current = state.path().join(CURRENT);
        fs::remove_file(&current).expect("removable");
        // Opens, and every read of it fails.
        fs::create_dir(&current).expect("writable");
        let loaded = state.load_assignments().expect("the agent starts");
        assert_eq!(loaded.saved, [saved(1)]);
        assert!(loaded.damage.iter().any(|why| why.starts_with("could not read ")), "{loaded:?}");
    }

    #[test]
    fn a_file_that_is_larger_than_any_assignment_is_damage() {
        let (_dir, state) = open();
        let file = File::create(state.path().join(CURRENT)).expect("writable");
        file.set_len(1 << 40).expect("it has holes");
        let loaded = state.load_assignments().expect("readable");
        assert_eq!((loaded.saved.len(), loaded.damage.len()), (0, 1));
    }

    #[test]
    fn a_save_that_was_cut_short_leaves_a_file_that_means_nothing() {
        let (_dir, state) = open();
        state.save_assignment(&saved(1)).expect("writable");
        fs::write(state.path().join(TEMPORARY), b"cut sho").expect("writable");
        let expected = Loaded { saved: vec![saved(1)], ..Loaded::default() };
        assert_eq!(state.load_assignments().expect("readable"), expected);
        state.save_assignment(&saved(2)).expect("writable");
        assert_eq!(state.load_assignments().expect("readable").saved, [saved(2), saved(1)]);
    }

    #[test]
    fn without_descriptors_nothing_is_concluded_about_the_disk() {
        let failed = |errno: Errno| StateError::io("open", Path::new("assignment"), errno.into());
        assert!(failed(Errno::MFILE).passes());
        assert!(!failed(Errno::IO).passes());
    }
}
