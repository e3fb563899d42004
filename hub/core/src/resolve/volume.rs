//! The volumes of a template.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

use firmware_compat::{
    capacity::full as capacity,
    v1::owned::{HostPathKind, Text},
};

use super::{Check, Files, Projected, Resolved, is_no_path};
use crate::api::{
    Key, Kind,
    core::pod::{self, PodSpec},
    validate::{check_label_name, check_subdomain},
};

/// A volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// Its name.
    pub name: Text<{ capacity::NAMESPACE }>,
    /// What is behind it.
    pub source: Source,
}

/// What is behind a volume.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A directory that lives as long as the Pod.
    EmptyDir {
        /// In memory.
        memory: bool,
        /// 0 for none.
        size_limit_bytes: u64,
    },
    /// A path of the device.
    HostPath {
        /// The path.
        path: Text<{ capacity::PATH }>,
        /// What it must be.
        kind: HostPathKind,
    },
    /// Files from a ConfigMap or a Secret.
    Files(Files),
    /// Files from several sources, or about the Pod.
    Projected(Vec<Projected>),
    /// The data of a claim.
    Claim {
        /// Its name; `None` for the one that a StatefulSet makes for each Pod, which the volume's name begins.
        name: Option<String>,
        /// Whether no container may write to it.
        read_only: bool,
    },
}

impl Source {
    /// What of it is of ConfigMaps and Secrets.
    pub(super) fn files(&self) -> impl Iterator<Item = &Files> {
        let (one, more) = match self {
            Self::EmptyDir { .. } | Self::HostPath { .. } | Self::Claim { .. } => (None, &[][..]),
            Self::Files(files) => (Some(files), &[][..]),
            Self::Projected(sources) => (None, sources.as_slice()),
        };
        one.into_iter().chain(more.iter().filter_map(|source| match source {
            Projected::Files(files) => Some(files),
            Projected::Told { .. } => None,
        }))
    }
}

impl Resolved {
    /// The claims of a Pod of this name, each once. Without a name, those that all Pods of the template share.
    #[must_use]
    pub fn claims(&self, namespace: &str, pod: Option<&str>) -> Vec<Key> {
        let mut claims = Vec::new();
        for volume in &self.volumes {
            let Source::Claim { name, .. } = &volume.source else { continue };
            let name = match (name, pod) {
                (Some(name), _) => name.clone(),
                (None, Some(pod)) => claim_of(&volume.name, pod),
                (None, None) => continue,
            };
            let key = Key::new(Kind::PersistentVolumeClaim, namespace, &name);
            if !claims.contains(&key) {
                claims.push(key);
            }
        }
        claims
    }
}

/// The claim that a StatefulSet makes of one of its templates for a Pod, as Kubernetes names it.
#[must_use]
pub fn claim_of(template: &str, pod: &str) -> String {
    format!("{template}-{pod}")
}

impl Check {
    pub(super) fn volumes(&mut self, at: &str, spec: &PodSpec) -> Vec<Volume> {
        self.count(&format!("{at}.volumes"), spec.volumes.len(), capacity::VOLUMES);
        let mut names = BTreeSet::new();
        let mut volumes = Vec::new();
        for (i, volume) in spec.volumes.iter().enumerate() {
            let field = format!("{at}.volumes[{i}]");
            self.keep(check_label_name(&format!("{field}.name"), &volume.name));
            if !names.insert(volume.name.as_str()) {
                self.error(format!("{field}.name"), format!("\"{}\" is there twice", volume.name));
            }
            if let Some(source) = self.source(&field, volume, spec) {
                volumes.push(Volume {
                    name: self.text(&format!("{field}.name"), &volume.name),
                    source,
                });
            }
        }
        self.templates(spec, &mut volumes);
        volumes
    }

    /// In a StatefulSet, whose claim templates are no part of its Pods' template: what is mounted and is no volume.
    fn templates(&mut self, spec: &PodSpec, volumes: &mut Vec<Volume>) {
        let containers = spec.init_containers.iter().chain(&spec.containers);
        for mount in containers.flat_map(|c| &c.volume_mounts).filter(|_| self.has_claims) {
            let is_there = spec.volumes.iter().any(|volume| volume.name == mount.name)
                || volumes.iter().any(|volume| *volume.name == *mount.name);
            if let Some(name) = Text::try_from(mount.name.as_str()).ok().filter(|_| !is_there) {
                volumes
                    .push(Volume { name, source: Source::Claim { name: None, read_only: false } });
            }
        }
        if volumes.len() > capacity::VOLUMES {
            let most = capacity::VOLUMES;
            self.error("spec.volumeClaimTemplates", format!("a Pod has at most {most} volumes"));
        }
    }

