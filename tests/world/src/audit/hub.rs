//! Checks of what a hub commits and publishes: why it lets go of a copy, whether generations rise.

use firmware_compat::{frame, id::PodId, v1::owned::Head};
use lichen_hub_core::{
    api::Kind,
    effect::Record,
    record::{self, KeyOf, ObjectRecord, PodRecord},
};

use crate::{
    World,
    declared::{Spec, Thing},
    manifests::{NodeSettings, Workload, root},
};

/// A device that was silent for so long may have its copies replaced.
const LOST_AFTER_MS: u64 = 300_000;

impl World {
    /// Looks at a commit of the hub before it counts.
    pub(crate) fn judge_commit(&mut self, records: &[Record]) {
        let mut changes: Vec<(PodId, Option<PodRecord>)> = Vec::new();
        let (mut retired, mut jobs) = (Vec::new(), Vec::new());
        for record in records {
            match record::parse_key(&record.key) {
                Some(KeyOf::Pod(id)) => {
                    let new = record.value.as_deref();
                    changes.push((id, new.and_then(|v| record::decode(&record.key, v).ok())));
                }
                Some(KeyOf::Revision(uid, hash)) => {
                    let slot = (uid.to_owned(), hash.to_owned());
                    let value = record.value.as_deref();
                    // One that goes may be that of a Pod that goes with it.
                    if let Some(new) = value.and_then(|v| record::decode(&record.key, v).ok()) {
                        self.audit.revisions.insert(slot, new);
                    }
                }
                Some(KeyOf::Device(name)) if record.value.is_none() => {
                    retired.push(name.to_owned());
                }
                Some(KeyOf::Object(key)) => {
                    let value = record.value.as_deref();
                    let stored = || value.and_then(|v| record::decode::<ObjectRecord>("", v).ok());
                    let thing = match key.kind {
                        Kind::Deployment => Thing::Deployment(key.name),
                        Kind::DaemonSet => Thing::DaemonSet(key.name),
                        Kind::Job => {
                            jobs.push((key.clone(), stored()));
                            Thing::Job(key.name)
                        }
                        _ => continue,
                    };
                    let stored = stored();
                    let uid = stored.as_ref().and_then(uid).unwrap_or_default();
                    let roots = stored.map(|stored| stored.roots).unwrap_or_default();
                    self.audit.uids.insert(thing.clone(), uid);
                    self.audit.roots.insert(thing, roots);
                }
                _ => {}
            }
        }
        for (id, new) in &changes {
            if let Some(new) = new.as_ref().filter(|new| new.owner_kind == Kind::Job) {
                self.audit.jobs.has_pod(*id, &new.owner_uid);
            }
        }
        for (key, stored) in jobs {
            self.judge_job(&key, stored.as_ref());
        }
        // Copies that are new count when it is asked whether there are too many.
        for (id, new) in &changes {
            if let Some(new) = new.as_ref().filter(|_| !self.audit.pods.contains_key(id)) {
                self.audit.pods.insert(*id, new.clone());
            }
        }
        for (id, new) in changes {
            let old = self.audit.pods.get(&id).cloned();
            let lets_go = new.as_ref().is_none_or(|new| new.deleting_ms.is_some());
            if let Some(old) = old.filter(|old| lets_go && old.deleting_ms.is_none())
                && !retired.iter().any(|name| old.device.as_ref() == Some(name))
            {
                self.judge_letting_go(&old);
            }
            match new {
                Some(new) => {
                    if let Some(device) = new.device.clone() {
                        self.audit.assigned.insert((device, id, new.identity));
                    }
                    self.audit.pods.insert(id, new);
                }
                None => {
                    self.audit.pods.remove(&id);
                }
            }
        }
    }

    /// What a second hub assigned is assigned, too.
    pub(crate) fn note_assigned(&mut self, records: &[Record]) {
        for record in records {
            let Some(KeyOf::Pod(id)) = record::parse_key(&record.key) else { continue };
            let Some(value) = &record.value else { continue };
            let Ok(new) = record::decode::<PodRecord>(&record.key, value) else { continue };
            if let Some(device) = new.device {
                self.audit.assigned.insert((device, id, new.identity));
            }
        }
    }

    /// The store is another one now: the mirrors follow.
    pub(crate) fn mirror_store(&mut self) {
        let records: Vec<Record> = self.hubs[0]
            .records
            .iter()
            .map(|(key, value)| Record { key: key.clone(), value: Some(value.clone()) })
            .collect();
        self.audit.pods.clear();
        self.audit.uids.clear();
        self.audit.roots.clear();
        self.audit.revisions.clear();
        self.judge_commit(&records);
    }

