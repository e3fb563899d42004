//! From a Pod template, as the operator wrote it, to what scheduling and assignments need: every name checked, every
//! quantity in numbers, every default filled in. Everything that is wrong is reported, not just the first. What is taken
//! from ConfigMaps and Secrets is in [`sources`].

pub mod sources;

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

use firmware_compat::{
    capacity::full as capacity,
    v1::owned::{
        HostPathKind, Mount, Port, Protocol, Resources, RestartPolicy, RuntimeClass, Text,
    },
};

pub use sources::{AllKeys, Files, SourceName, Value, Variable};

use crate::api::{
    FieldError,
    core::pod::{self, PodSpec, PodTemplate},
    quantity::Amounts,
    resource::RestartRule,
    validate::{check_label_name, check_labels, check_subdomain},
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
    /// Whether it shares the device's network.
    pub host_network: bool,
    /// What it asks for: of each resource the sum over its containers, or what one of its init containers asks for if
    /// that is more. Kubernetes' rule: init containers run alone.
    pub requests: Amount,
    /// Taints that it tolerates.
    pub tolerations: Vec<Toleration>,
}

/// One container.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The image as written.
    pub image: String,
    /// What it asks for and may use.
    pub resources: Resources,
    /// The command.
    pub command: Vec<Text<{ capacity::ARGUMENT }>>,
    /// The arguments.
    pub args: Vec<Text<{ capacity::ARGUMENT }>>,
    /// The working directory, empty for the image's.
    pub working_dir: Text<{ capacity::PATH }>,
    /// The environment.
    pub env: Vec<Variable>,
    /// What is added to it before.
    pub env_from: Vec<AllKeys>,
    /// The ports.
    pub ports: Vec<Port>,
    /// The mounts.
    pub mounts: Vec<Mount>,
}

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
}

/// CPU and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Thousandths of a CPU.
    pub cpu_milli: u64,
    /// Bytes.
    pub memory_bytes: u64,
}

/// A taint's effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaintEffect {
    /// Nothing new.
    NoSchedule,
    /// Nothing new if it fits elsewhere.
    PreferNoSchedule,
    /// Nothing new, and what runs goes.
    NoExecute,
}

impl TaintEffect {
    /// Reads Kubernetes' word for it.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "NoSchedule" => Self::NoSchedule,
            "PreferNoSchedule" => Self::PreferNoSchedule,
            "NoExecute" => Self::NoExecute,
            _ => return None,
        })
    }
}

/// A taint that is borne.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toleration {
    /// `None` for every key.
    pub key: Option<String>,
    /// `None` for every value.
    pub value: Option<String>,
    /// `None` for every effect.
    pub effect: Option<TaintEffect>,
    /// How long a `NoExecute` taint is borne; `None` for ever.
    pub seconds: Option<u32>,
}

/// Seconds between the stop signal and the kill, where the template says nothing: Kubernetes' default.
pub(crate) const DEFAULT_GRACE_S: u32 = 30;
/// Longest grace period: longer is a mistake in units.
const MAX_GRACE_S: u32 = 24 * 3600;

/// Understands a template found at `at` in its object.
///
/// # Errors
/// Every field that can't be taken.
pub fn resolve(
    at: &str,
    template: &PodTemplate,
    rule: RestartRule,
) -> Result<Resolved, Vec<FieldError>> {
    let mut check = Check { errors: Vec::new(), rule };
    check.keep(check_labels(&format!("{at}.metadata.labels"), &template.metadata.labels));
    let resolved = check.pod(&format!("{at}.spec"), &template.spec);
    if check.errors.is_empty() { Ok(resolved) } else { Err(check.errors) }
}

