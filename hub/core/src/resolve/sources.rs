//! What a template takes from ConfigMaps and Secrets: files of volumes, variables, credentials for images. Whether there are
//! such objects is not looked at: a Pod waits for them.

use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};

use firmware_compat::{capacity::full as capacity, v1::owned::Text};

use super::{Check, Container, Resolved, Source, is_no_path};
use crate::api::{
    Kind,
    core::pod::{
        self, ConfigMapVolume, EnvVarSource, KeyReference, KeyToPath, ObjectSource, PodSpec,
        SecretVolume, normal::DEFAULT_MODE,
    },
    validate::check_subdomain,
};

/// Longest name of an object.
const LONGEST_NAME: usize = 253;

/// A ConfigMap or a Secret, by its name in the Pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceName {
    /// Which of the two.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// Files from a ConfigMap or a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// From which.
    pub of: SourceName,
    /// Only these keys, at these paths. Empty means all keys by their names.
    pub items: Vec<KeyToPath>,
    /// Permission bits of those that have none of their own.
    pub default_mode: u32,
    /// Whether it or a key may be missing.
    pub optional: bool,
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: Text<{ capacity::VARIABLE_NAME }>,
    /// Its value.
    pub value: Value,
}

/// The value of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// This.
    Text(Text<{ capacity::VARIABLE_VALUE }>),
    /// One key of a ConfigMap or a Secret.
    Key {
        /// Of which.
        of: SourceName,
        /// Which key.
        key: String,
        /// Whether it may be missing. The variable is missing then.
        optional: bool,
    },
}

/// Variables for all keys of a ConfigMap or a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllKeys {
    /// Of which.
    pub of: SourceName,
    /// In front of each key.
    pub prefix: String,
    /// Whether it may be missing.
    pub optional: bool,
}

impl Resolved {
    /// Every ConfigMap and Secret that its volumes and variables refer to, each once.
    #[must_use]
    pub fn sources(&self) -> BTreeSet<&SourceName> {
        let files = self.volumes.iter().filter_map(|volume| match &volume.source {
            Source::Files(files) => Some(&files.of),
            Source::EmptyDir { .. } | Source::HostPath { .. } | Source::Claim { .. } => None,
        });
        files.chain(self.every_container().flat_map(Container::sources)).collect()
    }

    /// Init containers and containers.
    pub fn every_container(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.containers)
    }
}

impl Container {
    fn sources(&self) -> impl Iterator<Item = &SourceName> {
        let keys = self.env.iter().filter_map(|variable| match &variable.value {
            Value::Text(_) => None,
            Value::Key { of, .. } => Some(of),
        });
        keys.chain(self.env_from.iter().map(|from| &from.of))
    }
}

impl Check {
    pub(super) fn config_map(&mut self, at: &str, map: &ConfigMapVolume) -> Source {
        let at = format!("{at}.configMap");
        let of = self.source_name(&format!("{at}.name"), Kind::ConfigMap, &map.name);
        self.files(&at, of, &map.items, map.default_mode, map.optional)
    }

    pub(super) fn secret(&mut self, at: &str, secret: &SecretVolume) -> Source {
        let at = format!("{at}.secret");
        let of = self.source_name(&format!("{at}.secretName"), Kind::Secret, &secret.secret_name);
        self.files(&at, of, &secret.items, secret.default_mode, secret.optional)
    }

    fn source_name(&mut self, at: &str, kind: Kind, name: &str) -> SourceName {
        self.keep(check_subdomain(at, name, LONGEST_NAME));
        SourceName { kind, name: name.to_string() }
    }

