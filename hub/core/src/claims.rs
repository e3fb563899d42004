//! The life of claims: bound with the first Pod that uses them, to the device of that Pod; kept while a Pod uses them;
//! and what becomes of their data then. What a device is to remove is in its assignment until it has acknowledged that.

mod sets;

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};

use firmware_compat::{
    id::{Generation, PodId},
    v1::owned::Severity,
};

use crate::{
    api::{
        ApiError, Key, Kind, Object, ObjectMeta, PersistentVolume, PersistentVolumeClaim,
        core::{
            persistent_volume::{
                BOUND_TO, LocalVolume, PV_PROTECTION, PersistentVolumeSpec, PersistentVolumeStatus,
                SIZE_ENFORCED,
            },
            persistent_volume_claim::{PersistentVolumeClaimStatus, SELECTED_NODE, STORAGE},
        },
        meta::ObjectReference,
        quantity::Amounts,
        storage::{StorageClass, storage_class::BUILT_IN},
        time::rfc3339,
    },
    effect::{Action, Response},
    engine::Engine,
    pod::{Pod, Waiting},
};

/// Reason of a Pod that can't be given its claims.
const UNUSABLE: &str = "ClaimNotUsable";

impl Engine {
    /// Adds the class that every hub has.
    pub(crate) fn make_default_class(&mut self) {
        let class = Object::StorageClass(StorageClass::built_in());
        if !self.state.objects.contains(&class.key()) {
            self.create_default(class);
        }
    }

    /// Binds the claims of a Pod that are not bound yet to its device.
    ///
    /// # Errors
    /// The Pod can't use them there.
    pub(crate) fn bind_claims(&mut self, id: PodId, name: &str) -> Result<(), Waiting> {
        let Some(pod) = self.state.pods.get(id) else { return Ok(()) };
        let claims = pod.claims();
        let Some(device) = self.state.fleet.get(name).filter(|_| !claims.is_empty()) else {
            return Ok(());
        };
        self.state
            .check_claims(&claims, device, Some(id))
            .map_err(|reason| Waiting::new(UNUSABLE, format!("{name}: {}", reason.describe())))?;
        for key in claims {
            self.bind(&key, name);
        }
        Ok(())
    }

    /// A Pod whose claims can't be had where it was to go waits, and looks for another place if it may.
    pub(crate) fn refuse_place(&mut self, id: PodId, waiting: Waiting) {
        let is_movable =
            |pod: &&Pod| !pod.assigned && pod.supply.is_none() && pod.owner.kind != Kind::DaemonSet;
        if self.state.pods.get(id).filter(is_movable).is_some() {
            self.change_pod(id, |pod| pod.device = None);
            self.dirty.pods.insert(id);
            self.touch_pod(id);
        }
        self.set_waiting(id, Some(waiting));
    }

    fn bind(&mut self, key: &Key, device: &str) {
        let Some(claim) = self.state.objects.claim(key).cloned() else { return };
        if !claim.spec.volume_name.is_empty() {
            return;
        }
        let Some(volume) = self.volume_for(&claim, device) else { return };
        let (name, capacity) = (volume.metadata.name.clone(), volume.spec.capacity.clone());
        self.create_stored(Object::PersistentVolume(volume), None);
        let mut bound = claim;
        bound.spec.volume_name.clone_from(&name);
        bound.metadata.annotations.insert(SELECTED_NODE.to_owned(), device.to_owned());
        bound.status = PersistentVolumeClaimStatus {
            phase: "Bound".to_owned(),
            access_modes: bound.spec.access_modes.clone(),
            capacity,
            conditions: Vec::new(),
        };
        self.put(Object::PersistentVolumeClaim(bound), None, Action::Modified);
        let message = format!("bound to {name} on {device}");
        self.record(key, Severity::Normal, "ProvisioningSucceeded", message);
        self.wake_users(key);
    }

    /// The volume of a claim on a device.
    fn volume_for(&self, claim: &PersistentVolumeClaim, device: &str) -> Option<PersistentVolume> {
        let facts = &self.state.fleet.get(device)?.facts;
        let meta = &claim.metadata;
        let class = self.state.objects.class(claim.class());
        let enforced = if facts.storage.sizes_enforced { "true" } else { "false" };
        let mut metadata = ObjectMeta {
            name: format!("pvc-{}", meta.uid),
            finalizers: Vec::from([PV_PROTECTION.to_owned()]),
            ..ObjectMeta::default()
        };
        metadata.annotations.extend([
            (BOUND_TO.to_owned(), facts.agent.to_string()),
            (SIZE_ENFORCED.to_owned(), enforced.to_owned()),
        ]);
        Some(PersistentVolume {
            metadata,
            spec: PersistentVolumeSpec {
                capacity: capacity_of(claim),
                access_modes: claim.spec.access_modes.clone(),
                claim_ref: Some(ObjectReference {
                    api_version: Kind::PersistentVolumeClaim.api_version().to_owned(),
                    kind: Kind::PersistentVolumeClaim.as_str().to_owned(),
                    namespace: meta.namespace.clone(),
                    name: meta.name.clone(),
                    uid: meta.uid.clone(),
                }),
                persistent_volume_reclaim_policy: class
                    .map_or("Delete", StorageClass::policy)
                    .to_owned(),
                storage_class_name: claim.class().to_owned(),
                volume_mode: Some("Filesystem".to_owned()),
                local: Some(LocalVolume {
                    path: format!("{}/{}", facts.storage.claims, meta.uid.replace('-', "")),
                }),
                node_affinity: Some(PersistentVolume::affinity(device)),
            },
            status: PersistentVolumeStatus { phase: "Bound".to_owned(), message: String::new() },
        })
    }

