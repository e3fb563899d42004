//! The API's Events: what happened to an object, in a bounded ring in memory. Equal events are counted together.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    sync::Arc,
};

use firmware_compat::{time::UnixMs, v1::owned::Severity};

use crate::{
    api::{
        Event, Key, Object, ObjectMeta, core::event::EventSource, meta::ObjectReference,
        resource::Home, time::rfc3339,
    },
    effect::Action,
    engine::{Engine, changed},
};

/// Events kept. The oldest go first; a busy fleet keeps the last minutes, a quiet one weeks.
const MOST: usize = 5000;

/// The ring, in the order in which events last happened, and where in it those of an object are.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    ring: BTreeMap<u64, (Key, Arc<Object>)>,
    objects: BTreeMap<Key, BTreeSet<u64>>,
    last: u64,
    made: u64,
}

impl Recorder {
    /// Every event, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.ring.values().map(|(_, object)| object)
    }

    /// What happened to an object, the newest first.
    pub(crate) fn of(&self, key: &Key) -> impl Iterator<Item = &Event> {
        self.places_of(key).filter_map(|place| self.event(place))
    }

    fn places_of(&self, key: &Key) -> impl Iterator<Item = u64> {
        self.objects.get(key).into_iter().flat_map(|places| places.iter().rev().copied())
    }

    fn event(&self, place: u64) -> Option<&Event> {
        match self.ring.get(&place).map(|(_, object)| object.as_ref()) {
            Some(Object::Event(event)) => Some(event),
            _ => None,
        }
    }

    fn push(&mut self, about: &Key, object: Arc<Object>) {
        self.last += 1;
        self.objects.entry(about.clone()).or_default().insert(self.last);
        self.ring.insert(self.last, (about.clone(), object));
    }

    fn remove(&mut self, place: u64) -> Option<Arc<Object>> {
        let (about, object) = self.ring.remove(&place)?;
        if let Some(places) = self.objects.get_mut(&about) {
            places.remove(&place);
            if places.is_empty() {
                self.objects.remove(&about);
            }
        }
        Some(object)
    }

    /// Takes the oldest out, if there are too many.
    fn expire(&mut self) -> Option<Arc<Object>> {
        let oldest = *self.ring.first_key_value().filter(|_| self.ring.len() > MOST)?.0;
        self.remove(oldest)
    }
}

/// Something that happened.
pub(crate) struct Occurrence<'a> {
    /// To what.
    pub about: &'a Key,
    /// How much it matters.
    pub severity: Severity,
    /// CamelCase.
    pub reason: &'a str,
    /// In words.
    pub message: String,
    /// The device that noticed; none for the hub.
    pub device: Option<&'a str>,
    /// When.
    pub at_ms: UnixMs,
}

impl Engine {
    /// Records what the hub itself noticed.
    pub(crate) fn record(
        &mut self,
        about: &Key,
        severity: Severity,
        reason: &str,
        message: String,
    ) {
        let at_ms = self.unix_ms;
        self.record_occurrence(Occurrence {
            about,
            severity,
            reason,
            message,
            device: None,
            at_ms,
        });
    }

    /// Records what anybody can cause, in other words each time: one event for all of it, which counts them and has the newest
    /// words. So it washes no other event out.
    pub(crate) fn record_newest(
        &mut self,
        about: &Key,
        severity: Severity,
        reason: &str,
        message: String,
    ) {
        let at_ms = self.unix_ms;
        let occurrence = Occurrence { about, severity, reason, message, device: None, at_ms };
        self.record_among(occurrence, |event, occurrence| event.reason == occurrence.reason);
    }

    /// Records an occurrence, or counts it to an equal one among the newest of its object.
    pub(crate) fn record_occurrence(&mut self, occurrence: Occurrence<'_>) {
        self.record_among(occurrence, |event, occurrence| {
            event.reason == occurrence.reason && event.message == occurrence.message
        });
    }

    fn record_among(
        &mut self,
        occurrence: Occurrence<'_>,
        counts: impl Fn(&Event, &Occurrence<'_>) -> bool,
    ) {
        /// How far back an equal occurrence is looked for.
        const LOOK_BACK: usize = 50;
        let version = self.next_resource_version();
        let at = rfc3339(occurrence.at_ms);
        let uid = self.uid_of(occurrence.about);
        let is_equal =
            |event: &Event| event.involved_object.uid == uid && counts(event, &occurrence);
        let recorder = &self.recorder;
        let equal = recorder
            .places_of(occurrence.about)
            .take(LOOK_BACK)
            .find(|place| recorder.event(*place).is_some_and(is_equal));
        let repeated = equal.and_then(|place| self.recorder.remove(place));
        let (action, event) = match repeated.as_deref() {
            Some(Object::Event(event)) => {
                let mut event = event.clone();
                event.count = event.count.saturating_add(1);
                event.message.clone_from(&occurrence.message);
                event.last_timestamp = Some(at);
                event.metadata.resource_version = version.to_string();
                (Action::Modified, event)
            }
            _ => (Action::Added, self.new_event(&occurrence, uid, version, at)),
        };
        let object = Arc::new(Object::Event(event));
        self.recorder.push(occurrence.about, object.clone());
        self.effects.push(changed(action, object, version));
        if let Some(oldest) = self.recorder.expire() {
            let version = self.next_resource_version();
            self.effects.push(changed(Action::Deleted, oldest, version));
        }
    }

    /// Tells an object from one of the same name before or after it. Empty for what is not there.
    fn uid_of(&self, key: &Key) -> String {
        match key.kind.names().home {
            Home::Devices => self.state.fleet.get(&key.name).map(|device| device.uid.clone()),
            Home::Pods => self.state.pods.names().get(key).map(|id| uuid(*id)),
            Home::Revisions | Home::Nowhere => None,
            Home::Objects | Home::Events => {
                self.state.objects.get(key).map(|stored| stored.object.meta().uid.clone())
            }
        }
        .unwrap_or_default()
    }

    fn new_event(
        &mut self,
        occurrence: &Occurrence<'_>,
        uid: String,
        version: u64,
        at: String,
    ) -> Event {
        self.recorder.made += 1;
        let about = occurrence.about;
        // Kubernetes keeps events about cluster objects in the namespace `default`.
        let namespace =
            if about.namespace.is_empty() { "default".into() } else { about.namespace.clone() };
        let severity = match occurrence.severity {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        };
        Event {
            metadata: ObjectMeta {
                name: format!("{}.{:x}", about.name, self.recorder.made),
                namespace,
                uid: uuid(self.rng.id()),
                resource_version: version.to_string(),
                creation_timestamp: Some(at.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: about.kind.api_version().into(),
                kind: about.kind.as_str().into(),
                namespace: about.namespace.clone(),
                name: about.name.clone(),
                uid,
            },
            reason: occurrence.reason.into(),
            message: occurrence.message.clone(),
            severity: severity.into(),
            source: EventSource {
                component: if occurrence.device.is_some() { "agent" } else { "hub" }.into(),
                host: occurrence.device.unwrap_or_default().into(),
            },
            first_timestamp: Some(at.clone()),
            last_timestamp: Some(at),
            count: 1,
        }
    }
}

/// Sixteen bytes as a UUID is written.
pub(crate) fn uuid(id: firmware_compat::id::PodId) -> String {
    let hex = id.to_string();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}
