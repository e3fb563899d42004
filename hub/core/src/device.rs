//! One device, as the hub knows it: what it can do, what it holds, whether it can be heard.

use alloc::{
    borrow::ToOwned,
    collections::BTreeSet,
    string::{String, ToString},
    vec::Vec,
};

use core::time::Duration;

use firmware_compat::{
    frame::Stamp,
    id::{AgentId, ClaimId, Generation, Hash, PodId},
    time::{Instant, UnixMs},
    v1::owned::{AssignmentId, Hello, RuntimeClass, WasmSupport},
};

use crate::{
    api::{core::node::Taint, meta::Map},
    engine::ReportRequest,
    event::Platform,
    resolve::{Amount, TaintEffect},
    session::{Boards, SignedHead},
    state::Hearing,
};

/// One device.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its name: the topic level, the Node's name.
    pub name: String,
    /// The Node's uid.
    pub uid: String,
    /// When it was first heard of.
    pub created_ms: UnixMs,
    /// What it last said of itself, with the fields that always change set to nothing.
    pub facts: Hello,
    /// What the operator set.
    pub operator: Operator,
    /// The assignment that it should hold.
    pub desired: Desired,
    /// The assignment that it said it holds.
    pub acknowledged: Option<AssignmentId>,
    /// Whether it can be heard.
    pub presence: Presence,
    /// Why nothing is sent to it.
    pub conflict: Option<Conflict>,
    /// Whether it has said hello since this hub started, and so what it holds.
    pub met: bool,
    /// What it holds was not made here, as far as the hub remembers; what it runs is known with its next full report.
    pub unfamiliar: bool,
    /// Pods that it runs and this hub does not know: of a Node that was deleted, or of a hub's former life.
    pub unknown_pods: BTreeSet<PodId>,
    /// What it should run differs from its newest assignment; the next one is made when it can be heard.
    pub pending: bool,
    /// Whether it was told of its newest generation, or may have been, and nothing was heard of it since.
    pub told: Told,
    /// Whether it has reported in full in its session, and nothing that it said since was lost: of what it does not
    /// report it has nothing.
    pub heard_whole: bool,
    /// Whether it is asked to report again.
    pub request: ReportRequest,
    /// When it is reminded of its assignment, and for which time.
    pub retransmit: Option<(Instant, u32)>,
    /// When something is to be decided about it if it stays silent.
    pub watched_until: Option<Instant>,
    /// When it is asked whether it is there, if it stays silent.
    pub probe_at: Option<Instant>,
    /// When anything was last heard of it.
    pub heard_at: Instant,
    /// The boards that have come under its name since this hub started.
    pub boards: Boards,
    /// Of its last change, for the API.
    pub resource_version: u64,
}

/// What the operator set on a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Operator {
    /// Labels beside those that the agent brings.
    pub labels: Map,
    /// Annotations.
    pub annotations: Map,
    /// Taints.
    pub taints: Vec<Taint>,
    /// Nothing new is placed on it.
    pub unschedulable: bool,
}

/// The assignment that a device should hold.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// 0 before the first.
    pub generation: Generation,
    /// Of the body.
    pub hash: Option<Hash>,
    /// The body.
    pub body: Vec<u8>,
    /// What the body refers to.
    pub parts: crate::pod::Parts,
    /// Claims whose data the body has removed.
    pub removed_claims: Vec<ClaimId>,
    /// Hashes of the last generations, newest last and without gaps: a device that holds one of these generations
    /// with another hash was told so by a hub that this one's store does not know of.
    pub recent: Vec<(Generation, Hash)>,
    /// Its head, once it was signed.
    pub head: Option<SignedHead>,
}

/// Newest generation that a hub takes over from a device or its store. No fleet gets near it by counting, so whoever
/// names a greater one is damaged or lies; and from here the count can go on for ever.
pub const LAST_GENERATION: Generation = Generation(u64::MAX / 2);

/// Generations whose hashes are remembered per device, at the least.
pub const RECENT: usize = 8;
/// The same, at the most. Those that the device has not acknowledged yet are kept up to here, because it may hold any
/// of them: so many are made only for a device that can be heard and saves nothing while much changes.
pub const MOST_RECENT: usize = 64;