fn requests(init: &[Container], main: &[Container]) -> Amount {
    let of = |c: &Container| Amount {
        cpu_milli: c.resources.cpu_request_milli.into(),
        memory_bytes: c.resources.memory_request_bytes,
    };
    let together = main.iter().map(of).fold(Amount::default(), |sum, one| Amount {
        cpu_milli: sum.cpu_milli.saturating_add(one.cpu_milli),
        memory_bytes: sum.memory_bytes.saturating_add(one.memory_bytes),
    });
    init.iter().map(of).fold(together, |most, alone| Amount {
        cpu_milli: most.cpu_milli.max(alone.cpu_milli),
        memory_bytes: most.memory_bytes.max(alone.memory_bytes),
    })
}

/// Collects what is wrong; answers with a placeholder where a value can't be taken.
struct Check {
    errors: Vec<FieldError>,
    rule: RestartRule,
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
        let init_containers = self.containers(&init_at, &spec.init_containers, spec, engine);
        let main_at = format!("{at}.containers");
        self.count(&main_at, spec.containers.len(), capacity::CONTAINERS);
        let containers = self.containers(&main_at, &spec.containers, spec, engine);
        self.names(at, spec);
        self.pull_secrets(at, spec);
        if let Some(name) = &spec.node_name {
            self.keep(check_subdomain(&format!("{at}.nodeName"), name, 63));
        }
        self.keep(check_labels(&format!("{at}.nodeSelector"), &spec.node_selector));
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
            host_network: spec.host_network.unwrap_or(false),
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

    fn container(
        &mut self,
        at: &str,
        container: &pod::Container,
        spec: &PodSpec,
        engine: RuntimeClass,
    ) -> Container {
        self.keep(check_label_name(&format!("{at}.name"), &container.name));
        self.image(at, &container.image);
        self.count(&format!("{at}.command"), container.command.len(), capacity::ARGUMENTS);
        self.count(&format!("{at}.args"), container.args.len(), capacity::ARGUMENTS);
        self.count(&format!("{at}.env"), container.env.len(), capacity::VARIABLES);
        self.count(&format!("{at}.envFrom"), container.env_from.len(), capacity::SECRETS);
        self.count(&format!("{at}.ports"), container.ports.len(), capacity::PORTS);
        self.count(&format!("{at}.volumeMounts"), container.volume_mounts.len(), capacity::VOLUMES);
        if engine == RuntimeClass::Wasm && !container.command.is_empty() {
            self.error(
                format!("{at}.command"),
                "a Wasm module has one entry point; put arguments into args",
            );
        }
        Container {
            name: container.name.clone(),
            image: container.image.clone(),
            resources: self.resources(at, &container.resources),
            command: self.words(&format!("{at}.command"), &container.command),
            args: self.words(&format!("{at}.args"), &container.args),
            working_dir: self.working_dir(at, container),
            env: self.env(at, container),
            env_from: self.env_from(at, container),
            ports: self.ports(at, container),
            mounts: self.mounts(at, container, spec),
        }
    }

    fn image(&mut self, at: &str, image: &str) {
        let field = format!("{at}.image");
        if image.is_empty() {
            self.error(field, "must name an image, such as \"hello:1.0\"");
        } else if image.len() > capacity::REFERENCE || image.bytes().any(|b| b <= b' ' || b == 0x7f)
        {
            self.error(
                field,
                format!("\"{image}\" is not an image reference, such as \"hello:1.0\""),
            );
        }
    }

    fn words<const N: usize>(&mut self, field: &str, words: &[String]) -> Vec<Text<N>> {
        words
            .iter()
            .enumerate()
            .map(|(i, word)| self.text(&format!("{field}[{i}]"), word))
            .collect()
    }

    fn working_dir(&mut self, at: &str, container: &pod::Container) -> Text<{ capacity::PATH }> {
        let field = format!("{at}.workingDir");
        let path = container.working_dir.as_deref().unwrap_or_default();
        if !(path.is_empty() || path.starts_with('/')) {
            self.error(field.clone(), format!("\"{path}\" must be an absolute path"));
        }
        self.text(&field, path)
    }

