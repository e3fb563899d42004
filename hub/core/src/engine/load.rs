//! From records to an engine, and from devices and Pods to records. A record that can't be read stops the load:
//! a hub that forgot a part of its state would tell devices to stop what they run.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use firmware_compat::{
    id::{Generation, Lineage, PodId},
    topic,
};

use super::{Config, Dirty, Engine, Figures, Stored, Timer, happenings, logs, refusals, supply};
use crate::{
    api::{
        Key, Namespace, Object, ObjectMeta,
        core::{namespace::NamespaceStatus, pod::PodTemplate},
        resource::RestartRule,
    },
    device::{Conflict, Desired, Device, LAST_GENERATION, Presence},
    event::Now,
    pod::{Deleting, Pod, Revision},
    record::{self, DeviceRecord, KeyOf, LoadError, ObjectRecord, PodRecord, SupplyRecord},
    resolve::{self, Amount},
    rng::Rng,
};

/// Greatest resource version that a store may have reserved: counting never gets there, and can go on from there.
const LAST_RESOURCE_VERSION: u64 = u64::MAX / 2;

impl Engine {
    /// An engine from all records of its store, or a new one from none.
    ///
    /// # Errors
    /// [`LoadError`] if a record is damaged or from a newer hub.
    pub fn load(
        records: impl IntoIterator<Item = (String, Vec<u8>)>,
        config: Config,
        now: Now,
    ) -> Result<Self, LoadError> {
        let mut engine = Self::empty(config, now);
        let mut fresh = true;
        for (key, value) in records {
            engine.load_record(&key, &value)?;
            fresh = false;
        }
        if fresh {
            engine.found();
        }
        engine.connect_records();
        engine.next_resource_version();
        engine.timers.insert((engine.now + super::devices::BEACON_EVERY, Timer::Beacon));
        Ok(engine)
    }

    fn empty(config: Config, now: Now) -> Self {
        Self {
            rng: Rng::new(config.seed),
            config,
            lineage: Lineage([0; 16]),
            resource_version: 0,
            reserved_resource_version: 0,
            objects: BTreeMap::new(),
            configs: BTreeMap::new(),
            parts: core::cell::RefCell::default(),
            devices: BTreeMap::new(),
            retired: BTreeMap::new(),
            pods: BTreeMap::new(),
            by_owner: BTreeMap::new(),
            by_name: BTreeMap::new(),
            images: BTreeMap::new(),
            supply: supply::Supply::default(),
            logs: logs::Logs::default(),
            happenings: happenings::Happenings::default(),
            refusals: refusals::Refusals::default(),
            full_reports: BTreeMap::new(),
            timers: BTreeSet::new(),
            link_up: false,
            sequence: 0,
            dirty: Dirty::default(),
            records: BTreeMap::new(),
            effects: Vec::new(),
            figures: Figures::default(),
            unix_ms: now.unix_ms,
            now: now.instant,
        }
    }

    /// A new store: its lineage, and the namespace that Kubernetes users expect.
    fn found(&mut self) {
        self.lineage = Lineage(self.rng.id().0);
        let namespace = Object::Namespace(Namespace {
            metadata: ObjectMeta { name: "default".to_string(), ..ObjectMeta::default() },
            status: NamespaceStatus { phase: "Active".to_string() },
        });
        self.create_stored(namespace, None);
        self.save_meta();
    }

    fn load_record(&mut self, key: &str, value: &[u8]) -> Result<(), LoadError> {
        let parsed = record::parse_key(key).ok_or_else(|| damaged(key, "its key is unknown"))?;
        match parsed {
            KeyOf::Meta => {
                let meta: record::Meta = record::decode(key, value)?;
                if meta.reserved_resource_version > LAST_RESOURCE_VERSION {
                    return Err(damaged(key, "its resource version is one that no hub reaches"));
                }
                self.lineage = meta.lineage;
                self.resource_version = meta.reserved_resource_version;
                self.reserved_resource_version = meta.reserved_resource_version;
            }
            KeyOf::Object(id) => self.load_object(key, id, record::decode(key, value)?)?,
            KeyOf::Pod(id) => {
                let pod = load_pod(key, id, record::decode(key, value)?)?;
                self.pods.insert(id, pod);
            }
            KeyOf::Device(name) => {
                let stored: DeviceRecord = record::decode(key, value)?;
                check_device(key, name, stored.generation)?;
                let device = self.load_device(name, stored);
                self.devices.insert(name.to_string(), device);
            }
            KeyOf::Retired(name) => {
                let generation = record::decode(key, value)?;
                check_device(key, name, generation)?;
                self.retired.insert(name.to_string(), generation);
            }
            KeyOf::Image(reference) => {
                self.images.insert(reference.to_string(), record::decode(key, value)?);
            }
            KeyOf::Config(namespace, name) => {
                let data: record::ConfigRecord = record::decode(key, value)?;
                let slot = (namespace.to_string(), name.to_string());
                self.configs.entry(slot).or_insert_with(|| Arc::new(data));
            }
        }
        Ok(())
    }

    fn load_object(&mut self, key: &str, id: Key, stored: ObjectRecord) -> Result<(), LoadError> {
        let json = serde_json::to_vec(&stored.object).map_err(|e| damaged(key, e))?;
        let object = Object::from_json(id.kind, &json).map_err(|e| damaged(key, e))?;
        let revision = object
            .template()
            .map(|(template, rule)| load_revision(key, template, rule, stored.roots))
            .transpose()?;
        if let Object::ConfigMap(map) = &object {
            let data = map.files().map_err(|(_, cause)| damaged(key, cause))?;
            let slot = (map.metadata.namespace.clone(), map.metadata.name.clone());
            self.configs.insert(slot, Arc::new(data));
        }
        let resource_version = object.meta().resource_version.parse().unwrap_or(0);
        self.objects.insert(
            id,
            Stored { object: Arc::new(object), resource_version, revision, bytes: json.len() },
        );
        Ok(())
    }

