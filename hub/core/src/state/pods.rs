//! Every Pod, and the ways to find some of them: by workload, name, device, ConfigMap and image. A Pod is changed
//! through [`Pods::change`] alone, which keeps every index and count true; one change costs the logarithm of what is
//! there.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};
use core::time::Duration;

use firmware_compat::{
    id::{Hash, PodId},
    time::Instant,
    v1::owned::Port,
};

use super::owned::{Class, Mark, Owned};
use crate::{
    api::Key,
    pod::{Pod, TOO_LARGE, Waiting},
    resolve::{self, Amount},
};

/// Whether a device can be heard, as far as it matters to its Pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// Its session is open.
    Heard,
    /// It has been silent since then, not for long yet. The last instant there is, while the hub itself hears nothing.
    Silent(Instant),
    /// It has been silent since then, so long that nobody waits for it.
    Away(Instant),
}

/// What is on one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnDevice {
    pods: BTreeSet<PodId>,
    allocated: Amount,
    ports: BTreeMap<(u16, u8), usize>,
    unadmitted: BTreeSet<PodId>,
    too_large: usize,
}

impl OnDevice {
    /// Pods on the device, those on their way out included.
    #[must_use]
    pub fn pods(&self) -> &BTreeSet<PodId> {
        &self.pods
    }

    /// What the Pods ask for that are not on their way out and have not ended for good.
    #[must_use]
    pub fn allocated(&self) -> Amount {
        self.allocated
    }

    /// How many Pods that are not on their way out and have not ended for good take a port of the device's network.
    #[must_use]
    pub fn takers(&self, port: Port) -> usize {
        self.ports.get(&port_key(port)).copied().unwrap_or(0)
    }

    /// How many Pods its assignment has no room for.
    #[must_use]
    pub fn too_large(&self) -> usize {
        self.too_large
    }

    /// Pods that are bound to the device and not part of its assignment yet.
    #[must_use]
    pub fn unadmitted(&self) -> &BTreeSet<PodId> {
        &self.unadmitted
    }
}

fn port_key(port: Port) -> (u16, u8) {
    (port.number, port.protocol as u8)
}

#[derive(Clone, Debug)]
struct Entry {
    pod: Pod,
    mark: Mark,
}

/// Every Pod.
#[derive(Clone, Debug, Default)]
pub struct Pods {
    entries: BTreeMap<PodId, Entry>,
    owners: BTreeMap<Key, Owned>,
    names: BTreeMap<Key, PodId>,
    devices: BTreeMap<String, OnDevice>,
    sources: BTreeMap<Key, BTreeSet<PodId>>,
    roots: BTreeMap<Hash, BTreeSet<PodId>>,
    images: BTreeMap<String, BTreeMap<Key, usize>>,
    revisions: BTreeMap<(String, String), usize>,
    repelling: BTreeSet<PodId>,
    hearing: BTreeMap<String, Hearing>,
    running: usize,
}

/// Nothing on a device, nothing of a workload.
static NOTHING: OnDevice = OnDevice {
    pods: BTreeSet::new(),
    allocated: Amount { cpu_milli: 0, memory_bytes: 0 },
    ports: BTreeMap::new(),
    unadmitted: BTreeSet::new(),
    too_large: 0,
};

