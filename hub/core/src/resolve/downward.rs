//! What a container is told of its own Pod. What the template says is text at once; what is known when the Pod has a name
//! and a place is told by the hub with its assignment; the rest by its device ([`Fact`]).

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
};

use firmware_compat::v1::owned::{Fact, FactResource};

use super::Check;
use crate::api::{
    core::pod::{Container, FieldRef, PodSpec, ResourceFieldRef},
    quantity::{Amounts, Quantity},
    validate::check_label,
};

/// What a Pod tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// This.
    Text(String),
    /// Its name.
    Name,
    /// Its namespace.
    Namespace,
    /// Its uid.
    Uid,
    /// Its device's name.
    NodeName,
    /// One of its labels; empty if it has no such.
    Label(String),
    /// One of its annotations; empty if it has no such.
    Annotation(String),
    /// All labels, a line for each.
    Labels,
    /// All annotations, a line for each.
    Annotations,
    /// What its device says.
    Fact(Fact),
}

/// Where it is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Variable,
    File,
}

const OF_VARIABLES: &str = "metadata.name, metadata.namespace, metadata.uid, metadata.labels['<key>'], \
     metadata.annotations['<key>'], spec.nodeName, spec.serviceAccountName, status.hostIP, status.hostIPs, status.podIP \
     and status.podIPs";
const OF_FILES: &str = "metadata.name, metadata.namespace, metadata.uid, metadata.labels, metadata.annotations, \
     metadata.labels['<key>'] and metadata.annotations['<key>']";

/// The account of a Pod that names none: Kubernetes' own default.
const DEFAULT_ACCOUNT: &str = "default";

impl Check {
    pub(super) fn field_ref(
        &mut self,
        at: &str,
        from: &FieldRef,
        spec: &PodSpec,
        place: Place,
    ) -> Told {
        if !matches!(from.api_version.as_str(), "" | "v1") {
            let version = &from.api_version;
            self.error(format!("{at}.apiVersion"), format!("\"{version}\" must be \"v1\""));
        }
        let told = match (from.field_path.as_str(), place) {
            ("metadata.name", _) => Some(Told::Name),
            ("metadata.namespace", _) => Some(Told::Namespace),
            ("metadata.uid", _) => Some(Told::Uid),
            ("metadata.labels", Place::File) => Some(Told::Labels),
            ("metadata.annotations", Place::File) => Some(Told::Annotations),
            ("spec.nodeName", Place::Variable) => Some(Told::NodeName),
            ("spec.serviceAccountName", Place::Variable) => Some(Told::Text(account(spec))),
            ("status.hostIP", Place::Variable) => Some(Told::Fact(Fact::HostIp)),
            ("status.hostIPs", Place::Variable) => Some(Told::Fact(Fact::HostIps)),
            ("status.podIP", Place::Variable) => Some(Told::Fact(Fact::PodIp)),
            ("status.podIPs", Place::Variable) => Some(Told::Fact(Fact::PodIps)),
            (path, _) => self.one_of_a_map(&format!("{at}.fieldPath"), path),
        };
        told.unwrap_or_else(|| {
            let known = match place {
                Place::Variable => OF_VARIABLES,
                Place::File => OF_FILES,
            };
            self.error(
                format!("{at}.fieldPath"),
                format!("\"{}\" can't be told; these can: {known}", from.field_path),
            );
            Told::Name
        })
    }

    /// `metadata.labels['app']`.
    fn one_of_a_map(&mut self, at: &str, path: &str) -> Option<Told> {
        let (map, rest) = path.split_once("['")?;
        let key = rest.strip_suffix("']")?.to_owned();
        let told = match map {
            "metadata.labels" => Told::Label(key.clone()),
            "metadata.annotations" => Told::Annotation(key.clone()),
            _ => return None,
        };
        // Keys of annotations are as those of labels.
        self.keep(check_label(at, &key, ""));
        Some(told)
    }