impl Desired {
    /// Makes the next generation, with this body. `acknowledged` is what the device said it holds.
    pub fn advance(&mut self, hash: Hash, body: Vec<u8>, acknowledged: Generation) {
        self.generation = Generation(self.generation.0 + 1);
        self.hash = Some(hash);
        self.body = body;
        self.recent.push((self.generation, hash));
        while let Some((oldest, _)) = self.recent.first() {
            let settled = *oldest <= acknowledged && self.recent.len() > RECENT;
            if !settled && self.recent.len() <= MOST_RECENT {
                break;
            }
            self.recent.remove(0);
        }
    }

    /// Whether a generation with this hash is known to have been made here.
    #[must_use]
    pub fn made(&self, generation: Generation, hash: Hash) -> bool {
        self.recent.contains(&(generation, hash))
    }

    /// Whether a generation with this hash was made by another hand.
    #[must_use]
    pub fn contradicts(&self, generation: Generation, hash: Hash) -> bool {
        generation > self.generation
            || self.recent.iter().any(|(known, made)| *known == generation && *made != hash)
    }
}

/// Whether a device has been heard since it was told of its newest generation. One that says nothing may be gone,
/// whatever its connection looks like: it is told of no more meanwhile, so that a hub that talks to nobody fills no
/// device with Pods that may run there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Told {
    /// It has been, or was told of nothing.
    #[default]
    Heard,
    /// Not yet.
    Unheard,
    /// Not yet, and what it should run has changed again.
    Withheld,
}

/// Whether a device can be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Its session is open.
    Online {
        /// Last frame of its session.
        stamp: Stamp,
        /// Since when.
        since_ms: UnixMs,
    },
    /// It can't be heard.
    Offline {
        /// Since when the hub could have heard it and did not. `None` while the hub's own link is down.
        since: Option<Instant>,
        /// The same, for people.
        since_ms: UnixMs,
    },
}

/// Why nothing is sent to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// It holds a newer assignment of this hub's lineage: this hub was restored from an older backup.
    Newer(Generation),
    /// It holds an assignment of another hub.
    Foreign(firmware_compat::id::Lineage),
}

impl Conflict {
    /// What happened and what to do.
    #[must_use]
    pub fn message(&self, device: &str) -> String {
        match self {
            Self::Newer(generation) => alloc::format!(
                "{device} holds generation {generation} of this hub's assignments, newer than the hub's own: the hub was restored from an older backup, or the device had another name then; check what it should run, then run: lichen resume {device}"
            ),
            Self::Foreign(lineage) => alloc::format!(
                "{device} holds an assignment of another hub (lineage {lineage}); to move it here, restart its agent once with --adopt-hub"
            ),
        }
    }
}

/// The form of an image that a device needs: what [`Platform`] keeps, without a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form<'a> {
    /// A container on this architecture.
    Container(&'a str),
    /// Wasm, compiled for this class.
    Wasm(&'a WasmSupport),
}

impl Form<'_> {
    /// The same, to be kept.
    #[must_use]
    pub fn target(&self) -> Platform {
        match self {
            Self::Container(arch) => Platform::Container { arch: (*arch).to_owned() },
            Self::Wasm(support) => Platform::Wasm((*support).clone()),
        }
    }
}

impl Device {
    /// A device that was never heard of before.
    #[must_use]
    pub fn new(name: &str, uid: String, facts: Hello, now: Instant, unix_ms: UnixMs) -> Self {
        Self {
            name: name.to_owned(),
            uid,
            created_ms: unix_ms,
            facts,
            operator: Operator::default(),
            desired: Desired::default(),
            acknowledged: None,
            presence: Presence::Offline { since: Some(now), since_ms: unix_ms },
            conflict: None,
            met: true,
            unfamiliar: false,
            unknown_pods: BTreeSet::new(),
            pending: false,
            told: Told::Heard,
            heard_whole: false,
            request: ReportRequest::default(),
            retransmit: None,
            watched_until: None,
            probe_at: None,
            heard_at: now,
            boards: Boards::default(),
            resource_version: 0,
        }
    }

    /// Whether its session is open.
    #[must_use]
    pub fn online(&self) -> bool {
        matches!(self.presence, Presence::Online { .. })
    }

