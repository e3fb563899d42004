//! One Pod, as the hub knows it: what it is, where it was placed, what its device says of it.

pub mod meta;
pub(crate) mod name;
pub mod sources;
pub mod status;
mod told;

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    string::String,
    sync::Arc,
    vec::Vec,
};

use firmware_compat::{
    id::{Generation, Hash, PodId},
    time::UnixMs,
    v1::owned::{self as wire, Artefacts, Phase, PodStatus, Port, Text},
};
use sha2::{Digest, Sha256};

use crate::{
    api::{
        Key,
        core::pod::{Affinity, PodTemplate, affinity::PodAffinityTerm},
    },
    event::Platform,
    parts::Part,
    resolve::{self, Resolved, Roots},
};
pub use sources::Sources;
use sources::Taken;

/// A template with the digests of its images: what all Pods of one revision share.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// Ten hex digits over the meaning of the template and the digests; the label `pod-template-hash`.
    pub hash: String,
    /// As the operator wrote it.
    pub template: PodTemplate,
    /// As understood.
    pub resolved: Resolved,
    /// Digests of the images.
    pub roots: Roots,
    host_ports: Vec<Port>,
}

impl Revision {
    /// The revision of a template that has been understood.
    #[must_use]
    pub fn new(template: &PodTemplate, resolved: Resolved, roots: Roots) -> Self {
        let mut hasher = Sha256::new();
        // What means the same is the same: of two ways to write a template, both have this form. Maps are ordered and
        // the types are ours: it always writes the same JSON.
        hasher.update(serde_json::to_vec(&template.normal()).unwrap_or_default());
        for (name, root) in &roots {
            hasher.update(name.as_bytes());
            hasher.update(root.map_or([0; 32], |root| root.0));
        }
        let digest = Hash(hasher.finalize().into());
        let hash = alloc::format!("{digest}").get(..10).unwrap_or_default().to_owned();
        Self::saved(hash, template, resolved, roots)
    }

    /// A revision whose hash is known.
    #[must_use]
    pub fn saved(hash: String, template: &PodTemplate, resolved: Resolved, roots: Roots) -> Self {
        let mut host_ports: Vec<Port> = Vec::new();
        if resolved.host_network {
            let all = resolved.sidecars().chain(&resolved.containers);
            for port in all.flat_map(|container| &container.ports) {
                if !host_ports.contains(port) {
                    host_ports.push(*port);
                }
            }
        }
        Self { hash, template: template.clone(), resolved, roots, host_ports }
    }

    /// Whether another revision means the same, however its template was written: what runs needs no restart.
    #[must_use]
    pub fn means(&self, other: &Self) -> bool {
        let (one, two) = (&self.template, &other.template);
        self.roots == other.roots
            && self.resolved == other.resolved
            && one.metadata == two.metadata
            && one.spec.node_selector == two.spec.node_selector
            && one.spec.node_name == two.spec.node_name
            && one.spec.affinity == two.spec.affinity
            && one.spec.priority_class_name == two.spec.priority_class_name
            && one.spec.topology_spread_constraints == two.spec.topology_spread_constraints
    }

    /// Ports of the device's network that each Pod takes: those that it declares, if it shares that network.
    pub fn host_ports(&self) -> impl Iterator<Item = Port> {
        self.host_ports.iter().copied()
    }

    /// Whether it says something about other Pods, so that it matters where they are.
    #[must_use]
    pub fn minds_others(&self) -> bool {
        let spec = &self.template.spec;
        let minds = |of: &Affinity| of.pod_affinity.is_some() || of.pod_anti_affinity.is_some();
        spec.affinity.as_ref().is_some_and(minds) || !spec.topology_spread_constraints.is_empty()
    }

    /// What keeps other Pods away from where its Pods are.
    pub fn repelling(&self) -> impl Iterator<Item = &PodAffinityTerm> {
        let affinity = self.template.spec.affinity.as_ref();
        let apart = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
        apart.into_iter().flat_map(|apart| &apart.required)
    }

    /// Digests of all images; `None` while one is not known.
    #[must_use]
    pub fn digests(&self) -> Option<BTreeSet<Hash>> {
        self.roots.values().copied().collect()
    }

    /// The first image, in the order of names, whose digest is not known.
    #[must_use]
    pub fn unknown_image(&self) -> Option<&str> {
        self.roots.iter().find(|(_, digest)| digest.is_none()).map(|(image, _)| image.as_str())
    }

    /// Whether one of the images has this digest.
    #[must_use]
    pub fn runs(&self, digest: Hash) -> bool {
        self.roots.values().any(|root| *root == Some(digest))
    }
}

