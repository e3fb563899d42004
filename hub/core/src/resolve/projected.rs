//! Volumes with files about the Pod, and with files from several sources.

use alloc::{collections::BTreeSet, format, vec::Vec};

use firmware_compat::capacity::full as capacity;

use super::{
    Check, Files,
    downward::{Place, Told},
};
use crate::api::{
    Kind,
    core::pod::{
        DownwardFile, DownwardVolume, ObjectProjection, PodSpec, ProjectedVolume, Projection,
        normal::DEFAULT_MODE,
    },
};

/// Where some files of a volume come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Projected {
    /// A ConfigMap or a Secret.
    Files(Files),
    /// The Pod itself: one file.
    Told {
        /// Relative path.
        path: alloc::string::String,
        /// Permission bits.
        mode: u32,
        /// What it holds.
        told: Told,
    },
}

impl Check {
    pub(super) fn downward(
        &mut self,
        at: &str,
        volume: &DownwardVolume,
        spec: &PodSpec,
    ) -> Vec<Projected> {
        self.mode(&format!("{at}.defaultMode"), volume.default_mode);
        let mode = volume.default_mode.unwrap_or(DEFAULT_MODE);
        let mut files = Vec::new();
        self.downward_files(at, &volume.items, mode, spec, &mut files);
        self.unambiguous(at, &files);
        files
    }

    pub(super) fn projected(
        &mut self,
        at: &str,
        volume: &ProjectedVolume,
        spec: &PodSpec,
    ) -> Vec<Projected> {
        self.mode(&format!("{at}.defaultMode"), volume.default_mode);
        let mode = volume.default_mode.unwrap_or(DEFAULT_MODE);
        let mut files = Vec::new();
        for (i, source) in volume.sources.iter().enumerate() {
            let at = format!("{at}.sources[{i}]");
            let Projection { secret, downward_api, config_map } = source;
            match (secret, downward_api, config_map) {
                (Some(secret), None, None) => {
                    let at = format!("{at}.secret");
                    files.push(self.object(&at, Kind::Secret, secret, mode));
                }
                (None, Some(downward), None) => {
                    let at = format!("{at}.downwardAPI");
                    self.downward_files(&at, &downward.items, mode, spec, &mut files);
                }
                (None, None, Some(map)) => {
                    let at = format!("{at}.configMap");
                    files.push(self.object(&at, Kind::ConfigMap, map, mode));
                }
                _ => self.error(at, "needs exactly one of configMap, secret and downwardAPI"),
            }
        }
        self.unambiguous(at, &files);
        files
    }

    fn object(&mut self, at: &str, kind: Kind, from: &ObjectProjection, mode: u32) -> Projected {
        let of = self.source_name(&format!("{at}.name"), kind, &from.name);
        Projected::Files(self.files(at, of, &from.items, Some(mode), from.optional))
    }

    fn downward_files(
        &mut self,
        at: &str,
        items: &[DownwardFile],
        mode: u32,
        spec: &PodSpec,
        files: &mut Vec<Projected>,
    ) {
        for (i, item) in items.iter().enumerate() {
            let at = format!("{at}.items[{i}]");
            self.file_path(&format!("{at}.path"), &item.path);
            self.mode(&format!("{at}.mode"), item.mode);
            let told = match (&item.field_ref, &item.resource_field_ref) {
                (Some(field), None) => {
                    self.field_ref(&format!("{at}.fieldRef"), field, spec, Place::File)
                }
                (None, Some(resource)) => {
                    let at = format!("{at}.resourceFieldRef");
                    self.resource_field_ref(&at, resource, spec, None)
                }
                _ => {
                    self.error(at, "needs exactly one of fieldRef and resourceFieldRef");
                    continue;
                }
            };
            files.push(Projected::Told {
                path: item.path.clone(),
                mode: item.mode.unwrap_or(mode),
                told,
            });
        }
    }

    /// No file is written over another one, as far as the template names them, and there are not too many sources.
    fn unambiguous(&mut self, at: &str, files: &[Projected]) {
        // What the hub tells of the Pod is one source more.
        self.count(at, files.len(), capacity::PROJECTED_SOURCES - 1);
        let mut paths = BTreeSet::new();
        for file in files {
            let named = match file {
                Projected::Files(files) => files.items.iter().map(|item| &item.path).collect(),
                Projected::Told { path, .. } => alloc::vec![path],
            };
            for path in named {
                if !paths.insert(path) {
                    self.error(at, format!("has the path \"{path}\" twice"));
                }
            }
        }
    }
}
