//! From records to an engine, and from devices and Pods to records. A record that can't be read stops the load:
//! a hub that forgot a part of its state would tell devices to stop what they run.

use alloc::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use firmware_compat::{
    id::{Generation, Lineage, PodId},
    topic,
};

use crate::{
    api::{
        Key, Kind, Namespace, Object, ObjectMeta,
        core::{namespace::NamespaceStatus, pod::PodTemplate, secret::Data},
        resource::RestartRule,
    },
    controller::Scope,
    device::{Conflict, Desired, Device, LAST_GENERATION, Presence, Told},
    engine::{Config, Dirty, Engine, Metrics, ReportRequest, Sessions, Timer, Versions},
    enrolment,
    event::Now,
    pod::{Deleting, Pod, Revision},
    record::{
        self, DeviceRecord, KeyOf, LoadError, ObjectRecord, PodRecord, RevisionRecord, SupplyRecord,
    },
    recorder::Recorder,
    resolve,
    rng::Rng,
    session::{Boards, hello::BEACON_EVERY, known_time::KnownTime},
    signing::Sign,
    state::{Progress, Saved, State, Stored, Tally},
};

impl Engine {
    /// An engine from all records of its store, or a new one from none. `signer`: by which devices know it.
    ///
    /// # Errors
    /// [`LoadError`] if a record is damaged or from a newer hub.
    pub fn load(
        records: impl IntoIterator<Item = (String, Vec<u8>)>,
        config: Config,
        signer: Arc<dyn Sign>,
        now: Now,
    ) -> Result<Self, LoadError> {
        let mut engine = Self::empty(config, signer, now);
        let (mut fresh, mut pods) = (true, Vec::new());
        for (key, value) in records {
            engine.load_record(&key, &value, &mut pods)?;
            fresh = false;
        }
        if fresh {
            engine.found();
        }
        engine.connect_records(pods)?;
        engine.update_default_access();
        engine.make_default_class();
        engine.next_resource_version();
        engine.admit_all();
        engine.timers.insert((engine.now + BEACON_EVERY, Timer::Beacon));
        Ok(engine)
    }

