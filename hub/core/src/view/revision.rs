//! Saved revisions as objects of the API, where Kubernetes' tools look for them: a Deployment's as ReplicaSets, a
//! DaemonSet's as ControllerRevisions. They go with their workload.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use firmware_compat::id::PodId;
use sha2::{Digest, Sha256};

use crate::{
    api::{
        ControllerRevision, KINDS, Key, Kind, Object, ObjectMeta, ReplicaSet,
        apps::{
            REVISION_ANNOTATION, TEMPLATE_HASH_LABEL,
            replica_set::{ReplicaSetSpec, ReplicaSetStatus},
        },
        core::pod::PodTemplate,
        meta::OwnerReference,
        selector::LabelSelector,
        time::rfc3339,
    },
    effect::Action,
    engine::{Engine, changed},
    recorder::uuid,
    state::{Class, Saved, Shown, State, revisions::Counts},
};

/// As which kind the revisions of a workload are shown. What is never updated has one, which nobody asks for.
fn shown_as(owner: Kind) -> Option<Kind> {
    match owner {
        Kind::Deployment => Some(Kind::ReplicaSet),
        Kind::DaemonSet => Some(Kind::ControllerRevision),
        _ => None,
    }
}

/// The name under which a revision is shown.
fn name(saved: &Saved) -> String {
    format!("{}-{}", saved.owner.name, saved.revision.hash)
}

/// The uid of the object that shows a revision: always the same.
fn uid(owner_uid: &str, hash: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(owner_uid.as_bytes());
    hasher.update([0]);
    hasher.update(hash.as_bytes());
    let digest: [u8; 32] = hasher.finalize().into();
    uuid(PodId(core::array::from_fn(|index| digest[index])))
}

/// What rules the Pods of a workload in the API: of a Deployment the revision's ReplicaSet, else the workload.
pub(crate) fn owner_of_pods(owner: &Key, owner_uid: &str, hash: &str) -> OwnerReference {
    if owner.kind == Kind::Deployment {
        let name = format!("{}-{hash}", owner.name);
        controller(Kind::ReplicaSet, &name, &uid(owner_uid, hash))
    } else {
        controller(owner.kind, &owner.name, owner_uid)
    }
}

fn controller(kind: Kind, name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: kind.api_version().to_owned(),
        kind: kind.as_str().to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        controller: true,
        block_owner_deletion: true,
    }
}

impl State {
    /// The workload that a revision is of, if it is still there.
    fn workload_of(&self, owner_uid: &str, saved: &Saved) -> Option<&Object> {
        let stored = self.objects.get(&saved.owner)?;
        Some(stored.object.as_ref()).filter(|object| object.meta().uid == owner_uid)
    }

    fn counts(&self, owner_uid: &str, saved: &Saved) -> Counts {
        let Some(Object::Deployment(deployment)) = self.workload_of(owner_uid, saved) else {
            return Counts::default();
        };
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let owned = self.pods.owned(&saved.owner);
        let of = owned.and_then(|owned| owned.revision(&saved.revision.hash));
        let replicas = number(of.map_or(0, |of| of.active()));
        let newest = self.revisions.newest(owner_uid);
        let is_newest = newest.is_some_and(|newest| newest.number == saved.number);
        Counts {
            wanted: if is_newest { deployment.replicas() } else { replicas },
            replicas,
            ready: number(of.map_or(0, |of| of.of(Class::Ready).len())),
            available: number(of.map_or(0, |of| of.available())),
            min_ready_seconds: deployment.spec.min_ready_seconds,
        }
    }

    /// What is shown of a revision now.
    fn shown(&self, owner_uid: &str, saved: &Saved, resource_version: u64) -> Shown {
        Shown {
            resource_version,
            number: saved.number,
            annotations: saved.annotations.clone(),
            counts: self.counts(owner_uid, saved),
        }
    }

    /// The object that shows a revision.
    fn view_revision(&self, owner_uid: &str, saved: &Saved) -> Option<Arc<Object>> {
        let kind = shown_as(saved.owner.kind)?;
        let workload = self.workload_of(owner_uid, saved)?;
        let shown = saved.shown.as_ref()?;
        let hash = &saved.revision.hash;
        let labels = &saved.revision.template.metadata.labels;
        let mut metadata = ObjectMeta {
            name: name(saved),
            namespace: saved.owner.namespace.clone(),
            uid: uid(owner_uid, hash),
            resource_version: shown.resource_version.to_string(),
            generation: 1,
            creation_timestamp: Some(rfc3339(saved.created_ms)),
            labels: labels.clone(),
            annotations: shown.annotations.clone(),
            owner_references: Vec::from([controller(
                saved.owner.kind,
                &saved.owner.name,
                owner_uid,
            )]),
            ..ObjectMeta::default()
        };
        metadata.labels.insert(TEMPLATE_HASH_LABEL.to_owned(), hash.clone());
        Some(Arc::new(match kind {
            Kind::ReplicaSet => {
                metadata
                    .annotations
                    .insert(REVISION_ANNOTATION.to_owned(), shown.number.to_string());
                Object::ReplicaSet(replica_set(metadata, workload, saved, shown))
            }
            _ => Object::ControllerRevision(ControllerRevision {
                metadata,
                data: ControllerRevision::patch(&saved.revision.template),
                revision: shown.number,
            }),
        }))
    }