impl Pods {
    /// A Pod.
    #[must_use]
    pub fn get(&self, id: PodId) -> Option<&Pod> {
        self.entries.get(&id).map(|entry| &entry.pod)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many run, as their devices said last.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Pod> {
        self.entries.values().map(|entry| &entry.pod)
    }

    /// Names and ids, by namespace and name.
    #[must_use]
    pub fn names(&self) -> &BTreeMap<Key, PodId> {
        &self.names
    }

    /// The Pod with a name.
    #[must_use]
    pub fn named(&self, key: &Key) -> Option<&Pod> {
        self.names.get(key).and_then(|id| self.get(*id))
    }

    /// What a workload has.
    #[must_use]
    pub fn owned(&self, owner: &Key) -> Option<&Owned> {
        self.owners.get(owner)
    }

    /// What each workload has.
    pub fn owners(&self) -> impl Iterator<Item = (&Key, &Owned)> {
        self.owners.iter()
    }

    /// The Pods that keep others away from where they are.
    pub fn repelling(&self) -> impl Iterator<Item = &Pod> {
        self.repelling.iter().filter_map(|id| self.get(*id))
    }

    /// The Pods of a workload, by id.
    pub fn of(&self, owner: &Key) -> impl Iterator<Item = &Pod> {
        self.owners.get(owner).into_iter().flat_map(Owned::all).filter_map(|id| self.get(*id))
    }

    /// What is on a device.
    #[must_use]
    pub fn on(&self, device: &str) -> &OnDevice {
        self.devices.get(device).unwrap_or(&NOTHING)
    }

    /// The Pods on a device, by id.
    pub fn pods_on(&self, device: &str) -> impl Iterator<Item = &Pod> {
        self.on(device).pods.iter().filter_map(|id| self.get(*id))
    }

    /// The Pods that take something from a ConfigMap or Secret.
    pub fn using(&self, source: &Key) -> impl Iterator<Item = &Pod> {
        self.sources.get(source).into_iter().flatten().filter_map(|id| self.get(*id))
    }

    /// The Pods of an image, by its digest.
    pub fn using_root(&self, root: Hash) -> impl Iterator<Item = &Pod> {
        self.roots.get(&root).into_iter().flatten().filter_map(|id| self.get(*id))
    }

    /// The workloads of which Pods that are not on their way out name an image, tag included.
    pub fn owners_using(&self, image: &str) -> impl Iterator<Item = &Key> {
        self.images.get(image).into_iter().flat_map(BTreeMap::keys)
    }

    /// Whether there is a Pod of a revision of a workload, by its uid.
    #[must_use]
    pub fn any_of(&self, owner_uid: &str, hash: &str) -> bool {
        self.revisions.contains_key(&(owner_uid.to_owned(), hash.to_owned()))
    }

    /// How a Pod does; none for one that is on its way out.
    #[must_use]
    pub fn class(&self, id: PodId) -> Option<Class> {
        self.entries.get(&id).and_then(|entry| entry.mark.class)
    }

    /// Whether a Pod has been ready for long enough.
    #[must_use]
    pub fn is_available(&self, id: PodId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.mark.available)
    }

    /// Adds a Pod.
    pub fn insert(&mut self, pod: Pod, now: Instant) {
        let id = pod.id;
        self.remove(id);
        let mark = mark_of(&pod, None, &self.hearing, now);
        self.names.insert(pod.key(), id);
        for key in pod.sources() {
            self.sources.entry(key).or_default().insert(id);
        }
        for root in pod.revision.roots.values().flatten() {
            self.roots.entry(*root).or_default().insert(id);
        }
        if pod.revision.repelling().next().is_some() {
            self.repelling.insert(id);
        }
        let of = (pod.owner_uid.clone(), pod.revision.hash.clone());
        *self.revisions.entry(of).or_default() += 1;
        self.add(&pod, &mark);
        self.entries.insert(id, Entry { pod, mark });
    }

    /// Takes a Pod out.
    pub fn remove(&mut self, id: PodId) -> Option<Pod> {
        let Entry { pod, mark } = self.entries.remove(&id)?;
        self.take(&pod, &mark);
        self.names.remove(&pod.key());
        self.repelling.remove(&id);
        for key in pod.sources() {
            take_from(&mut self.sources, &key, id);
        }
        for root in pod.revision.roots.values().flatten() {
            take_from(&mut self.roots, root, id);
        }
        let of = (pod.owner_uid.clone(), pod.revision.hash.clone());
        if let Some(count) = self.revisions.get_mut(&of) {
            *count -= 1;
            if *count == 0 {
                self.revisions.remove(&of);
            }
        }
        Some(pod)
    }