    fn empty(config: Config, signer: Arc<dyn Sign>, now: Now) -> Self {
        let mut known = KnownTime::default();
        known.set(now.unix_ms, now.instant);
        Self {
            rng: Rng::new(config.seed),
            config,
            signer,
            known,
            lineage: Lineage([0; 16]),
            versions: Versions::default(),
            state: State::default(),
            sessions: Sessions::default(),
            parts: core::cell::RefCell::default(),
            recorder: Recorder::default(),
            timers: BTreeSet::new(),
            dirty: Dirty::default(),
            no_room: BTreeSet::new(),
            over_quota: BTreeSet::new(),
            steps_left: 0,
            seals_left: 0,
            wakes: BTreeMap::new(),
            records: BTreeMap::new(),
            effects: Vec::new(),
            metrics: Metrics::default(),
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

    fn load_record(
        &mut self,
        key: &str,
        value: &[u8],
        pods: &mut Vec<(PodId, PodRecord)>,
    ) -> Result<(), LoadError> {
        if let Some(of) = record::parse_former_data(key) {
            return self.load_former_data(key, &of, value);
        }
        let parsed = record::parse_key(key).ok_or_else(|| damaged(key, "its key is unknown"))?;
        match parsed {
            KeyOf::Meta => {
                let meta: record::Meta = record::decode(key, value)?;
                if meta.reserved_resource_version > record::LAST_RESOURCE_VERSION {
                    return Err(damaged(key, "its resource version is one that no hub reaches"));
                }
                self.lineage = meta.lineage;
                self.versions.last = meta.reserved_resource_version;
                self.versions.reserved = meta.reserved_resource_version;
            }
            KeyOf::Time => self.known.load(record::decode(key, value)?),
            KeyOf::Object(id) => self.load_object(key, id, record::decode(key, value)?)?,
            // Their revisions may come after them.
            KeyOf::Pod(id) => pods.push((id, record::decode(key, value)?)),
            KeyOf::Revision(uid, hash) => {
                let saved = load_saved(key, hash, record::decode(key, value)?)?;
                self.state.revisions.insert(uid, saved);
            }
            KeyOf::Device(name) => {
                let stored: DeviceRecord = record::decode(key, value)?;
                check_device(key, name, stored.generation)?;
                let device = self.load_device(name, stored);
                self.state.fleet.insert(device);
            }
            KeyOf::Retired(name) => {
                let generation = record::decode(key, value)?;
                check_device(key, name, generation)?;
                self.state.fleet.set_retired(name, generation);
            }
            KeyOf::Withdrawn(serial) => {
                let end_ms = record::decode(key, value)?;
                if enrolment::bytes_of(serial).is_none() {
                    return Err(damaged(key, "it is no serial number"));
                }
                self.state.withdrawn.insert(serial.to_string(), end_ms);
            }
            KeyOf::Image(reference) => {
                self.state.images.name(reference, record::decode(key, value)?);
            }
            KeyOf::Data(of) => {
                let data: record::DataRecord = record::decode(key, value)?;
                if self.state.objects.data(&of).is_none() {
                    self.state.objects.set_data(&of, Arc::new(data.data));
                }
            }
        }
        Ok(())
    }

    /// Data of a deleted ConfigMap as hubs kept it that had no Secrets: it is kept as other data from now on.
    fn load_former_data(&mut self, key: &str, of: &Key, value: &[u8]) -> Result<(), LoadError> {
        let former: BTreeMap<String, Vec<u8>> = record::decode(key, value)?;
        let data: Data = former.into_iter().map(|(name, bytes)| (name, bytes.into())).collect();
        let record = record::encode(&record::DataRecord { data: data.clone() });
        self.records.insert(key.to_string(), None);
        self.records.insert(record::data_key(of), Some(record));
        if self.state.objects.data(of).is_none() {
            self.state.objects.set_data(of, Arc::new(data));
        }
        Ok(())
    }

    fn load_object(&mut self, key: &str, id: Key, stored: ObjectRecord) -> Result<(), LoadError> {
        let damaged_by = |error| record::damaged(key, &error);
        let json = serde_json::to_vec(&stored.object).map_err(damaged_by)?;
        let object = Object::from_json(id.kind, &json).map_err(damaged_by)?;
        let revision = object
            .template()
            .map(|(written, rule)| {
                let template = stored.template.map_or(written, Cow::Owned);
                load_revision(key, id.kind, &template, rule, stored.roots)
            })
            .transpose()?;
        match &object {
            Object::ConfigMap(map) => {
                let data = map.files().map_err(|(_, cause)| damaged(key, cause))?;
                self.state.objects.set_data(&id, Arc::new(data));
            }
            Object::Secret(secret) => {
                self.state.objects.set_data(&id, Arc::new(secret.data.clone()));
            }
            _ => {}
        }
        let resource_version = object.meta().resource_version.parse().unwrap_or(0);
        let tally = match &object {
            Object::Job(job) => Tally::of(&job.status),
            _ => Tally::default(),
        };
        let stored = Stored {
            object: Arc::new(object),
            resource_version,
            revision,
            bytes: json.len(),
            progress: Progress::default(),
            tally,
        };
        self.state.objects.insert(&id, stored);
        Ok(())
    }

    fn load_device(&self, name: &str, stored: DeviceRecord) -> Device {
        let desired = Desired {
            generation: stored.generation,
            hash: stored.hash,
            body: Vec::new(),
            parts: BTreeMap::new(),
            removed_claims: Vec::new(),
            recent: stored.recent,
            head: None,
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
            request: ReportRequest::default(),
            unfamiliar: false,
            unknown_pods: BTreeSet::new(),
            pending: false,
            told: Told::Heard,
            retransmit: None,
            watched_until: None,
            probe_at: None,
            heard_at: self.now,
            boards: Boards::default(),
            resource_version: self.versions.last,
        }
    }

    /// Connects what the records only name: Pods with their workloads, devices and revisions.
    fn connect_records(&mut self, pods: Vec<(PodId, PodRecord)>) -> Result<(), LoadError> {
        for (id, stored) in pods {
            let saved = self.state.revisions.get(&stored.owner_uid, &stored.revision);
            let revision = saved.map(|saved| saved.revision.clone()).ok_or_else(|| {
                let cause = alloc::format!("its revision {} is not there", stored.revision);
                damaged(&record::pod_key(id), cause)
            })?;
            let pod = load_pod(id, stored, revision, self.versions.last);
            self.state.pods.insert(pod, self.now);
        }
        self.show_loaded_revisions();
        for name in self.state.fleet.names().cloned().collect::<Vec<_>>() {
            self.tell_hearing(&name);
            // Every assignment is made again from the same parts. An equal hash keeps the generation; another one means
            // that this build writes assignments differently, and each device gets a new generation after its hello.
            self.dirty.assignments.insert(name);
        }
        for key in self.state.objects.workloads().clone() {
            self.load_progress(&key);
            self.dirty.workloads.insert(key, Scope::All);
        }
        // What a workload left behind that is gone.
        for key in self.state.pods.iter().map(|pod| &pod.owner) {
            self.dirty.workloads.entry(key.clone()).or_default();
        }
        Ok(())
    }
}

impl Engine {
    /// What was rolled out to the end stays so, whichever of its devices are away now.
    fn load_progress(&mut self, key: &Key) {
        let Some(stored) = self.state.objects.get(key) else { return };
        let newest = self.state.revisions.newest(&stored.object.meta().uid);
        if let Some(newest) = newest.filter(|newest| newest.complete) {
            let revision = newest.revision.hash.clone();
            let progress =
                Progress { revision, complete: true, since: self.now, ..Progress::default() };
            self.state.objects.set_progress(key, progress);
        }
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
    kind: Kind,
    template: &PodTemplate,
    rule: RestartRule,
    roots: resolve::Roots,
) -> Result<Arc<Revision>, LoadError> {
    let resolved = resolve::resolve_of(kind, "template", template, rule).map_err(|errors| {
        let causes: Vec<_> = errors.iter().map(ToString::to_string).collect();
        damaged(key, causes.join("; "))
    })?;
    Ok(Arc::new(Revision::new(template, resolved, roots)))
}

fn load_saved(key: &str, hash: &str, stored: RevisionRecord) -> Result<Saved, LoadError> {
    let (kind, any) = (stored.owner_kind, RestartRule::Any);
    let revision = load_revision(key, kind, &stored.template, any, stored.roots)?;
    let Revision { template, resolved, roots, .. } = revision.as_ref();
    // The hash stays what it was when the revision was made: a newer hub must not restart what runs.
    let revision = Revision::saved(hash.to_string(), template, resolved.clone(), roots.clone());
    Ok(Saved {
        owner: Key::new(stored.owner_kind, &stored.namespace, &stored.owner),
        revision: Arc::new(revision),
        number: stored.number,
        created_ms: stored.created_ms,
        annotations: stored.annotations,
        complete: stored.complete,
        shown: None,
    })
}

fn load_pod(id: PodId, stored: PodRecord, revision: Arc<Revision>, version: u64) -> Pod {
    Pod {
        id,
        identity: stored.identity,
        owner: Key::new(stored.owner_kind, &stored.namespace, &stored.owner),
        owner_uid: stored.owner_uid,
        name: stored.name,
        index: stored.index,
        counted: stored.counted,
        grace_s: None,
        revision,
        created_ms: stored.created_ms,
        priority: stored.priority,
        device: stored.device,
        supply: stored.supply.and_then(SupplyRecord::into_parts),
        deleting: stored
            .deleting_ms
            .map(|since_ms| Deleting { since_ms, released: stored.released }),
        report: stored.report,
        assigned: stored.assigned,
        after: stored.after,
        waiting: None,
        resource_version: version,
    }
}

pub(crate) fn pod_record(pod: &Pod) -> PodRecord {
    PodRecord {
        identity: pod.identity,
        owner_kind: pod.owner.kind,
        namespace: pod.owner.namespace.clone(),
        owner: pod.owner.name.clone(),
        owner_uid: pod.owner_uid.clone(),
        name: pod.name.clone(),
        index: pod.index,
        counted: pod.counted,
        revision: pod.revision.hash.clone(),
        created_ms: pod.created_ms,
        device: pod.device.clone(),
        supply: pod.supply.as_ref().map(|(t, a)| SupplyRecord::new(t, a)),
        deleting_ms: pod.deleting.map(|deleting| deleting.since_ms),
        released: pod.deleting.and_then(|deleting| deleting.released),
        report: pod.report.clone(),
        assigned: pod.assigned,
        after: pod.after.clone(),
        priority: pod.priority,
    }
}

pub(crate) fn device_record(device: &Device) -> DeviceRecord {
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