    fn ports(&mut self, at: &str, container: &pod::Container) -> Vec<Port> {
        let mut ports = Vec::new();
        for (i, port) in container.ports.iter().enumerate() {
            let field = format!("{at}.ports[{i}]");
            let number = u16::try_from(port.container_port).ok().filter(|number| *number > 0);
            if number.is_none() {
                self.error(
                    format!("{field}.containerPort"),
                    format!("{} must be 1 to 65535", port.container_port),
                );
            }
            let protocol = match port.protocol.as_deref() {
                None | Some("TCP") => Protocol::Tcp,
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                Some(other) => {
                    self.error(
                        format!("{field}.protocol"),
                        format!("\"{other}\" must be \"TCP\", \"UDP\" or \"SCTP\""),
                    );
                    Protocol::Tcp
                }
            };
            ports.push(Port { number: number.unwrap_or(1), protocol });
        }
        ports
    }

    fn resources(&mut self, at: &str, resources: &pod::Resources) -> Resources {
        let limits = self.amounts(&format!("{at}.resources.limits"), &resources.limits);
        let mut requests = self.amounts(&format!("{at}.resources.requests"), &resources.requests);
        // Kubernetes: what has a limit and no request asks for its limit.
        if !resources.requests.contains_key("cpu") {
            requests.cpu_milli = limits.cpu_milli;
        }
        if !resources.requests.contains_key("memory") {
            requests.memory_bytes = limits.memory_bytes;
        }
        for (name, request, limit) in [
            ("cpu", requests.cpu_milli, limits.cpu_milli),
            ("memory", requests.memory_bytes, limits.memory_bytes),
        ] {
            if limit > 0 && request > limit {
                self.error(
                    format!("{at}.resources.requests.{name}"),
                    "must not be more than the limit",
                );
            }
        }
        Resources {
            cpu_request_milli: u32::try_from(requests.cpu_milli).unwrap_or(u32::MAX),
            cpu_limit_milli: u32::try_from(limits.cpu_milli).unwrap_or(u32::MAX),
            memory_request_bytes: requests.memory_bytes,
            memory_limit_bytes: limits.memory_bytes,
        }
    }

    fn amounts(&mut self, at: &str, amounts: &Amounts) -> Amount {
        let mut result = Amount::default();
        for (name, quantity) in amounts {
            let field = format!("{at}.{name}");
            let (value, slot) = match name.as_str() {
                "cpu" => (quantity.in_milli(), &mut result.cpu_milli),
                "memory" => (quantity.in_units(), &mut result.memory_bytes),
                _ => {
                    self.error(field, "this resource is not supported; \"cpu\" and \"memory\" are");
                    continue;
                }
            };
            match value {
                Some(value) => *slot = value,
                None => self.error(
                    field,
                    format!("\"{quantity}\" is not a quantity, such as \"500m\" or \"64Mi\""),
                ),
            }
        }
        result
    }

    fn mounts(&mut self, at: &str, container: &pod::Container, spec: &PodSpec) -> Vec<Mount> {
        let mut mounts = Vec::new();
        let mut paths = BTreeSet::new();
        for (i, mount) in container.volume_mounts.iter().enumerate() {
            let field = format!("{at}.volumeMounts[{i}]");
            if !spec.volumes.iter().any(|volume| volume.name == mount.name) {
                self.error(
                    format!("{field}.name"),
                    format!("no volume of the Pod has the name \"{}\"", mount.name),
                );
            }
            let path = mount.mount_path.as_str();
            if !path.starts_with('/') || is_no_path(path) || path == "/" {
                self.error(
                    format!("{field}.mountPath"),
                    format!("\"{path}\" must be an absolute path below /, without \"..\""),
                );
            }
            if !paths.insert(path.trim_end_matches('/')) {
                self.error(format!("{field}.mountPath"), format!("\"{path}\" is mounted twice"));
            }
            let sub_path = mount.sub_path.as_deref().unwrap_or_default();
            if sub_path.starts_with('/') || is_no_path(sub_path) {
                self.error(
                    format!("{field}.subPath"),
                    format!("\"{sub_path}\" must be a relative path without \"..\""),
                );
            }
            mounts.push(Mount {
                volume: self.text(&format!("{field}.name"), &mount.name),
                path: self.text(&format!("{field}.mountPath"), path),
                sub_path: self.text(&format!("{field}.subPath"), sub_path),
                read_only: mount.read_only.unwrap_or(false),
            });
        }
        mounts
    }