    pub(super) fn source(
        &mut self,
        at: &str,
        volume: &pod::Volume,
        spec: &PodSpec,
    ) -> Option<Source> {
        let pod::Volume {
            name: _,
            empty_dir,
            host_path,
            config_map,
            secret,
            downward_api,
            projected,
            persistent_volume_claim,
        } = volume;
        let mut found = Vec::new();
        found.extend(empty_dir.as_ref().map(|empty| self.empty_dir(at, empty)));
        found.extend(host_path.as_ref().map(|host| self.host_path(at, host)));
        found.extend(config_map.as_ref().map(|map| Source::Files(self.config_map(at, map))));
        found.extend(secret.as_ref().map(|secret| Source::Files(self.secret(at, secret))));
        found.extend(persistent_volume_claim.as_ref().map(|claim| self.claim(at, claim)));
        let downward = downward_api.as_ref();
        found
            .extend(downward.map(|of| {
                Source::Projected(self.downward(&format!("{at}.downwardAPI"), of, spec))
            }));
        let projected = projected.as_ref();
        found.extend(
            projected
                .map(|of| Source::Projected(self.projected(&format!("{at}.projected"), of, spec))),
        );
        if found.len() != 1 {
            self.error(
                at,
                "needs exactly one of emptyDir, hostPath, configMap, secret, persistentVolumeClaim, downwardAPI and projected",
            );
            return None;
        }
        found.pop()
    }

    fn claim(&mut self, at: &str, claim: &pod::ClaimVolume) -> Source {
        let field = format!("{at}.persistentVolumeClaim.claimName");
        self.keep(check_subdomain(&field, &claim.claim_name, capacity::NAME));
        Source::Claim {
            name: Some(claim.claim_name.clone()),
            read_only: claim.read_only.unwrap_or(false),
        }
    }

    pub(super) fn empty_dir(&mut self, at: &str, empty: &pod::EmptyDir) -> Source {
        let memory = match empty.medium.as_deref() {
            None | Some("") => false,
            Some("Memory") => true,
            Some(other) => {
                self.error(
                    format!("{at}.emptyDir.medium"),
                    format!("\"{other}\" must be \"Memory\" or nothing"),
                );
                false
            }
        };
        let size = empty.size_limit.as_ref().map(|limit| (limit, limit.in_units()));
        if let Some((limit, None)) = size {
            self.error(
                format!("{at}.emptyDir.sizeLimit"),
                format!("\"{limit}\" is not a quantity"),
            );
        }
        Source::EmptyDir {
            memory,
            size_limit_bytes: size.and_then(|(_, bytes)| bytes).unwrap_or(0),
        }
    }

    pub(super) fn host_path(&mut self, at: &str, host: &pod::HostPath) -> Source {
        if !host.path.starts_with('/') || is_no_path(&host.path) {
            self.error(
                format!("{at}.hostPath.path"),
                format!("\"{}\" must be an absolute path without \"..\"", host.path),
            );
        }
        let kind = match host.kind.as_deref() {
            None | Some("") => HostPathKind::Any,
            Some("DirectoryOrCreate") => HostPathKind::DirectoryOrCreate,
            Some("Directory") => HostPathKind::Directory,
            Some("FileOrCreate") => HostPathKind::FileOrCreate,
            Some("File") => HostPathKind::File,
            Some("Socket") => HostPathKind::Socket,
            Some("CharDevice") => HostPathKind::CharDevice,
            Some("BlockDevice") => HostPathKind::BlockDevice,
            Some(other) => {
                self.error(
                    format!("{at}.hostPath.type"),
                    format!("\"{other}\" is unknown; see Kubernetes' hostPath types"),
                );
                HostPathKind::Any
            }
        };
        Source::HostPath { path: self.text(&format!("{at}.hostPath.path"), &host.path), kind }
    }
}