/// One Pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its uid.
    pub id: PodId,
    /// Hash of all that, when changed, calls for a restart. Fixed when the Pod is made: a newer hub must not
    /// restart what runs.
    pub identity: Hash,
    /// The workload.
    pub owner: Key,
    /// Uid of the workload.
    pub owner_uid: String,
    /// Its name in the workload's namespace.
    pub name: String,
    /// Its number among the Pods of its workload, where each has one: the completion index in an Indexed Job.
    pub index: Option<u32>,
    /// What it runs.
    pub revision: Arc<Revision>,
    /// When it was made.
    pub created_ms: UnixMs,
    /// How much it matters: as its class said when it was made.
    pub priority: i32,
    /// Its device, once placed.
    pub device: Option<String>,
    /// What its device needs of its images. Present once it may be part of an assignment.
    pub supply: Option<(Platform, Supplied)>,
    /// When it was asked to go.
    pub deleting: Option<Deleting>,
    /// What its device last said.
    pub report: Option<PodStatus>,
    /// Whether an assignment ever held it: without one its device can't know it.
    pub assigned: bool,
    /// Pods whose place on its device it takes: it starts there once none of them runs. Fixed when it becomes part
    /// of an assignment, so that their end changes no assignment; not part of the identity.
    pub after: Vec<PodId>,
    /// Whether its Job has counted how it ended.
    pub counted: bool,
    /// Seconds that its containers have to end, if its deletion said so.
    pub grace_s: Option<u64>,
    /// Why it is not part of its device's assignment.
    pub waiting: Option<Waiting>,
    /// Of its last change, for the API.
    pub resource_version: u64,
}

/// Parts of an assignment, by their hashes.
pub type Parts = BTreeMap<Hash, Part>;

/// What a device needs of the images of a Pod, by the images' names.
pub type Supplied = BTreeMap<String, Artefacts>;

/// A Pod that was asked to go and stays listed until its device has let go of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleting {
    /// Since when.
    pub since_ms: UnixMs,
    /// First generation of the device's assignment without it.
    pub released: Option<Generation>,
}

/// Why a Pod is not placed, or not part of its device's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// CamelCase.
    pub reason: String,
    /// In words.
    pub message: String,
}

/// The reason of a Pod for which its device's assignment has no room.
pub const TOO_LARGE: &str = "AssignmentTooLarge";

impl Waiting {
    /// Whether nothing that becomes free on its device ends the wait.
    #[must_use]
    pub fn bars(&self) -> bool {
        matches!(
            self.reason.as_str(),
            "PreparingImage" | "RuntimeUnavailable" | "ImageHasNoBuild" | "ImageNotFound"
        )
    }

    /// A reason and its words.
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }
}