    fn volumes(&mut self, at: &str, spec: &PodSpec) -> Vec<Volume> {
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
        volumes
    }

    fn source(&mut self, at: &str, volume: &pod::Volume) -> Option<Source> {
        let pod::Volume { empty_dir, host_path, config_map, secret, .. } = volume;
        match (empty_dir, host_path, config_map, secret) {
            (Some(empty), None, None, None) => Some(self.empty_dir(at, empty)),
            (None, Some(host), None, None) => Some(self.host_path(at, host)),
            (None, None, Some(map), None) => Some(self.config_map(at, map)),
            (None, None, None, Some(secret)) => Some(self.secret(at, secret)),
            _ => {
                self.error(at, "needs exactly one of emptyDir, hostPath, configMap and secret");
                None
            }
        }
    }

    fn empty_dir(&mut self, at: &str, empty: &pod::EmptyDir) -> Source {
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

    fn host_path(&mut self, at: &str, host: &pod::HostPath) -> Source {
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

    fn tolerations(&mut self, at: &str, spec: &PodSpec) -> Vec<Toleration> {
        let mut tolerations = Vec::new();
        for (i, toleration) in spec.tolerations.iter().enumerate() {
            let field = format!("{at}.tolerations[{i}]");
            let exists = match toleration.operator.as_deref() {
                None | Some("" | "Equal") => false,
                Some("Exists") => true,
                Some(other) => {
                    self.error(
                        format!("{field}.operator"),
                        format!("\"{other}\" must be \"Equal\" or \"Exists\""),
                    );
                    false
                }
            };
            if toleration.key.is_empty() && !exists {
                self.error(format!("{field}.key"), "may be empty only with operator \"Exists\"");
            }
            let effect = match toleration.effect.as_str() {
                "" => None,
                word => TaintEffect::parse(word).or_else(|| {
                    self.error(
                        format!("{field}.effect"),
                        format!("\"{word}\" must be \"NoSchedule\", \"PreferNoSchedule\" or \"NoExecute\""),
                    );
                    None
                }),
            };
            // The hub puts no other taint on a device by itself; of an operator's taint it knows no time.
            let timed = ["", "node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"];
            if toleration.toleration_seconds.is_some() && !timed.contains(&toleration.key.as_str())
            {
                self.error(
                    format!("{field}.tolerationSeconds"),
                    "is supported for node.kubernetes.io/unreachable alone; leave it out to bear the taint for ever",
                );
            }
            tolerations.push(Toleration {
                key: (!toleration.key.is_empty()).then(|| toleration.key.clone()),
                value: (!exists).then(|| toleration.value.clone()),
                effect,
                seconds: toleration.toleration_seconds,
            });
        }
        tolerations
    }
}

impl Toleration {
    /// Whether this tolerates a taint.
    #[must_use]
    pub fn tolerates(&self, key: &str, value: &str, effect: TaintEffect) -> bool {
        self.key.as_deref().is_none_or(|own| own == key)
            && self.value.as_deref().is_none_or(|own| own == value)
            && self.effect.is_none_or(|own| own == effect)
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

impl Amount {
    /// Adds an amount.
    pub fn add(&mut self, other: Self) {
        self.cpu_milli = self.cpu_milli.saturating_add(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
    }

    /// Takes an amount away.
    pub fn subtract(&mut self, other: Self) {
        self.cpu_milli = self.cpu_milli.saturating_sub(other.cpu_milli);
        self.memory_bytes = self.memory_bytes.saturating_sub(other.memory_bytes);
    }
}
