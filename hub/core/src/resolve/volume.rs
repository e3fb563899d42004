//! The volumes of a template.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

use firmware_compat::{
    capacity::full as capacity,
    v1::owned::{HostPathKind, Text},
};

use super::{Check, Files, Resolved, is_no_path};
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
    /// The data of a claim.
    Claim {
        /// Its name; `None` for the one that a StatefulSet makes for each Pod, which the volume's name begins.
        name: Option<String>,
        /// Whether no container may write to it.
        read_only: bool,
    },
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
            if let Some(source) = self.source(&field, volume) {
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

    pub(super) fn source(&mut self, at: &str, volume: &pod::Volume) -> Option<Source> {
        let pod::Volume { empty_dir, host_path, config_map, secret, .. } = volume;
        if let Some(claim) = &volume.persistent_volume_claim {
            let others = [empty_dir.is_some(), host_path.is_some(), config_map.is_some()];
            if others.contains(&true) || secret.is_some() {
                self.error(at, "needs exactly one source");
            }
            return Some(self.claim(at, claim));
        }
        match (empty_dir, host_path, config_map, secret) {
            (Some(empty), None, None, None) => Some(self.empty_dir(at, empty)),
            (None, Some(host), None, None) => Some(self.host_path(at, host)),
            (None, None, Some(map), None) => Some(self.config_map(at, map)),
            (None, None, None, Some(secret)) => Some(self.secret(at, secret)),
            _ => {
                self.error(at, "needs exactly one of emptyDir, hostPath, configMap, secret and persistentVolumeClaim");
                None
            }
        }
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
