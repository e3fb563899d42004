//! Which data lies on which device: PersistentVolumes by their devices, and whether a Pod may use its claims on one.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

use firmware_compat::{
    capacity::full::REMOVED_CLAIMS,
    id::{ClaimId, PodId},
};

use super::{Objects, State};
use crate::{
    api::{Key, Kind, Object, PersistentVolume, PersistentVolumeClaim, StorageClass},
    device::Device,
    scheduler::FilterReason,
};

/// PersistentVolumes by device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volumes {
    by_device: BTreeMap<String, BTreeMap<String, Entry>>,
    devices: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    bytes: u64,
    condemned: Option<ClaimId>,
}

impl Volumes {
    /// Takes over an object, if it is a volume of a device.
    pub(super) fn put(&mut self, object: &Object) {
        let Object::PersistentVolume(volume) = object else { return };
        let Some(device) = volume.device() else { return };
        let name = &volume.metadata.name;
        let condemned = volume.claim().filter(|_| volume.is_condemned());
        let entry = Entry { bytes: volume.bytes(), condemned };
        self.by_device.entry(device.into()).or_default().insert(name.clone(), entry);
        self.devices.insert(name.clone(), device.into());
    }

    /// Takes an object out.
    pub(super) fn remove(&mut self, key: &Key) {
        if key.kind != Kind::PersistentVolume {
            return;
        }
        let Some(device) = self.devices.remove(&key.name) else { return };
        if let Some(of) = self.by_device.get_mut(&device) {
            of.remove(&key.name);
            if of.is_empty() {
                self.by_device.remove(&device);
            }
        }
    }

    /// What the volumes of a device take, in bytes.
    #[must_use]
    pub fn bytes_on(&self, device: &str) -> u64 {
        let of = self.by_device.get(device).into_iter().flat_map(BTreeMap::values);
        of.fold(0, |sum, entry| sum.saturating_add(entry.bytes))
    }

    /// The claims whose data is to go from a device, as many as one assignment names.
    #[must_use]
    pub fn condemned_on(&self, device: &str) -> Vec<ClaimId> {
        let of = self.by_device.get(device).into_iter().flat_map(BTreeMap::values);
        let mut condemned: Vec<_> =
            of.filter_map(|entry| entry.condemned).take(REMOVED_CLAIMS).collect();
        condemned.sort_unstable();
        condemned
    }

    /// The volumes of a device whose data is to go, and their claims.
    pub fn condemned(&self, device: &str) -> impl Iterator<Item = (ClaimId, &str)> {
        let of = self.by_device.get(device).into_iter().flatten();
        of.filter_map(|(name, entry)| Some((entry.condemned?, name.as_str())))
    }
}

impl Objects {
    /// A claim.
    #[must_use]
    pub fn claim(&self, key: &Key) -> Option<&PersistentVolumeClaim> {
        match self.get(key)?.object.as_ref() {
            Object::PersistentVolumeClaim(claim) => Some(claim),
            _ => None,
        }
    }

    /// A volume, by its name.
    #[must_use]
    pub fn volume(&self, name: &str) -> Option<&PersistentVolume> {
        match self.get(&Key::new(Kind::PersistentVolume, "", name))?.object.as_ref() {
            Object::PersistentVolume(volume) => Some(volume),
            _ => None,
        }
    }

    /// A class, by its name.
    #[must_use]
    pub fn class(&self, name: &str) -> Option<&StorageClass> {
        match self.get(&Key::new(Kind::StorageClass, "", name))?.object.as_ref() {
            Object::StorageClass(class) => Some(class),
            _ => None,
        }
    }
}

impl State {
    /// Whether a Pod may use its claims on a device; `own` is the Pod, if it is there already.
    ///
    /// # Errors
    /// The first claim that keeps it away, and why.
    pub fn check_claims(
        &self,
        claims: &[Key],
        device: &Device,
        own: Option<PodId>,
    ) -> Result<(), FilterReason> {
        let mut wanted = 0_u64;
        for key in claims {
            wanted = wanted.saturating_add(self.check_claim(key, device, own)?);
        }
        if wanted == 0 {
            return Ok(());
        }
        if device.facts.storage.claims.is_empty() {
            return Err(FilterReason::Claim("keeps no data of claims".to_string()));
        }
        let used = self.objects.volumes().bytes_on(&device.name);
        let left = device.facts.disk_bytes.saturating_sub(used);
        if wanted > left {
            return Err(FilterReason::Resource("storage".to_string()));
        }
        Ok(())
    }

    /// Whether a claim may be used on a device, and how much it takes of it beside what is taken.
    fn check_claim(
        &self,
        key: &Key,
        device: &Device,
        own: Option<PodId>,
    ) -> Result<u64, FilterReason> {
        let name = &key.name;
        let refuse = |what: String| Err(FilterReason::Claim(what));
        let Some(claim) = self.objects.claim(key) else {
            return refuse(format!("persistentvolumeclaim \"{name}\" not found"));
        };
        if claim.metadata.deletion_timestamp.is_some() {
            return refuse(format!("persistentvolumeclaim \"{name}\" is being deleted"));
        }
        let other = |id: PodId| Some(id) != own;
        let mut users = self.pods.using(key).filter(|pod| pod.device.is_some() && other(pod.id));
        if claim.is_for_one_pod()
            && let Some(user) = users.next()
        {
            return refuse(format!(
                "persistentvolumeclaim \"{name}\" is for one Pod (ReadWriteOncePod), and {} has it",
                user.name
            ));
        }
        if claim.spec.volume_name.is_empty() {
            let class = claim.class();
            if self.objects.class(class).is_none() {
                return refuse(format!("storageclass.storage.k8s.io \"{class}\" not found"));
            }
            return Ok(claim.bytes());
        }
        match self.objects.volume(&claim.spec.volume_name).and_then(PersistentVolume::device) {
            Some(holder) if holder == device.name => Ok(0),
            Some(holder) => refuse(format!(
                "has not the data of persistentvolumeclaim \"{name}\": {holder} has it"
            )),
            None => refuse(format!("the volume of persistentvolumeclaim \"{name}\" is gone")),
        }
    }
}