    fn judge_letting_go(&mut self, copy: &PodRecord) {
        // One that no device has is nobody's loss.
        let (Some(device), Some(_)) = (&copy.device, &copy.supply) else { return };
        // Those of a Job go when it has ended, and it has a check of its own.
        if copy.owner_kind == Kind::Job {
            return;
        }
        let thing = match copy.owner_kind {
            Kind::DaemonSet => Thing::DaemonSet(copy.owner.clone()),
            _ => Thing::Deployment(copy.owner.clone()),
        };
        let silent = self
            .audit
            .absent
            .get(device)
            .is_some_and(|since| self.now.saturating_sub(*since) + 10_000 >= LOST_AFTER_MS);
        let another = self.audit.uids.get(&thing).is_some_and(|uid| *uid != copy.owner_uid);
        let asked = self.audit.deleted_pods.contains(&copy.name);
        let nodes = self.declared.possible(&Thing::Node(device.clone()));
        let reason = silent
            || another
            || asked
            || self.declared.possible(&thing).iter().any(|spec| match spec {
                Some(Spec::Workload(workload)) => {
                    self.differs(copy, workload)
                        || self.is_surplus(copy, workload)
                        || nodes.iter().any(|node| self.drives_out(copy, workload, node.as_ref()))
                }
                Some(_) => false,
                None => true,
            });
        if !reason {
            let what = format!("the hub lets go of {} on {device} for no reason", copy.name);
            self.fail("no-restart-without-reason", &what);
        }
    }

    /// Whether a copy is of another template than the workload's, or of another image behind the same name.
    fn differs(&self, copy: &PodRecord, workload: &Workload) -> bool {
        let Some(revision) = self.audit.revision(copy) else { return true };
        let images = self.declared.possible(&Thing::Image(workload.image.clone()));
        let moved = images.iter().any(|push| {
            let now = match push {
                Some(Spec::Image(push)) => Some(root(&workload.image, *push)),
                _ => None,
            };
            revision.roots.get(&workload.image).copied().flatten() != now
        });
        moved
            || workload
                .pod_template(&copy.owner)
                .is_none_or(|template| template != revision.template)
    }

    fn is_surplus(&self, copy: &PodRecord, workload: &Workload) -> bool {
        let Some(replicas) = workload.replicas else { return false };
        let of_it = |other: &&PodRecord| {
            other.owner == copy.owner
                && other.owner_kind == copy.owner_kind
                && other.deleting_ms.is_none()
        };
        self.audit.pods.values().filter(of_it).count() > replicas as usize
    }

    fn drives_out(&self, copy: &PodRecord, workload: &Workload, node: Option<&Spec>) -> bool {
        let settings = match node {
            Some(Spec::Node(settings)) => settings.clone(),
            _ => NodeSettings::default(),
        };
        let tainted =
            !workload.tolerates && settings.taints.iter().any(|effect| effect == "NoExecute");
        let device = copy.device.as_deref().unwrap_or_default();
        let unchosen = copy.owner_kind == Kind::DaemonSet
            && !self.has_label(device, &settings, workload.selector.as_ref());
        tainted || unchosen
    }

    /// Whether a device has a label, by what the operator or its agent says.
    pub(crate) fn has_label(
        &self,
        device: &str,
        settings: &NodeSettings,
        wanted: Option<&(String, String)>,
    ) -> bool {
        let Some((key, value)) = wanted else { return true };
        let brought = self
            .boards
            .iter()
            .find(|board| board.name == device)
            .and_then(|board| board.facts.labels.get(key));
        settings.labels.get(key).or(brought) == Some(value)
    }

    /// Looks at a head that the hub publishes.
    pub(crate) fn judge_head(&mut self, device: &str, bytes: &[u8]) {
        if bytes.len() >= 200 {
            self.fail("wire-budget", &format!("a head of {} bytes", bytes.len()));
        }
        let Ok((_, head)) = frame::decode::<Head>(bytes) else {
            return self.fail("bounds-hold", "a head of the hub does not decode");
        };
        let generation = head.assignment.generation;
        self.audit.written.insert(head.assignment.hash);
        self.audit.wire.allow(device, 30);
        let before = self.audit.heads.insert(device.to_owned(), generation);
        if before.is_some_and(|before| before > generation) {
            let what = format!("the head of {device} goes from {before:?} to {generation}");
            self.fail("generations-rise", &what);
        }
    }
}

fn uid(stored: &ObjectRecord) -> Option<String> {
    Some(stored.object["metadata"]["uid"].as_str()?.to_owned())
}