    /// The object with this name that shows a revision.
    pub(crate) fn view_revision_named(&self, key: &Key) -> Option<Arc<Object>> {
        let (owner, hash) = key.name.rsplit_once('-')?;
        let kinds = KINDS.iter().filter(|kind| kind.names().runs_pods);
        let mut owners = kinds
            .filter(|kind| shown_as(**kind) == Some(key.kind))
            .filter_map(|kind| self.objects.get(&Key::new(*kind, &key.namespace, owner)));
        owners.find_map(|stored| {
            let uid = stored.object.meta().uid.as_str();
            self.view_revision(uid, self.revisions.get(uid, hash)?)
        })
    }

    /// Every object of a kind that shows a revision.
    pub(crate) fn view_revisions(&self, kind: Kind) -> impl Iterator<Item = Arc<Object>> {
        let of_kind = move |(_, saved): &(&str, &Saved)| shown_as(saved.owner.kind) == Some(kind);
        let revisions = self.revisions.iter().filter(of_kind);
        revisions.filter_map(|(uid, saved)| self.view_revision(uid, saved))
    }
}

fn replica_set(
    metadata: ObjectMeta,
    workload: &Object,
    saved: &Saved,
    shown: &Shown,
) -> ReplicaSet {
    let hash = &saved.revision.hash;
    let with_hash = |labels: &mut crate::api::meta::Map| {
        labels.insert(TEMPLATE_HASH_LABEL.to_owned(), hash.clone());
    };
    let mut selector: LabelSelector = workload.selector().cloned().unwrap_or_default();
    with_hash(&mut selector.match_labels);
    let mut template: PodTemplate = saved.revision.template.clone();
    with_hash(&mut template.metadata.labels);
    let Counts { wanted, replicas, ready, available, min_ready_seconds } = shown.counts;
    ReplicaSet {
        metadata,
        spec: ReplicaSetSpec { replicas: wanted, min_ready_seconds, selector, template },
        status: ReplicaSetStatus {
            observed_generation: 1,
            replicas,
            fully_labeled_replicas: replicas,
            ready_replicas: ready,
            available_replicas: available,
        },
    }
}

impl Engine {
    /// Tells those who watch what changed about the revisions of a workload.
    pub(crate) fn show_revisions(&mut self, owner_uid: &str) {
        let of = self.state.revisions.of(owner_uid);
        let differs = |saved: &&Saved| match &saved.shown {
            None => true,
            Some(shown) => {
                shown.number != saved.number
                    || shown.annotations != saved.annotations
                    || shown.counts != self.state.counts(owner_uid, saved)
            }
        };
        let hashes: Vec<String> =
            of.filter(differs).map(|saved| saved.revision.hash.clone()).collect();
        for hash in hashes {
            let version = self.next_resource_version();
            let Some(saved) = self.state.revisions.get(owner_uid, &hash) else { continue };
            let action = if saved.shown.is_none() { Action::Added } else { Action::Modified };
            let shown = self.state.shown(owner_uid, saved, version);
            self.state.revisions.show(owner_uid, &hash, Some(shown));
            let saved = self.state.revisions.get(owner_uid, &hash);
            let object = saved.and_then(|saved| self.state.view_revision(owner_uid, saved));
            self.effects.extend(object.map(|object| changed(action, object, version)));
        }
    }

    /// Tells those who watch that a revision is not shown any more: nobody needs it, or its workload is about to go.
    pub(crate) fn hide_revision(&mut self, owner_uid: &str, hash: &str) {
        let Some(saved) = self.state.revisions.get(owner_uid, hash) else { return };
        let Some(shown) = saved.shown.clone() else { return };
        let version = self.next_resource_version();
        let last = Shown { resource_version: version, ..shown };
        self.state.revisions.show(owner_uid, hash, Some(last));
        let saved = self.state.revisions.get(owner_uid, hash);
        let object = saved.and_then(|saved| self.state.view_revision(owner_uid, saved));
        self.effects.extend(object.map(|object| changed(Action::Deleted, object, version)));
        self.state.revisions.show(owner_uid, hash, None);
    }

    /// The same, of every revision of a workload that is about to go.
    pub(crate) fn hide_revisions(&mut self, owner_uid: &str) {
        let of = self.state.revisions.of(owner_uid);
        let hashes: Vec<String> = of.map(|saved| saved.revision.hash.clone()).collect();
        for hash in hashes {
            self.hide_revision(owner_uid, &hash);
        }
    }

    /// Shows every revision of the records: those who watch list them first.
    pub(crate) fn show_loaded_revisions(&mut self) {
        let version = self.versions.last;
        let all: Vec<(String, String, Shown)> = self
            .state
            .revisions
            .iter()
            .filter(|(uid, saved)| self.state.workload_of(uid, saved).is_some())
            .map(|(uid, saved)| {
                let shown = self.state.shown(uid, saved, version);
                (uid.to_owned(), saved.revision.hash.clone(), shown)
            })
            .collect();
        for (uid, hash, shown) in all {
            self.state.revisions.show(&uid, &hash, Some(shown));
        }
    }
}