    /// A claim was changed, or is there: those who waited for it look again.
    pub(crate) fn wake_users(&mut self, key: &Key) {
        let waits = |pod: &&Pod| pod.supply.is_none() && pod.deleting.is_none();
        let users = self.state.pods.using(key).filter(waits);
        let owners: Vec<(Key, Option<String>)> =
            users.map(|pod| (pod.owner.clone(), pod.device.clone())).collect();
        for (owner, device) in owners {
            self.no_room.remove(&owner);
            self.dirty_owner(&owner, device.as_deref());
        }
    }

    /// What follows from an object of storage that an operator made or changed.
    pub(crate) fn storage_changed(&mut self, object: &Object, is_new: bool) {
        let key = object.key();
        match object {
            Object::PersistentVolumeClaim(claim) => {
                if is_new {
                    let message = "waiting for first consumer to be created before binding";
                    self.record(&key, Severity::Normal, "WaitForFirstConsumer", message.into());
                }
                self.resize(&key, claim);
                self.wake_users(&key);
            }
            Object::PersistentVolume(_) => self.reclaim(&key.name),
            Object::StorageClass(_) => {
                let claims = self.state.objects.of_kind(Kind::PersistentVolumeClaim);
                let keys: Vec<Key> = claims.map(|(key, _)| key.clone()).collect();
                keys.iter().for_each(|key| self.wake_users(key));
            }
            _ => {}
        }
    }

    /// Whether a bound claim may grow so far.
    pub(crate) fn check_resize(&self, new: &Object) -> Result<(), ApiError> {
        let Object::PersistentVolumeClaim(claim) = new else { return Ok(()) };
        let Some(old) = self.state.objects.claim(&new.key()) else { return Ok(()) };
        let more = claim.bytes().saturating_sub(old.bytes());
        if more == 0 {
            return Ok(());
        }
        let class = self.state.objects.class(old.class());
        if class.is_none_or(|class| class.allow_volume_expansion != Some(true)) {
            return Err(ApiError::Forbidden(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
                    .to_owned(),
            ));
        }
        let volume = self.state.objects.volume(&old.spec.volume_name);
        let device = volume.and_then(|volume| self.state.fleet.get(volume.device()?));
        let Some(device) = device else { return Ok(()) };
        let used = self.state.objects.volumes().bytes_on(&device.name);
        let left = device.facts.disk_bytes.saturating_sub(used);
        if more > left {
            return Err(ApiError::Forbidden(format!(
                "{} has {left} bytes of storage left, and the claim would take {more} more; delete other claims there first",
                device.name
            )));
        }
        Ok(())
    }

    /// Brings a bound claim and its volume to what the claim asks for now.
    fn resize(&mut self, key: &Key, claim: &PersistentVolumeClaim) {
        let Some(volume) = self.state.objects.volume(&claim.spec.volume_name) else { return };
        let capacity = capacity_of(claim);
        if volume.spec.capacity == capacity {
            return;
        }
        let mut volume = volume.clone();
        volume.spec.capacity = capacity.clone();
        self.dirty.assignments.extend(volume.device().map(ToOwned::to_owned));
        self.put(Object::PersistentVolume(volume), None, Action::Modified);
        let mut claim = claim.clone();
        claim.status.capacity = capacity;
        self.put(Object::PersistentVolumeClaim(claim), None, Action::Modified);
        let message = "the claim has its new size".to_owned();
        self.record(key, Severity::Normal, "FileSystemResizeSuccessful", message);
    }

    /// Deletes an object of storage. What is in use stays until it is not.
    pub(crate) fn delete_storage(&mut self, key: &Key) -> Result<Response, ApiError> {
        match key.kind {
            Kind::PersistentVolumeClaim if self.is_used(key) => self.mark_deleted(key),
            Kind::PersistentVolumeClaim => self.remove_claim(key),
            Kind::PersistentVolume => {
                let volume = self.state.objects.volume(&key.name);
                let is_retained = volume.is_some_and(|volume| {
                    volume.status.phase == "Released" && !deletes_data(volume)
                });
                if is_retained { self.delete_object(key) } else { self.mark_deleted(key) }
            }
            _ if key.name == BUILT_IN => Err(ApiError::Forbidden(format!(
                "the class {BUILT_IN} is that of claims which name none; it can't be deleted"
            ))),
            _ => self.delete_object(key),
        }
    }

