//! A device's state directory on a file system that a power cut may catch at any moment. What programs see and what
//! survives are two things; what lies between is decided by dice, as badly as ext4, xfs and f2fs allow:
//!
//! - Bytes that were not synced may be the old ones, the new ones, a part of them, zeros, or none.
//! - A name that was given or taken without a sync of the directory may be as before. Changes to one name keep their
//!   order; changes that share no name may last in any combination.
//! - A rename is all or nothing.

use std::collections::{BTreeMap, BTreeSet};

use lichen_agent_core::saved::{self, DiskStep};

#[cfg(test)]
mod tests;

const NO_SUCH_FILE: &str = "no such file or directory";
const FULL: &str = "no space left on device";

/// A state directory.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// Whether writes fail.
    pub full: bool,
    /// Bytes written ever.
    pub written: u64,
    /// What programs see.
    live: BTreeMap<String, FileId>,
    /// What a power cut leaves for certain.
    durable: BTreeMap<String, FileId>,
    /// What lies between the two, in order.
    unsynced: Vec<Change>,
    files: BTreeMap<FileId, File>,
    next: FileId,
}

/// A file has an identity apart from its names: bytes that are synced under one name are synced under the next.
type FileId = u64;

#[derive(Clone, Debug, Default)]
struct File {
    live: Vec<u8>,
    /// As of the last sync.
    durable: Vec<u8>,
    is_synced: bool,
}

/// What happened to names.
#[derive(Clone, Debug)]
enum Change {
    Create { name: String, file: FileId },
    Rename { from: String, to: String },
    Remove { name: String },
}

impl Change {
    fn names(&self) -> impl Iterator<Item = &String> {
        let (one, other) = match self {
            Self::Create { name, .. } => (name, None),
            Self::Rename { from, to } => (from, Some(to)),
            Self::Remove { name } => (name, None),
        };
        std::iter::once(one).chain(other)
    }

    fn apply(&self, names: &mut BTreeMap<String, FileId>) {
        match self {
            Self::Create { name, file } => _ = names.insert(name.clone(), *file),
            Self::Rename { from, to } => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Remove { name } => _ = names.remove(name),
        }
    }
}

impl Disk {
    /// A file's content, as programs see it.
    pub fn read(&self, name: &str) -> Option<&[u8]> {
        Some(&self.files.get(self.live.get(name)?)?.live)
    }

    /// The name of a file of which programs see such bytes.
    pub fn find(&self, is_it: impl Fn(&[u8]) -> bool) -> Option<&str> {
        let mut names = self.live.keys();
        names.find(|name| self.read(name).is_some_and(&is_it)).map(String::as_str)
    }

    /// What it holds of assignments, as an agent reads it.
    pub fn saved(&self) -> saved::Files {
        let parts = self.live.keys().filter_map(|name| {
            Some((saved::part_of(name)?, self.read(name).unwrap_or_default().to_vec()))
        });
        saved::Files {
            current: self.read(saved::CURRENT).map(<[u8]>::to_vec),
            previous: self.read(saved::PREVIOUS).map(<[u8]>::to_vec),
            parts: parts.collect(),
        }
    }