    fn load_device(&self, name: &str, stored: DeviceRecord) -> Device {
        let desired = Desired {
            generation: stored.generation,
            hash: stored.hash,
            body: Vec::new(),
            parts: BTreeMap::new(),
            recent: stored.recent,
        };
        let conflict = stored
            .acknowledged
            .filter(|held| desired.contradicts(held.generation, held.hash))
            .map(|held| Conflict::Newer(held.generation));
        Device {
            name: name.to_string(),
            uid: stored.uid,
            created_ms: stored.created_ms,
            facts: stored.facts,
            operator: stored.operator,
            desired,
            acknowledged: stored.acknowledged,
            presence: Presence::Offline { since: None, since_ms: self.unix_ms },
            conflict,
            met: false,
            heard_whole: false,
            asking: super::Asking::default(),
            unfamiliar: false,
            strangers: BTreeSet::new(),
            pending: false,
            reminder: None,
            watched_until: None,
            pods: BTreeSet::new(),
            allocated: Amount::default(),
            resource_version: self.resource_version,
        }
    }

    /// Connects what the records only name: Pods with their workloads, devices and revisions.
    fn connect_records(&mut self) {
        let mut revisions: BTreeMap<(Key, String), Arc<Revision>> = BTreeMap::new();
        for (key, stored) in &self.objects {
            if let Some(revision) = &stored.revision {
                revisions.insert((key.clone(), revision.hash.clone()), revision.clone());
            }
        }
        for pod in self.pods.values_mut() {
            let shared = (pod.owner.clone(), pod.revision.hash.clone());
            let revision = revisions.entry(shared).or_insert_with(|| pod.revision.clone());
            pod.revision = revision.clone();
            pod.resource_version = self.resource_version;
            self.by_owner.entry(pod.owner.clone()).or_default().insert(pod.id);
            self.by_name.insert(pod.key(), pod.id);
            let device = pod.device.as_ref().and_then(|name| self.devices.get_mut(name));
            if let Some(device) = device {
                device.pods.insert(pod.id);
                if pod.deleting.is_none() {
                    device.allocated.add(pod.revision.resolved.requests);
                }
            }
        }
        // Every assignment is made again from the same parts. An equal hash keeps the generation; another one means
        // that this build writes assignments differently, and each device gets a new generation after its hello.
        self.dirty.assignments.extend(self.devices.keys().cloned());
        self.dirty_all_workloads();
    }
}

/// A device's name becomes a topic, and its generation is counted on.
fn check_device(key: &str, name: &str, generation: Generation) -> Result<(), LoadError> {
    if !topic::is_device_name(name) {
        return Err(damaged(key, "its key is no device's name"));
    }
    if generation > LAST_GENERATION {
        return Err(damaged(key, "its generation is one that no hub reaches"));
    }
    Ok(())
}

fn damaged(key: &str, cause: impl ToString) -> LoadError {
    LoadError::Damaged { key: key.to_string(), cause: cause.to_string() }
}

fn load_revision(
    key: &str,
    template: &PodTemplate,
    rule: RestartRule,
    roots: resolve::Roots,
) -> Result<Arc<Revision>, LoadError> {
    let resolved = resolve::resolve("template", template, rule).map_err(|errors| {
        let causes: Vec<_> = errors.iter().map(ToString::to_string).collect();
        damaged(key, causes.join("; "))
    })?;
    Ok(Arc::new(Revision::new(template, resolved, roots)))
}

fn load_pod(key: &str, id: PodId, stored: PodRecord) -> Result<Pod, LoadError> {
    Ok(Pod {
        id,
        identity: stored.identity,
        owner: Key::new(stored.owner_kind, &stored.namespace, &stored.owner),
        owner_uid: stored.owner_uid,
        name: stored.name,
        revision: load_revision(key, &stored.template, RestartRule::Any, stored.roots)?,
        created_ms: stored.created_ms,
        device: stored.device,
        supply: stored.supply.and_then(SupplyRecord::into_parts),
        deleting: stored
            .deleting_ms
            .map(|since_ms| Deleting { since_ms, released: stored.released }),
        report: stored.report,
        assigned: stored.assigned,
        after: stored.after,
        waiting: None,
        resource_version: 0,
    })
}

pub(super) fn pod_record(pod: &Pod) -> PodRecord {
    PodRecord {
        identity: pod.identity,
        owner_kind: pod.owner.kind,
        namespace: pod.owner.namespace.clone(),
        owner: pod.owner.name.clone(),
        owner_uid: pod.owner_uid.clone(),
        name: pod.name.clone(),
        template: pod.revision.template.clone(),
        roots: pod.revision.roots.clone(),
        created_ms: pod.created_ms,
        device: pod.device.clone(),
        supply: pod.supply.as_ref().map(|(t, a)| SupplyRecord::new(t, a)),
        deleting_ms: pod.deleting.map(|deleting| deleting.since_ms),
        released: pod.deleting.and_then(|deleting| deleting.released),
        report: pod.report.clone(),
        assigned: pod.assigned,
        after: pod.after.clone(),
    }
}

pub(super) fn device_record(device: &Device) -> DeviceRecord {
    DeviceRecord {
        uid: device.uid.clone(),
        created_ms: device.created_ms,
        facts: device.facts.clone(),
        operator: device.operator.clone(),
        generation: device.desired.generation,
        hash: device.desired.hash,
        recent: device.desired.recent.clone(),
        acknowledged: device.acknowledged,
    }
}