    fn files(
        &mut self,
        at: &str,
        of: SourceName,
        items: &[KeyToPath],
        default_mode: Option<u32>,
        optional: Option<bool>,
    ) -> Source {
        for (i, item) in items.iter().enumerate() {
            if item.path.is_empty() || item.path.starts_with('/') || is_no_path(&item.path) {
                self.error(
                    format!("{at}.items[{i}].path"),
                    format!("\"{}\" must be a relative path without \"..\"", item.path),
                );
            }
        }
        let modes = items.iter().filter_map(|item| item.mode).chain(default_mode);
        if modes.clone().any(|mode| mode > 0o777) {
            self.error(format!("{at}.defaultMode"), "must be at most 0777 (octal; 511 in decimal)");
        }
        Source::Files(Files {
            of,
            items: items.to_vec(),
            default_mode: default_mode.unwrap_or(DEFAULT_MODE),
            optional: optional.unwrap_or(false),
        })
    }

    pub(super) fn env(&mut self, at: &str, container: &pod::Container) -> Vec<Variable> {
        let mut variables = Vec::new();
        for (i, variable) in container.env.iter().enumerate() {
            let field = format!("{at}.env[{i}]");
            if variable.name.is_empty() || variable.name.contains('=') {
                self.error(
                    format!("{field}.name"),
                    format!("\"{}\" is not a variable's name", variable.name),
                );
            }
            let value = match &variable.value_from {
                None => Value::Text(self.text(&format!("{field}.value"), &variable.value)),
                Some(from) => {
                    if !variable.value.is_empty() {
                        self.error(&field, "has a value and valueFrom; leave one out");
                    }
                    let Some(value) = self.key(&format!("{field}.valueFrom"), from) else {
                        continue;
                    };
                    value
                }
            };
            variables.push(Variable {
                name: self.text(&format!("{field}.name"), &variable.name),
                value,
            });
        }
        variables
    }

    fn key(&mut self, at: &str, from: &EnvVarSource) -> Option<Value> {
        let (kind, field, from) = match (&from.config_map_key_ref, &from.secret_key_ref) {
            (Some(map), None) => (Kind::ConfigMap, "configMapKeyRef", map),
            (None, Some(secret)) => (Kind::Secret, "secretKeyRef", secret),
            _ => {
                self.error(at, "needs exactly one of configMapKeyRef and secretKeyRef");
                return None;
            }
        };
        let KeyReference { name, key, optional } = from;
        if key.is_empty() {
            self.error(format!("{at}.{field}.key"), "must name a key");
        }
        let of = self.source_name(&format!("{at}.{field}.name"), kind, name);
        Some(Value::Key { of, key: key.clone(), optional: optional.unwrap_or(false) })
    }

    pub(super) fn env_from(&mut self, at: &str, container: &pod::Container) -> Vec<AllKeys> {
        let mut all = Vec::new();
        for (i, from) in container.env_from.iter().enumerate() {
            let field = format!("{at}.envFrom[{i}]");
            if from.prefix.contains(['=', '\0']) {
                self.error(
                    format!("{field}.prefix"),
                    format!("{:?} can't be the beginning of a variable's name", from.prefix),
                );
            }
            let (kind, name, source) = match (&from.config_map_ref, &from.secret_ref) {
                (Some(map), None) => (Kind::ConfigMap, "configMapRef", map),
                (None, Some(secret)) => (Kind::Secret, "secretRef", secret),
                _ => {
                    self.error(field, "needs exactly one of configMapRef and secretRef");
                    continue;
                }
            };
            let ObjectSource { name: object, optional } = source;
            let of = self.source_name(&format!("{field}.{name}.name"), kind, object);
            let optional = optional.unwrap_or(false);
            all.push(AllKeys { of, prefix: from.prefix.clone(), optional });
        }
        all
    }

    /// They are for the hub, which fetches images; a device never sees them.
    pub(super) fn pull_secrets(&mut self, at: &str, spec: &PodSpec) {
        let at = format!("{at}.imagePullSecrets");
        self.count(&at, spec.image_pull_secrets.len(), capacity::SECRETS);
        for (i, secret) in spec.image_pull_secrets.iter().enumerate() {
            self.keep(check_subdomain(&format!("{at}[{i}].name"), &secret.name, LONGEST_NAME));
        }
    }
}