    /// Changes a Pod, but for what names it: id, name, owner and revision stay. False if there is none.
    pub fn change(&mut self, id: PodId, now: Instant, change: impl FnOnce(&mut Pod)) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        change(&mut entry.pod);
        self.mark_anew(id, now);
        true
    }

    /// Tells whether a device can be heard. Its Pods change their class with it.
    pub fn set_hearing(&mut self, device: &str, hearing: Hearing, now: Instant) {
        if self.hearing.insert(device.to_owned(), hearing) == Some(hearing) {
            return;
        }
        for id in self.on(device).pods.iter().copied().collect::<Vec<_>>() {
            self.mark_anew(id, now);
        }
    }

    /// Forgets a device on which nothing is left.
    pub fn forget_device(&mut self, device: &str) {
        self.hearing.remove(device);
    }

    /// Counts the Pods of a workload as available that have been ready for `least`. When the next will be.
    pub fn settle(&mut self, owner: &Key, least: Duration, now: Instant) -> Option<Instant> {
        loop {
            let owned = self.owners.get_mut(owner)?;
            let (since, id) = *owned.settling().first()?;
            if since + least > now {
                return Some(since + least);
            }
            let entry = self.entries.get_mut(&id)?;
            owned.remove(id, &entry.mark);
            entry.mark.available = true;
            owned.add(id, &entry.mark);
        }
    }

    fn mark_anew(&mut self, id: PodId, now: Instant) {
        let Some(mut entry) = self.entries.remove(&id) else { return };
        let mark = mark_of(&entry.pod, Some(&entry.mark), &self.hearing, now);
        if mark != entry.mark {
            self.take(&entry.pod, &entry.mark);
            self.add(&entry.pod, &mark);
            entry.mark = mark;
        }
        self.entries.insert(id, entry);
    }

    fn add(&mut self, pod: &Pod, mark: &Mark) {
        self.owners.entry(pod.owner.clone()).or_default().add(pod.id, mark);
        self.running += usize::from(mark.runs);
        let takes_room = mark.takes_room();
        if mark.class.is_some() {
            for image in pod.revision.roots.keys() {
                let owners = self.images.entry(resolve::tagged(image)).or_default();
                *owners.entry(pod.owner.clone()).or_default() += 1;
            }
        }
        let Some(name) = &mark.device else { return };
        let on = self.devices.entry(name.clone()).or_default();
        on.pods.insert(pod.id);
        if takes_room {
            on.allocated.add(pod.revision.resolved.requests);
            for port in pod.revision.host_ports() {
                *on.ports.entry(port_key(port)).or_default() += 1;
            }
            if !mark.admitted {
                on.unadmitted.insert(pod.id);
            }
            on.too_large += usize::from(mark.too_large);
        }
    }

    fn take(&mut self, pod: &Pod, mark: &Mark) {
        if let Some(owned) = self.owners.get_mut(&pod.owner) {
            owned.remove(pod.id, mark);
            if owned.is_empty() {
                self.owners.remove(&pod.owner);
            }
        }
        self.running -= usize::from(mark.runs);
        let takes_room = mark.takes_room();
        if mark.class.is_some() {
            for image in pod.revision.roots.keys() {
                let image = resolve::tagged(image);
                let Some(owners) = self.images.get_mut(&image) else { continue };
                count_down(owners, &pod.owner);
                if owners.is_empty() {
                    self.images.remove(&image);
                }
            }
        }
        let Some(name) = &mark.device else { return };
        let Some(on) = self.devices.get_mut(name) else { return };
        on.pods.remove(&pod.id);
        on.unadmitted.remove(&pod.id);
        if takes_room {
            on.allocated.subtract(pod.revision.resolved.requests);
            for port in pod.revision.host_ports() {
                count_down(&mut on.ports, &port_key(port));
            }
            on.too_large -= usize::from(mark.too_large);
        }
        if on.pods.is_empty() {
            self.devices.remove(name);
        }
    }

    /// Compares every index and count with what they are made from.
    ///
    /// # Errors
    /// Names the first that is not true.
    pub fn check(&self) -> Result<(), &'static str> {
        let mut anew = Self { hearing: self.hearing.clone(), ..Self::default() };
        for entry in self.entries.values() {
            let (pod, known) = (&entry.pod, &entry.mark);
            anew.insert(pod.clone(), Instant::default());
            // Since when it is ready can't be seen from the Pod.
            let Some(made) = anew.entries.get_mut(&pod.id) else { continue };
            let made = core::mem::replace(&mut made.mark, known.clone());
            anew.take(pod, &made);
            anew.add(pod, known);
            let (mut one, mut other) = (made, known.clone());
            for mark in [&mut one, &mut other] {
                (mark.ready_since, mark.available) = (None, false);
            }
            if one != other {
                return Err("a Pod's class");
            }
        }
        let same = [
            ("Pods by workload", anew.owners == self.owners),
            ("Pods by name", anew.names == self.names),
            ("Pods by device", anew.devices == self.devices),
            ("Pods by ConfigMap and Secret", anew.sources == self.sources),
            ("Pods by image", anew.roots == self.roots && anew.images == self.images),
            ("Pods that repel others", anew.repelling == self.repelling),
            ("Pods by revision", anew.revisions == self.revisions),
            ("how many Pods run", anew.running == self.running),
        ];
        same.iter().find(|(_, same)| !same).map_or(Ok(()), |(what, _)| Err(*what))
    }
}