impl Pod {
    /// Whether its device says that it runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.phase == Phase::Running)
    }

    /// Whether its device says that it runs and is of use: what counts for its workload.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.report.as_ref().is_some_and(|report| self.are_ready(report))
    }

    /// The same of what a device says.
    #[must_use]
    pub fn are_ready(&self, report: &PodStatus) -> bool {
        report.phase == Phase::Running && self.unready(report).next().is_none()
    }

    /// The containers and sidecars that are not ready, as Kubernetes' condition `ContainersReady` has it.
    pub fn unready<'a>(&'a self, report: &'a PodStatus) -> impl Iterator<Item = &'a str> {
        let sidecars = self.revision.resolved.sidecars();
        let sidecars = sidecars.map(|spec| (spec, &report.init_containers[..]));
        let main = self.revision.resolved.containers.iter();
        sidecars.chain(main.map(|spec| (spec, &report.containers[..]))).filter_map(|(spec, of)| {
            let said = of.iter().find(|status| status.name.as_str() == spec.name);
            (!said.is_some_and(|status| status.ready)).then_some(spec.name.as_str())
        })
    }

    /// Whether it has ended for good, as its device says, and if so whether it succeeded. One that is always restarted
    /// never has.
    #[must_use]
    pub fn finished(&self) -> Option<bool> {
        let phase = self.report.as_ref()?.phase;
        match (self.revision.resolved.restart, phase) {
            (wire::RestartPolicy::Always, _) => None,
            (_, Phase::Succeeded) => Some(true),
            (_, Phase::Failed) => Some(false),
            _ => None,
        }
    }

    /// How often its containers were started again, all together, as its device says.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        let containers = self.report.iter().flat_map(|report| &report.containers);
        containers.fold(0, |sum, container| sum.saturating_add(container.restarts))
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.owner.namespace
    }

    /// Its key in the API.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(crate::api::Kind::Pod, self.namespace(), &self.name)
    }

    /// The ConfigMaps and Secrets that it takes something from, each once, and its claims.
    #[must_use]
    pub fn sources(&self) -> Vec<Key> {
        let sources = self.revision.resolved.sources();
        let sources = sources.iter().map(|of| Key::new(of.kind, self.namespace(), &of.name));
        sources.chain(self.claims()).collect()
    }

    /// The claims that it uses, each once.
    #[must_use]
    pub fn claims(&self) -> Vec<Key> {
        self.revision.resolved.claims(self.namespace(), Some(&self.name))
    }

    /// Its form in an assignment. Its device's key and the ConfigMaps and Secrets are of `sources`.
    ///
    /// # Errors
    /// Why it has none.
    pub fn wire(&self, sources: &Sources<'_>) -> Result<(wire::Pod, Parts), Waiting> {
        let Some((_, artefacts)) = &self.supply else {
            return Err(Waiting::new("ImagePending", "the image is not ready"));
        };
        let resolved = &self.revision.resolved;
        let mut taken = Taken::new(self, sources)?;
        let init_containers =
            wire_containers(&resolved.init_containers, artefacts, &taken, self.index)?;
        let containers = wire_containers(&resolved.containers, artefacts, &taken, self.index)?;
        let mut volumes = Vec::new();
        for volume in &resolved.volumes {
            let source = taken.volume(&volume.name, &volume.source)?;
            volumes.push(wire::Volume { name: volume.name.clone(), source });
        }
        let Taken { secrets, parts, .. } = taken;
        let pod = wire::Pod {
            id: self.id,
            identity: self.identity,
            namespace: Text::try_from(self.namespace()).map_err(|_| over("the namespace"))?,
            name: Text::try_from(self.name.as_str()).map_err(|_| over("the name"))?,
            hostname: Text::cut(&self.hostname()),
            names: self.names()?,
            runtime_class: resolved.runtime_class,
            init_containers: init_containers.try_into().map_err(|_| over("the init containers"))?,
            containers: containers.try_into().map_err(|_| over("the containers"))?,
            volumes: volumes.try_into().map_err(|_| over("the volumes"))?,
            secrets: secrets.try_into().map_err(|_| over("the Secrets"))?,
            restart: resolved.restart,
            grace_ms: resolved.grace_ms,
            active_deadline_s: resolved.active_deadline_s,
            host_network: resolved.host_network,
            security: resolved.security.clone(),
            after: self.after.clone().try_into().map_err(|_| over("the Pods before it"))?,
        };
        Ok((pod, parts))
    }
}

fn over(what: &str) -> Waiting {
    Waiting::new("TooLarge", alloc::format!("{what} is over a bound of the protocol"))
}

fn wire_containers<'a>(
    containers: &'a [resolve::Container],
    supplied: &Supplied,
    taken: &Taken<'a>,
    index: Option<u32>,
) -> Result<Vec<wire::Container>, Waiting> {
    containers.iter().map(|container| wire_container(container, supplied, taken, index)).collect()
}

fn wire_container<'a>(
    c: &'a resolve::Container,
    supplied: &Supplied,
    taken: &Taken<'a>,
    index: Option<u32>,
) -> Result<wire::Container, Waiting> {
    let Some(artefacts) = supplied.get(&c.image).cloned() else {
        return Err(Waiting::new(
            "ImagePending",
            alloc::format!("the image {} is not ready", c.image),
        ));
    };
    let mut env = taken.environment(c)?;
    env.extend(meta::index_variable(index, &env));
    Ok(wire::Container {
        name: Text::try_from(c.name.as_str()).map_err(|_| over("a container's name"))?,
        reference: Text::try_from(c.image.as_str()).map_err(|_| over("an image's name"))?,
        artefacts,
        command: c.command.clone().try_into().map_err(|_| over("a command"))?,
        args: c.args.clone().try_into().map_err(|_| over("the arguments"))?,
        working_dir: c.working_dir.clone(),
        env: env.try_into().map_err(|_| over("the environment"))?,
        ports: c.ports.clone().try_into().map_err(|_| over("the ports"))?,
        resources: c.resources,
        mounts: c.mounts.clone().try_into().map_err(|_| over("the mounts"))?,
        security: c.security.clone(),
        supervision: c.supervision.clone(),
    })
}

/// A Pod's name as a DNS label, as Kubernetes makes its hostname: cut to what a label may hold.
fn hostname(name: &str) -> &str {
    let end = name.len().min(firmware_compat::capacity::full::NAMESPACE);
    name.get(..end).unwrap_or_default().trim_end_matches(['-', '.'])
}

/// Identity of a new Pod. The revision covers the template and the images' digests; the data of ConfigMaps and Secrets and
/// the compiled form of a module are not part of it, because they may change in place.
#[must_use]
pub fn identity(id: PodId, namespace: &str, name: &str, revision: &Revision) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(id.0);
    for part in [namespace, name, revision.hash.as_str()] {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    Hash(hasher.finalize().into())
}