    /// `own` is the container that the reference stands in, if it does.
    pub(super) fn resource_field_ref(
        &mut self,
        at: &str,
        from: &ResourceFieldRef,
        spec: &PodSpec,
        own: Option<&Container>,
    ) -> Told {
        let nothing = Told::Text(String::new());
        let named = |container: &&Container| container.name == from.container_name;
        let container = match from.container_name.as_str() {
            "" => own,
            _ => spec.containers.iter().chain(&spec.init_containers).find(named),
        };
        let Some(container) = container else {
            let cause = match from.container_name.as_str() {
                "" => "must name a container of the Pod".to_owned(),
                name => format!("\"{name}\" is no container of the Pod"),
            };
            self.error(format!("{at}.containerName"), cause);
            return nothing;
        };
        let (is_limit, name, resource) = match from.resource.as_str() {
            "limits.cpu" => (true, "cpu", FactResource::Cpu),
            "limits.memory" => (true, "memory", FactResource::Memory),
            "limits.ephemeral-storage" => {
                (true, "ephemeral-storage", FactResource::EphemeralStorage)
            }
            "requests.cpu" => (false, "cpu", FactResource::Cpu),
            "requests.memory" => (false, "memory", FactResource::Memory),
            "requests.ephemeral-storage" => {
                (false, "ephemeral-storage", FactResource::EphemeralStorage)
            }
            other => {
                self.error(
                    format!("{at}.resource"),
                    format!("\"{other}\" can't be told; limits and requests of cpu, memory and ephemeral-storage can, as limits.cpu"),
                );
                return nothing;
            }
        };
        let divisor = self.divisor(at, from.divisor.as_ref(), resource);
        let limit = amount(&container.resources.limits, name, resource);
        let request = amount(&container.resources.requests, name, resource);
        match (is_limit, limit, request) {
            (true, Some(limit), _) => Told::Text(limit.div_ceil(divisor).to_string()),
            (true, None, _) => Told::Fact(Fact::Allocatable { resource, divisor }),
            // What has a limit and no request asks for its limit.
            (false, limit, request) => {
                Told::Text(request.or(limit).unwrap_or(0).div_ceil(divisor).to_string())
            }
        }
    }

    /// In the unit that amounts of the resource are counted in.
    fn divisor(&mut self, at: &str, divisor: Option<&Quantity>, resource: FactResource) -> u64 {
        let unit = if resource == FactResource::Cpu { 1000 } else { 1 };
        let Some(divisor) = divisor else { return unit };
        match count(divisor, resource) {
            Some(0) => unit,
            Some(count) if known_divisor(count, resource) => count,
            _ => {
                let known = match resource {
                    FactResource::Cpu => "1m and 1",
                    FactResource::Memory | FactResource::EphemeralStorage => {
                        "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi and 1Ei"
                    }
                };
                self.error(
                    format!("{at}.divisor"),
                    format!("\"{divisor}\" is none; these are: {known}"),
                );
                unit
            }
        }
    }
}

/// Name of a Pod's account.
pub(crate) fn account(spec: &PodSpec) -> String {
    let names = [&spec.service_account_name, &spec.service_account];
    let mut names = names.into_iter().flatten().filter(|name| !name.is_empty());
    names.next().map_or(DEFAULT_ACCOUNT, String::as_str).to_owned()
}

fn amount(amounts: &Amounts, name: &str, resource: FactResource) -> Option<u64> {
    // A limit or a request of nothing is none.
    amounts.get(name).and_then(|quantity| count(quantity, resource)).filter(|count| *count > 0)
}

fn count(quantity: &Quantity, resource: FactResource) -> Option<u64> {
    match resource {
        FactResource::Cpu => quantity.in_milli(),
        FactResource::Memory | FactResource::EphemeralStorage => quantity.in_units(),
    }
}

/// Kubernetes' own list.
fn known_divisor(count: u64, resource: FactResource) -> bool {
    match resource {
        FactResource::Cpu => matches!(count, 1 | 1000),
        FactResource::Memory | FactResource::EphemeralStorage => {
            (0..=6).any(|power| count == 1000_u64.pow(power) || count == 1024_u64.pow(power))
        }
    }
}