fn mark_of(
    pod: &Pod,
    before: Option<&Mark>,
    hearing: &BTreeMap<String, Hearing>,
    now: Instant,
) -> Mark {
    let heard = match &pod.device {
        Some(name) => hearing.get(name).copied().unwrap_or(Hearing::Silent(Instant(u64::MAX))),
        None => Hearing::Heard,
    };
    let class = pod.deleting.is_none().then(|| class_of(pod, heard));
    let ready = class == Some(Class::Ready);
    let restarts = pod.restarts();
    // A Pod that runs on while its device can't be heard has been ready all along.
    let known =
        before.filter(|before| pod.is_ready() && before.runs && before.restarts == restarts);
    let ready_since = known.and_then(|before| before.ready_since).or(ready.then_some(now));
    Mark {
        revision: pod.revision.hash.clone(),
        device: pod.device.clone(),
        class,
        silent_since: match heard {
            Hearing::Heard => Instant::default(),
            Hearing::Silent(since) | Hearing::Away(since) => since,
        },
        admitted: pod.supply.is_some(),
        runs: pod.is_ready(),
        too_large: pod.waiting.as_ref().is_some_and(|waiting| waiting.reason == TOO_LARGE),
        restarts,
        ready_since,
        available: ready && known.is_some_and(|before| before.available),
    }
}

fn class_of(pod: &Pod, heard: Hearing) -> Class {
    if pod.finished().is_some() {
        return Class::Finished;
    }
    if pod.device.is_none() {
        return Class::Unplaced;
    }
    if pod.supply.is_none() && pod.waiting.as_ref().is_some_and(Waiting::bars) {
        return Class::Barred;
    }
    match (heard, pod.is_ready()) {
        (Hearing::Heard, true) => Class::Ready,
        (Hearing::Heard, false) => Class::Unready,
        (Hearing::Silent(_), true) => Class::Silent,
        (Hearing::Silent(_), false) => Class::SilentUnready,
        (Hearing::Away(_), true) => Class::Away,
        (Hearing::Away(_), false) => Class::AwayUnready,
    }
}

fn count_down<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn take_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<PodId>>, key: &K, id: PodId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}
