//! Pods that no workload made: the object that an operator wrote, and its one Pod, which has its name and its uid. They come
//! and go together.

use alloc::{string::ToString, sync::Arc};

use firmware_compat::{id::PodId, v1::owned::Action as Command};

use super::{Engine, changed};
use crate::{
    api::{ApiError, Key, Kind, Object},
    apply::jobs::Made,
    controller::Scope,
    effect::{Action, Response},
    pod::{self, Revision},
    registry::DEFAULT_NAMESPACE,
    state::Saved,
};

/// The same revision with the labels and annotations of an object.
fn relabelled(revision: &Revision, object: &Object) -> Revision {
    let (mut template, meta) = (revision.template.clone(), object.meta());
    template.metadata.labels.clone_from(&meta.labels);
    template.metadata.annotations.clone_from(&meta.annotations);
    let Revision { hash, resolved, roots, .. } = revision;
    Revision::saved(hash.clone(), &template, resolved.clone(), roots.clone())
}

impl Engine {
    /// Stores a new Pod that has been accepted, with this uid.
    pub(super) fn create_bare(
        &mut self,
        id: PodId,
        object: Object,
        revision: &Arc<Revision>,
    ) -> Response {
        let object = self.create_stored(object, Some(revision.clone()));
        let key = object.key();
        // The Pod's record names its revision: both are in one save.
        self.adopt_revision(&key, &object, &Scope::All);
        let made = Made { id, name: key.name.clone(), index: None };
        self.make_pod(&key, &object.meta().uid, revision, None, made);
        Response::Object {
            object: self.tell_pod(id, Action::Added).unwrap_or(object),
            created: true,
        }
    }

    /// Tells those who watch of a Pod now, at the version that the answer has, too.
    fn tell_pod(&mut self, id: PodId, action: Action) -> Option<Arc<Object>> {
        let version = self.next_resource_version();
        self.change_pod(id, |pod| pod.resource_version = version);
        self.dirty.changed_pods.remove(&id);
        let object = self.view_pod(id)?;
        self.effects.push(changed(action, object.clone(), version));
        Some(object)
    }

    /// Gives a Pod other labels and annotations; nothing else of it can change.
    pub(super) fn change_bare(&mut self, object: &Object, old: &Arc<Object>) -> Response {
        let key = old.key();
        let id = self.state.pods.names().get(&key).copied();
        let stored = self.state.objects.get(&key).cloned();
        let (Some(id), Some(stored)) = (id, stored) else {
            return Response::Object { object: old.clone(), created: false };
        };
        let (new, known) = (object.meta(), old.meta());
        if new.labels != known.labels || new.annotations != known.annotations {
            let mut changed = stored.object.as_ref().clone();
            let meta = changed.meta_mut();
            meta.labels.clone_from(&new.labels);
            meta.annotations.clone_from(&new.annotations);
            let revision = stored.revision.map(|known| Arc::new(relabelled(&known, &changed)));
            self.put(changed, revision.clone(), Action::Modified);
            if let Some(revision) = revision {
                self.relabel(id, revision);
            }
            let added = self.dirty.changed_pods.get(&id) == Some(&Action::Added);
            let action = if added { Action::Added } else { Action::Modified };
            let object = self.tell_pod(id, action).unwrap_or_else(|| old.clone());
            return Response::Object { object, created: false };
        }
        Response::Object { object: old.clone(), created: false }
    }

    /// What a Pod runs has other labels and annotations, and the same name: nothing restarts.
    fn relabel(&mut self, id: PodId, revision: Arc<Revision>) {
        let Some(mut pod) = self.state.pods.get(id).cloned() else { return };
        let saved = self.state.revisions.get(&pod.owner_uid, &revision.hash).cloned();
        if let Some(saved) = saved {
            self.save_revision(&pod.owner_uid, Saved { revision: revision.clone(), ..saved });
        }
        pod.revision = revision;
        self.state.pods.insert(pod, self.now);
    }

    /// Deletes a Pod whose containers have so long to end. Its device is told of that by a command, for as long as it is
    /// connected: what it holds of the Pod otherwise, says the spec.
    pub(super) fn delete_pod_within(
        &mut self,
        key: &Key,
        grace_s: u64,
    ) -> Result<Response, ApiError> {
        let pod = self.state.pods.named(key).ok_or_else(|| ApiError::NotFound(key.clone()))?;
        let (id, device) = (pod.id, pod.device.clone().unwrap_or_default());
        let is_told = pod.assigned && pod.finished().is_none();
        match self.connection(&device) {
            Some(session) if is_told => {
                let grace_ms = u32::try_from(grace_s.saturating_mul(1000)).unwrap_or(u32::MAX);
                self.command(session, &device, Command::Grace { pod: id, grace_ms });
            }
            None if grace_s == 0 => {
                let object = self.view_pod(id).ok_or_else(|| ApiError::NotFound(key.clone()))?;
                self.remove_pod(id);
                self.dirty.assignments.insert(device);
                return Ok(Response::Deleted(object));
            }
            _ => {}
        }
        self.change_pod(id, |pod| pod.grace_s = Some(grace_s));
        self.touch_pod(id);
        self.delete_pod(key)
    }

    /// Makes a name for a new object that only says how it is to begin: Kubernetes' form.
    pub(super) fn generate_name(&mut self, object: &mut Object) {
        let kind = object.kind();
        let meta = object.meta();
        if !meta.name.is_empty() || meta.generate_name.is_empty() {
            return;
        }
        /// Random characters at its end.
        const SUFFIX: usize = 5;
        let longest = kind.names().longest_name.saturating_sub(SUFFIX);
        let mut end = meta.generate_name.len().min(longest);
        while !meta.generate_name.is_char_boundary(end) {
            end -= 1;
        }
        let prefix = meta.generate_name.get(..end).unwrap_or_default().to_string();
        let namespace = match meta.namespace.as_str() {
            "" => DEFAULT_NAMESPACE,
            given => given,
        };
        let state = &self.state;
        let name = pod::name::draw(&prefix, &mut self.rng, |name| {
            let key = Key::new(kind, namespace, name);
            match kind {
                Kind::Pod => state.pods.named(&key).is_some(),
                _ => state.objects.contains(&key),
            }
        });
        object.meta_mut().name = name;
    }
}
