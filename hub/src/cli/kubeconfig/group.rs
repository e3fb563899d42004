//! The kubeconfigs of one place. Files of one list (`KUBECONFIG`) are merged as kubectl merges them: of entries with one
//! name, the first counts.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Document, KubeconfigError, Section, document::is_marked};

/// What a place is to those who look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Named on the command line, or for Lichen in the environment.
    Named,
    /// Named for Kubernetes in general (`KUBECONFIG`).
    Kubernetes,
    /// What `lichen login` writes.
    Own,
    /// What a hub on this machine wrote.
    Hub,
    /// What kubectl uses by itself.
    Home,
}

impl Place {
    /// Whether its files may be about other clusters.
    #[must_use]
    pub fn is_shared(self) -> bool {
        matches!(self, Self::Kubernetes | Self::Home)
    }
}

/// One file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub document: Document,
}

/// The files of one place.
#[derive(Clone, Debug)]
pub struct Group {
    /// Which place.
    pub place: Place,
    /// In their order.
    pub sources: Vec<Source>,
}

/// An entry and the file that it stands in.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its list.
    pub section: Section,
    /// Its name.
    pub name: &'a str,
    /// What it holds.
    pub value: &'a Value,
    /// Its file.
    pub path: &'a Path,
}

impl Entry<'_> {
    /// An error about a field.
    #[must_use]
    pub fn wrong(&self, field: &str, cause: &str) -> KubeconfigError {
        let (list, one) = (self.section.list(), self.section.one());
        KubeconfigError::Field {
            path: self.path.to_owned(),
            field: format!("{list}[{}].{one}.{field}", self.name),
            cause: cause.to_owned(),
        }
    }
}

impl Group {
    /// The entry of that name; the first file that has one counts.
    #[must_use]
    pub fn entry<'a>(&'a self, section: Section, name: &'a str) -> Option<Entry<'a>> {
        self.sources.iter().find_map(|Source { path, document }| {
            let value = document.get(section, name)?;
            Some(Entry { section, name, value, path })
        })
    }

    /// Every entry of a list that counts.
    pub fn entries(&self, section: Section) -> impl Iterator<Item = Entry<'_>> {
        self.sources
            .iter()
            .flat_map(move |Source { path, document }| {
                let entries = document.entries(section);
                entries.map(move |(name, value)| Entry { section, name, value, path })
            })
            .filter(move |entry| {
                self.entry(section, entry.name).is_some_and(|first| first.path == entry.path)
            })
    }

    /// Whether there is a context of that name that may be used.
    #[must_use]
    pub fn has(&self, context: &str) -> bool {
        let Some(entry) = self.entry(Section::Contexts, context) else { return false };
        let cluster = entry.value["cluster"].as_str().unwrap_or_default();
        let cluster = self.entry(Section::Clusters, cluster);
        !self.place.is_shared() || cluster.is_some_and(|cluster| is_marked(cluster.value))
    }

    /// The context that its files call the current one, if it may be used.
    #[must_use]
    pub fn current(&self) -> Option<&str> {
        let current = self.sources.iter().find_map(|source| source.document.current());
        current.filter(|name| !self.place.is_shared() || self.has(name))
    }

    /// The contexts that may be used.
    pub fn contexts(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries(Section::Contexts).filter(|entry| self.has(entry.name))
    }
}
