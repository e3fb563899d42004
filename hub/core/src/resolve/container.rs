//! One container of a template: what it runs, with which words, ports and mounts.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

use firmware_compat::{
    capacity::full as capacity,
    v1::owned::{
        ContainerSecurity, Mount, Port, Protocol, Resources, RuntimeClass, Supervision, Text,
    },
};

use super::{AllKeys, Check, Variable, is_no_path};
use crate::api::{
    core::pod::{self, PodSpec},
    validate::check_label_name,
};

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
    /// What it may do.
    pub security: ContainerSecurity,
    /// How it is watched over.
    pub supervision: Supervision,
}

impl Check {
    pub(super) fn container(
        &mut self,
        at: &str,
        container: &pod::Container,
        spec: &PodSpec,
        engine: RuntimeClass,
    ) -> Container {
        self.keep(check_label_name(&format!("{at}.name"), &container.name));
        self.image(at, &container.image);
        self.container_without_effect(at, container, spec);
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
            env: self.env(at, container, spec),
            env_from: self.env_from(at, container),
            ports: self.ports(at, container),
            mounts: self.mounts(at, container, spec, engine),
            security: self.container_security(at, container, spec, engine),
            supervision: Supervision::default(),
        }
    }

    pub(super) fn image(&mut self, at: &str, image: &str) {
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

    pub(super) fn words<const N: usize>(&mut self, field: &str, words: &[String]) -> Vec<Text<N>> {
        words
            .iter()
            .enumerate()
            .map(|(i, word)| self.text(&format!("{field}[{i}]"), word))
            .collect()
    }

    pub(super) fn working_dir(
        &mut self,
        at: &str,
        container: &pod::Container,
    ) -> Text<{ capacity::PATH }> {
        let field = format!("{at}.workingDir");
        let path = container.working_dir.as_deref().unwrap_or_default();
        if !(path.is_empty() || path.starts_with('/')) {
            self.error(field.clone(), format!("\"{path}\" must be an absolute path"));
        }
        self.text(&field, path)
    }

    pub(super) fn ports(&mut self, at: &str, container: &pod::Container) -> Vec<Port> {
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

    pub(super) fn mounts(
        &mut self,
        at: &str,
        container: &pod::Container,
        spec: &PodSpec,
        engine: RuntimeClass,
    ) -> Vec<Mount> {
        let mut mounts = Vec::new();
        let mut paths = BTreeSet::new();
        for (i, mount) in container.volume_mounts.iter().enumerate() {
            let field = format!("{at}.volumeMounts[{i}]");
            let is_there = spec.volumes.iter().any(|volume| volume.name == mount.name);
            if !is_there && !self.has_claims {
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
            let expression = mount.sub_path_expr.as_deref().filter(|path| !path.is_empty());
            let sub_path = mount.sub_path.as_deref().unwrap_or_default();
            if expression.is_some() && !sub_path.is_empty() {
                self.error(field.clone(), "has a subPath and a subPathExpr; leave one out");
            }
            let name = if expression.is_some() { "subPathExpr" } else { "subPath" };
            let sub_path = expression.unwrap_or(sub_path);
            if sub_path.starts_with('/') || is_no_path(sub_path) {
                self.error(
                    format!("{field}.{name}"),
                    format!("\"{sub_path}\" must be a relative path without \"..\""),
                );
            }
            mounts.push(Mount {
                volume: self.text(&format!("{field}.name"), &mount.name),
                path: self.text(&format!("{field}.mountPath"), path),
                sub_path: self.text(&format!("{field}.{name}"), sub_path),
                expand: expression.is_some(),
                read_only: mount.read_only.unwrap_or(false),
                propagation: self.propagation(
                    &format!("{field}.mountPropagation"),
                    mount.mount_propagation.as_deref(),
                    engine,
                ),
            });
        }
        mounts
    }
}
