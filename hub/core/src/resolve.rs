//! From a Pod template, as the operator wrote it, to what scheduling and assignments need: every name checked, every
//! quantity in numbers, every default filled in. Everything that is wrong is reported, not just the first. Each part of a
//! Pod has its file; what is taken from ConfigMaps and Secrets is in [`sources`].

mod accepted;
mod affinity;
pub mod container;
pub mod downward;
pub mod names;
pub mod projected;
pub mod resources;
pub mod scheduling;
pub mod security;
pub mod sources;
pub mod supervision;
pub mod volume;

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

use firmware_compat::{
    capacity::full as capacity,
    v1::owned::{PodSecurity, RestartPolicy, RuntimeClass, Text},
};

pub use container::Container;
pub use downward::Told;
pub use names::Names;
pub use projected::Projected;
pub use resources::Amount;
use resources::requests;
pub use scheduling::{TaintEffect, Toleration};
pub use sources::{AllKeys, Files, SourceName, Value, Variable};
pub use volume::{Source, Volume};

use crate::api::{
    FieldError, Kind,
    core::pod::{self, PodSpec, PodTemplate},
    resource::RestartRule,
    validate::{check_labels, check_subdomain},
};

/// A template whose every field has been understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// What runs its containers.
    pub runtime_class: RuntimeClass,
    /// Run one after the other before the containers.
    pub init_containers: Vec<Container>,
    /// Run together.
    pub containers: Vec<Container>,
    /// What their mounts refer to.
    pub volumes: Vec<Volume>,
    /// When a program that ended is started again.
    pub restart: RestartPolicy,
    /// Time between the stop signal and the kill.
    pub grace_ms: u32,
    /// It may be active for so many seconds; 0 for as long as it likes.
    pub active_deadline_s: u32,
    /// Whether it shares the device's network.
    pub host_network: bool,
    /// Its names, but for its own, and whom it asks for those of others.
    pub names: Names,
    /// As whom its containers run.
    pub security: PodSecurity,
    /// What it asks for: of each resource the sum over its containers and sidecars, or what one of its init containers and
    /// the sidecars before it ask for if that is more. Kubernetes' rule: init containers run one by one.
    pub requests: Amount,
    /// Taints that it tolerates.
    pub tolerations: Vec<Toleration>,
}

impl Resolved {
    /// The init containers that run along with the containers.
    pub fn sidecars(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().filter(|container| container.supervision.sidecar)
    }
}

/// Seconds between the stop signal and the kill, where the template says nothing: Kubernetes' default.
pub(crate) const DEFAULT_GRACE_S: u32 = 30;
/// Longest grace period: longer is a mistake in units.
pub(crate) const MAX_GRACE_S: u32 = 24 * 3600;

/// Understands a template found at `at` in its object; empty if the object is the template.
///
/// # Errors
/// Every field that can't be taken.
pub fn resolve(
    at: &str,
    template: &PodTemplate,
    rule: RestartRule,
) -> Result<Resolved, Vec<FieldError>> {
    resolve_of(Kind::Pod, at, template, rule)
}

/// The same, of a workload of this kind: a StatefulSet's mounts may name its claim templates.
///
/// # Errors
/// Every field that can't be taken.
pub fn resolve_of(
    kind: Kind,
    at: &str,
    template: &PodTemplate,
    rule: RestartRule,
) -> Result<Resolved, Vec<FieldError>> {
    let mut check = Check { errors: Vec::new(), rule, has_claims: kind == Kind::StatefulSet };
    let at = if at.is_empty() { String::new() } else { format!("{at}.") };
    check.keep(check_labels(&format!("{at}metadata.labels"), &template.metadata.labels));
    let resolved = check.pod(&format!("{at}spec"), &template.spec);
    if check.errors.is_empty() { Ok(resolved) } else { Err(check.errors) }
}

/// Collects what is wrong; answers with a placeholder where a value can't be taken.
struct Check {
    errors: Vec<FieldError>,
    rule: RestartRule,
    /// Whether there may be claims that the template does not name.
    has_claims: bool,
}

impl Check {
    fn error(&mut self, field: impl Into<String>, cause: impl Into<String>) {
        self.errors.push(FieldError::new(field, cause));
    }

    fn keep(&mut self, result: Result<(), FieldError>) {
        self.errors.extend(result.err());
    }

    fn text<const N: usize>(&mut self, field: &str, value: &str) -> Text<N> {
        if value.contains('\0') {
            self.error(field, "must not contain a NUL character");
        }
        Text::try_from(value).unwrap_or_else(|_| {
            self.error(field, format!("is {} bytes long; at most {N} are supported", value.len()));
            Text::default()
        })
    }

    fn count(&mut self, field: &str, count: usize, most: usize) {
        if count > most {
            self.error(field, format!("has {count} entries; at most {most} are supported"));
        }
    }