    /// Carries out one step. Like a real one, a step that fails may have done a part: a file that does not fit is there,
    /// and empty.
    pub fn step(&mut self, step: &DiskStep) -> Result<(), &'static str> {
        match step {
            DiskStep::Write { name, bytes } => self.write(name, bytes),
            DiskStep::Sync { name } => self.sync(name),
            DiskStep::Rename { from, to } => self.rename(from, to),
            DiskStep::Remove { name } => {
                if self.live.contains_key(name) {
                    self.change(Change::Remove { name: name.clone() });
                }
                Ok(())
            }
            DiskStep::SyncDir => {
                self.sync_dir();
                Ok(())
            }
        }
    }

    /// Replaces a small file durably: written under another name, synced, renamed, the directory synced.
    pub fn replace(&mut self, name: &str, bytes: &[u8]) -> Result<(), &'static str> {
        let temporary = format!("{name}.new");
        self.write(&temporary, bytes)?;
        self.sync(&temporary)?;
        self.rename(&temporary, name)?;
        self.sync_dir();
        Ok(())
    }

    /// Power fails. What is there afterwards is durable.
    pub fn power_cut(&mut self, dice: &mut fastrand::Rng) {
        self.lose_names(dice);
        self.live.clone_from(&self.durable);
        self.forget_nameless();
        for file in self.files.values_mut().filter(|file| !file.is_synced) {
            file.durable = file.remains(dice);
            file.live.clone_from(&file.durable);
            file.is_synced = true;
        }
    }

    /// Flips bits in a byte of a file at rest. Returns whether there were any to flip.
    pub fn rot(&mut self, name: &str, dice: &mut fastrand::Rng) -> bool {
        let file = self.live.get(name).and_then(|file| self.files.get_mut(file));
        let Some(file) = file.filter(|file| !file.live.is_empty()) else { return false };
        let mask = dice.u8(1..);
        let at = dice.usize(..file.live.len());
        file.live[at] ^= mask;
        if let Some(byte) = file.durable.get_mut(at) {
            *byte ^= mask;
        }
        true
    }

    /// Everything is gone, as after a new flash card.
    pub fn wipe(&mut self) {
        *self = Self { full: self.full, written: self.written, next: self.next, ..Self::default() };
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), &'static str> {
        let file = match self.live.get(name) {
            Some(file) => *file,
            None => self.create(name),
        };
        let bytes = if self.full { &[] } else { bytes };
        self.written += bytes.len() as u64;
        let file = self.files.entry(file).or_default();
        file.live = bytes.to_vec();
        file.is_synced = false;
        if self.full { Err(FULL) } else { Ok(()) }
    }

    fn create(&mut self, name: &str) -> FileId {
        let file = self.next;
        self.next += 1;
        self.change(Change::Create { name: name.to_owned(), file });
        file
    }

    /// Its bytes are durable. Its name may not be.
    fn sync(&mut self, name: &str) -> Result<(), &'static str> {
        let file = self.live.get(name).and_then(|file| self.files.get_mut(file));
        let file = file.ok_or(NO_SUCH_FILE)?;
        file.durable.clone_from(&file.live);
        file.is_synced = true;
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), &'static str> {
        if !self.live.contains_key(from) {
            return Err(NO_SUCH_FILE);
        }
        self.change(Change::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.unsynced.push(change);
    }

    fn sync_dir(&mut self) {
        self.durable.clone_from(&self.live);
        self.unsynced.clear();
        self.forget_nameless();
    }

    /// Of the changes to names, some last. One that is lost takes along all later ones that share a name with it.
    fn lose_names(&mut self, dice: &mut fastrand::Rng) {
        // Of a hundred changes so many last by themselves: often all of them or none.
        let lasting = *dice.choice(&[0_u8, 50, 80, 100]).unwrap_or(&0);
        let mut behind = BTreeSet::new();
        for change in std::mem::take(&mut self.unsynced) {
            let follows = change.names().any(|name| behind.contains(name));
            if follows || dice.u8(..100) >= lasting {
                behind.extend(change.names().cloned());
            } else {
                change.apply(&mut self.durable);
            }
        }
    }

    fn forget_nameless(&mut self) {
        let named: BTreeSet<_> = self.live.values().chain(self.durable.values()).collect();
        self.files.retain(|id, _| named.contains(id));
    }
}

impl File {
    /// What a power cut leaves of bytes that were not synced.
    fn remains(&self, dice: &mut fastrand::Rng) -> Vec<u8> {
        let mut bytes = self.live.clone();
        let cut = dice.usize(..=bytes.len());
        match dice.u8(..6) {
            0 => self.durable.clone(),
            1 => bytes,
            2 => Vec::new(),
            3 => vec![0; bytes.len()],
            4 => {
                bytes.truncate(cut);
                bytes
            }
            // The length arrived, and only the end of the bytes.
            _ => {
                bytes[..cut].fill(0);
                bytes
            }
        }
    }
}