    /// Whether the hub may have forgotten what it told the device: nothing is sent until the operator has looked. One
    /// that follows another hub is told all the same: it refuses, and its operator can have it change hubs.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self.conflict, Some(Conflict::Newer(_)))
    }

    /// Which agent it is.
    #[must_use]
    pub fn agent(&self) -> AgentId {
        self.facts.agent
    }

    /// Labels: those of the agent's command line, those of Kubernetes, those of the operator; the last wins. So no device
    /// goes by the host name of another.
    #[must_use]
    pub fn labels(&self) -> Map {
        let said = self.facts.labels.iter();
        let mut labels: Map =
            said.map(|label| (label.key.to_string(), label.value.to_string())).collect();
        labels.extend([
            ("kubernetes.io/hostname".to_owned(), self.name.clone()),
            ("kubernetes.io/arch".to_owned(), self.facts.arch.to_string()),
            ("kubernetes.io/os".to_owned(), self.facts.os.to_string()),
        ]);
        labels.extend(self.operator.labels.clone());
        labels
    }

    /// The value of a label; without building all labels.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        if let Some(own) = self.operator.labels.get(key) {
            return Some(own);
        }
        match key {
            "kubernetes.io/hostname" => Some(&self.name),
            "kubernetes.io/arch" => Some(&self.facts.arch),
            "kubernetes.io/os" => Some(&self.facts.os),
            _ => {
                let said = self.facts.labels.iter().rev().find(|label| &*label.key == key);
                said.map(|label| &*label.value)
            }
        }
    }

    /// The form of an image that it needs for a runtime class.
    ///
    /// # Errors
    /// It has no such runtime, or can't use it.
    pub fn form(&self, class: RuntimeClass) -> Result<Form<'_>, String> {
        let mut reason = None;
        let mut has = false;
        for runtime in self.facts.runtimes.iter().filter(|runtime| runtime.runtime_class == class) {
            if runtime.usable {
                has = true;
                break;
            }
            reason.get_or_insert(runtime);
        }
        if let Some(runtime) = reason.filter(|_| !has) {
            return Err(alloc::format!("{} is not usable: {}", runtime.name, runtime.reason));
        }
        match class {
            RuntimeClass::Container if has => Ok(Form::Container(&self.facts.arch)),
            RuntimeClass::Container => Err("it has no container runtime".to_owned()),
            RuntimeClass::Wasm => self
                .facts
                .wasm
                .as_ref()
                .filter(|_| has)
                .map(Form::Wasm)
                .ok_or_else(|| "it runs no Wasm".to_owned()),
            RuntimeClass::Firmware => Err("firmware can't be assigned yet".to_owned()),
        }
    }

    /// The same, to be kept.
    ///
    /// # Errors
    /// As for [`Self::form`].
    pub fn target(&self, class: RuntimeClass) -> Result<Platform, String> {
        self.form(class).map(|form| form.target())
    }

    /// Whether its Pods can be heard of, and if not, since when. It is away after `lost_after`.
    #[must_use]
    pub fn hearing(&self, lost_after: Duration, now: Instant) -> Hearing {
        match self.presence {
            Presence::Online { .. } => Hearing::Heard,
            Presence::Offline { since: None, .. } => Hearing::Silent(Instant(u64::MAX)),
            Presence::Offline { since: Some(since), .. } if since + lost_after <= now => {
                Hearing::Away(since)
            }
            Presence::Offline { since: Some(since), .. } => Hearing::Silent(since),
        }
    }

    /// What Pods may use in all.
    #[must_use]
    pub fn allocatable(&self) -> Amount {
        Amount { cpu_milli: u64::from(self.facts.cpu_milli), memory_bytes: self.facts.memory_bytes }
    }

    /// Taints of the operator, understood.
    pub fn taints(&self) -> impl Iterator<Item = (&Taint, TaintEffect)> {
        self.operator
            .taints
            .iter()
            .filter_map(|taint| TaintEffect::parse(&taint.effect).map(|effect| (taint, effect)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advanced(times: u64, acknowledged: Generation) -> Desired {
        let mut desired = Desired::default();
        for time in 0..times {
            desired.advance(Hash([u8::try_from(time).unwrap_or(0); 32]), Vec::new(), acknowledged);
        }
        desired
    }

    #[test]
    fn generations_that_a_device_may_hold_are_remembered() {
        let desired = advanced(20, Generation(3));
        assert_eq!(desired.recent.first().map(|(made, _)| made.0), Some(4));
        assert!(desired.contradicts(Generation(4), Hash([9; 32])), "made with another hash");
        assert!(!desired.contradicts(Generation(4), Hash([3; 32])));
        assert!(desired.contradicts(Generation(21), Hash([3; 32])), "never made");
    }

    #[test]
    fn what_is_remembered_of_a_device_is_bounded() {
        assert_eq!(advanced(200, Generation(0)).recent.len(), MOST_RECENT);
        assert_eq!(advanced(200, Generation(200)).recent.len(), RECENT);
    }
}