    fn pod(&mut self, at: &str, spec: &PodSpec) -> Resolved {
        let engine = self.engine(at, spec);
        if spec.containers.is_empty() {
            self.error(format!("{at}.containers"), "needs at least one container");
        }
        let volumes = self.volumes(at, spec);
        let init_at = format!("{at}.initContainers");
        self.count(&init_at, spec.init_containers.len(), capacity::INIT_CONTAINERS);
        let mut init_containers = self.containers(&init_at, &spec.init_containers, spec, engine);
        let main_at = format!("{at}.containers");
        self.count(&main_at, spec.containers.len(), capacity::CONTAINERS);
        let mut containers = self.containers(&main_at, &spec.containers, spec, engine);
        self.supervise(at, spec, engine, (&mut init_containers, &mut containers));
        self.names(at, spec);
        self.pull_secrets(at, spec);
        self.pod_without_effect(at, spec);
        if let Some(name) = &spec.node_name {
            self.keep(check_subdomain(&format!("{at}.nodeName"), name, 63));
        }
        self.keep(check_labels(&format!("{at}.nodeSelector"), &spec.node_selector));
        self.affinity(at, spec);
        let grace_s = spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE_S);
        if grace_s > MAX_GRACE_S {
            self.error(
                format!("{at}.terminationGracePeriodSeconds"),
                format!("{grace_s} is over a day; give at most {MAX_GRACE_S}"),
            );
        }
        Resolved {
            runtime_class: engine,
            volumes,
            restart: self.restart(at, spec),
            grace_ms: grace_s.min(MAX_GRACE_S) * 1000,
            active_deadline_s: self.active_deadline(at, spec),
            host_network: spec.host_network.unwrap_or(false),
            security: self.pod_security(at, spec, engine),
            names: self.host_names(at, spec),
            requests: requests(&init_containers, &containers),
            tolerations: self.tolerations(at, spec),
            init_containers,
            containers,
        }
    }

    fn containers(
        &mut self,
        at: &str,
        containers: &[pod::Container],
        spec: &PodSpec,
        engine: RuntimeClass,
    ) -> Vec<Container> {
        let each = containers.iter().enumerate();
        each.map(|(i, c)| self.container(&format!("{at}[{i}]"), c, spec, engine)).collect()
    }

    /// Names are unique over both lists: logs are asked for by name.
    fn names(&mut self, at: &str, spec: &PodSpec) {
        let mut names = BTreeSet::new();
        let lists = [("initContainers", &spec.init_containers), ("containers", &spec.containers)];
        for (list, containers) in lists {
            for (i, container) in containers.iter().enumerate() {
                if !names.insert(container.name.as_str()) {
                    self.error(
                        format!("{at}.{list}[{i}].name"),
                        format!(
                            "\"{}\" is the name of another container of the Pod",
                            container.name
                        ),
                    );
                }
            }
        }
    }

    fn engine(&mut self, at: &str, spec: &PodSpec) -> RuntimeClass {
        match spec.runtime_class_name.as_deref() {
            None | Some("crun") => RuntimeClass::Container,
            Some("wasm") => RuntimeClass::Wasm,
            Some(other) => {
                self.error(
                    format!("{at}.runtimeClassName"),
                    format!("\"{other}\" is unknown; use \"wasm\" for Wasm, \"crun\" or nothing for containers"),
                );
                RuntimeClass::Container
            }
        }
    }

    fn restart(&mut self, at: &str, spec: &PodSpec) -> RestartPolicy {
        let policy = match spec.restart_policy.as_deref() {
            None | Some("Always") => RestartPolicy::Always,
            Some("OnFailure") => RestartPolicy::OnFailure,
            Some("Never") => RestartPolicy::Never,
            Some(other) => {
                self.error(
                    format!("{at}.restartPolicy"),
                    format!("\"{other}\" must be \"Always\", \"OnFailure\" or \"Never\""),
                );
                return RestartPolicy::Always;
            }
        };
        let always = policy == RestartPolicy::Always;
        let written = spec.restart_policy.as_deref().unwrap_or("Always");
        match self.rule {
            RestartRule::Always if !always => self.error(
                format!("{at}.restartPolicy"),
                format!("\"{written}\" is not possible here: Deployments and DaemonSets always restart; use \"Always\" or nothing"),
            ),
            RestartRule::Ends if always => self.error(
                format!("{at}.restartPolicy"),
                format!("\"{written}\" is not possible here: the Pods are to end; use \"OnFailure\" or \"Never\""),
            ),
            RestartRule::Always | RestartRule::Ends | RestartRule::Any => {}
        }
        policy
    }
}

/// It would lead out of where it begins, or no system has such a name.
fn is_no_path(path: &str) -> bool {
    path.contains('\0') || path.split('/').any(|part| part == "..")
}

/// Digests of a template's images by name, as resolved when the workload was applied. `None`: not in the catalogue.
pub type Roots = BTreeMap<String, Option<firmware_compat::id::Hash>>;

/// Reads the digest in a reference of the form `name@sha256:<hex>`.
#[must_use]
pub fn pinned(reference: &str) -> Option<firmware_compat::id::Hash> {
    reference.split_once("@sha256:").and_then(|(_, hex)| firmware_compat::id::Hash::parse(hex))
}

/// The catalogue's form of a reference: with a tag, `latest` if none is given.
#[must_use]
pub fn tagged(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains(':') {
        reference.to_owned()
    } else {
        [reference, "latest"].join(":").to_string()
    }
}