    /// Whether a Pod that is on a device, or may be, uses a claim.
    fn is_used(&self, key: &Key) -> bool {
        self.state.pods.using(key).any(|pod| pod.device.is_some())
    }

    fn mark_deleted(&mut self, key: &Key) -> Result<Response, ApiError> {
        let stored = self.state.objects.get(key).ok_or_else(|| ApiError::NotFound(key.clone()))?;
        if stored.object.meta().deletion_timestamp.is_some() {
            return Ok(Response::Deleted(stored.object.clone()));
        }
        let mut object = stored.object.as_ref().clone();
        object.meta_mut().deletion_timestamp = Some(rfc3339(self.unix_ms));
        Ok(Response::Deleted(self.put(object, None, Action::Modified)))
    }

    /// Removes a claim that nobody uses, and lets go of its volume.
    fn remove_claim(&mut self, key: &Key) -> Result<Response, ApiError> {
        let volume = self.state.objects.claim(key).map(|claim| claim.spec.volume_name.clone());
        let deleted = self.delete_object(key)?;
        let volume = volume.and_then(|name| self.state.objects.volume(&name).cloned());
        if let Some(mut volume) = volume {
            let name = volume.metadata.name.clone();
            "Released".clone_into(&mut volume.status.phase);
            self.put(Object::PersistentVolume(volume), None, Action::Modified);
            self.reclaim(&name);
        }
        self.wake_users(key);
        Ok(deleted)
    }

    /// Does with a volume without a claim what its policy says.
    fn reclaim(&mut self, name: &str) {
        let released = |volume: &&PersistentVolume| volume.status.phase == "Released";
        let Some(volume) = self.state.objects.volume(name).filter(released).cloned() else {
            return;
        };
        let key = Key::new(Kind::PersistentVolume, "", name);
        let device = volume.device().unwrap_or_default().to_owned();
        let is_told = deletes_data(&volume) && self.state.fleet.contains(&device);
        if is_told {
            // It is marked, and gone once its device has been told.
            let _there = self.mark_deleted(&key);
            self.dirty.assignments.insert(device);
        } else if deletes_data(&volume) || volume.metadata.deletion_timestamp.is_some() {
            let _there = self.delete_object(&key);
        }
    }

    /// A Pod is gone: claims that were to go with it do.
    pub(crate) fn let_go_of_claims(&mut self, gone: &Pod) {
        for key in gone.claims() {
            let claim = self.state.objects.claim(&key);
            let is_over = claim.is_some_and(|claim| claim.metadata.deletion_timestamp.is_some());
            if is_over && !self.is_used(&key) {
                let _there = self.remove_claim(&key);
            } else {
                self.wake_users(&key);
            }
        }
    }

    /// A device holds its newest assignment: what that had it remove, it has noted durably.
    pub(crate) fn forget_removed_claims(&mut self, name: &str) {
        let Some(device) = self.state.fleet.get(name) else { return };
        let held = device.acknowledged.map_or(Generation(0), |held| held.generation);
        let desired = &device.desired;
        if desired.removed_claims.is_empty() || held != desired.generation {
            return;
        }
        let told = desired.removed_claims.clone();
        self.drop_condemned(name, |claim| told.contains(&claim));
    }

    /// A device is gone for good, and with it what it was to remove.
    pub(crate) fn forget_condemned(&mut self, name: &str) {
        self.drop_condemned(name, |_| true);
    }

    fn drop_condemned(
        &mut self,
        name: &str,
        wanted: impl Fn(firmware_compat::id::ClaimId) -> bool,
    ) {
        let condemned = self.state.objects.volumes().condemned(name);
        let gone: Vec<String> = condemned
            .filter(|(claim, _)| wanted(*claim))
            .map(|(_, volume)| volume.to_owned())
            .collect();
        if gone.is_empty() {
            return;
        }
        for volume in gone {
            let _there = self.delete_object(&Key::new(Kind::PersistentVolume, "", &volume));
        }
        self.dirty.assignments.insert(name.to_owned());
        self.dirty.room.insert(name.to_owned());
    }
}

fn capacity_of(claim: &PersistentVolumeClaim) -> Amounts {
    let size = claim.spec.resources.requests.get(STORAGE);
    size.map(|size| (STORAGE.to_string(), size.clone())).into_iter().collect()
}

fn deletes_data(volume: &PersistentVolume) -> bool {
    volume.spec.persistent_volume_reclaim_policy == "Delete"
}
