//! Answering the API: create, replace, alter, delete, read. [`registry`] says what may be stored; here it is stored, at
//! one version, in one record, with one change for those who watch. What is accepted is saved in the same turn, before
//! the answer leaves.

use alloc::{
    borrow::ToOwned, collections::BTreeSet, format, string::ToString, sync::Arc, vec::Vec,
};

use firmware_compat::id::Hash;

use super::{Engine, changed, limits::template_of};
use crate::{
    actor::Actor,
    api::{ApiError, Key, Kind, Node, Object, resource::Home, time::rfc3339},
    controller::Scope,
    effect::{Action, Effect, Image, Response},
    event::{Alter, Listing, Request, RequestId},
    parts::Data,
    pod::{Pod, Revision},
    record,
    recorder::uuid,
    registry::{self, Accepted, DEFAULT_NAMESPACE},
    resolve,
    session::commands::Wanted,
    state::{Progress, Stored},
};

impl Engine {
    pub(crate) fn on_request(&mut self, id: RequestId, actor: &Actor, request: Request) {
        let result = match request {
            Request::Create(object) => self.create(actor, object),
            Request::Replace { object, create } => self.replace(actor, object, create),
            Request::Alter { kind, namespace, name, alter } => {
                self.alter(actor, &Key::new(kind, &namespace, &name), &alter)
            }
            Request::DeletePod { namespace, name, grace_s } => {
                self.delete_pod_within(&Key::new(Kind::Pod, &namespace, &name), grace_s)
            }
            Request::Delete { kind, namespace, name } => {
                self.delete(&Key::new(kind, &namespace, &name))
            }
            Request::Get { kind, namespace, name } => self.get(&Key::new(kind, &namespace, &name)),
            Request::List { kind, namespace } => Ok(self.list(kind, namespace.as_deref())),
            Request::Explain { kind, namespace, name } => {
                self.explain(&Key::new(kind, &namespace, &name)).map(Response::Explanation)
            }
            Request::Logs { namespace, name, container, follow, tail, previous, timestamps } => {
                let wanted = Wanted { container, follow, tail, previous, timestamps };
                self.start_logs(id, &namespace, &name, &wanted)
            }
            Request::CancelLogs(request) => {
                self.cancel_logs(request);
                Ok(Response::Done)
            }
            Request::NameImage { reference, root } => self.name_image(&reference, root),
            Request::ForgetImage { reference } => self.forget_image(&reference),
            Request::ListImages => Ok(Response::Images(self.list_images())),
            Request::Session { device, asker } => Ok(self.holder(&device, asker)),
            Request::Enrol(request) => self.enrol(request),
            Request::Renew(request) => self.renew(&request),
            Request::Shown { device, key } => Ok(self.shown(&device, &key)),
            Request::Certified { device, not_after_ms, authority, serial } => {
                self.certified(&device, not_after_ms, &authority, &serial)
            }
            Request::ListRevoked => Ok(Response::Revoked(self.list_revoked())),
            Request::CountTrust { authority } => Ok(self.count_trust(&authority)),
            Request::OnlyAuthority { authority } => Ok(self.only_authority(&authority)),
            Request::Resume { device } => self.resume(&device).map(|()| Response::Done),
            Request::Metrics => Ok(Response::Metrics(self.list_metrics())),
        };
        self.effects.push(Effect::Reply { id, result });
    }

    fn get(&mut self, key: &Key) -> Result<Response, ApiError> {
        self.read(key)
            .map(|object| Response::Object { object, created: false })
            .ok_or_else(|| ApiError::NotFound(key.clone()))
    }

    fn read(&self, key: &Key) -> Option<Arc<Object>> {
        match key.kind.names().home {
            Home::Pods => self.state.pods.names().get(key).and_then(|id| self.view_pod(*id)),
            Home::Devices => self.view_node(&key.name),
            Home::Revisions => self.state.view_revision_named(key),
            Home::Events => self.recorder.iter().find(|event| event.key() == *key).cloned(),
            Home::Objects => self.state.objects.get(key).map(|stored| stored.object.clone()),
            Home::Nowhere => None,
        }
    }

    fn list(&mut self, kind: Kind, namespace: Option<&str>) -> Response {
        let wanted = |key: &Key| namespace.is_none_or(|namespace| key.namespace == namespace);
        let objects: Vec<Arc<Object>> = match kind.names().home {
            Home::Pods => {
                let ids = self.state.pods.names().iter().filter(|(key, _)| wanted(key));
                ids.filter_map(|(_, id)| self.view_pod(*id)).collect()
            }
            Home::Devices => {
                self.state.fleet.names().filter_map(|name| self.view_node(name)).collect()
            }
            Home::Revisions => {
                let all = self.state.view_revisions(kind);
                all.filter(|object| wanted(&object.key())).collect()
            }
            Home::Events => {
                self.recorder.iter().filter(|event| wanted(&event.key())).cloned().collect()
            }
            Home::Objects => self
                .state
                .objects
                .of_kind(kind)
                .filter(|(key, _)| wanted(key))
                .map(|(_, stored)| stored.object.clone())
                .collect(),
            Home::Nowhere => Vec::new(),
        };
        Response::List(Listing { objects, resource_version: self.versions.last })
    }

    fn create(&mut self, actor: &Actor, mut object: Object) -> Result<Response, ApiError> {
        self.generate_name(&mut object);
        let mut accepted = registry::accept_new(object)?;
        let key = accepted.object.key();
        self.check_namespace(&key)?;
        if self.read(&key).is_some() {
            return Err(ApiError::AlreadyExists(key));
        }
        self.check_grant(actor, &accepted.object)?;
        self.check_class(&accepted.object)?;
        self.check_count(&key)?;
        self.check_pod_security(&accepted.object, None)?;
        self.check_room(&accepted.object)?;
        let id = self.rng.id();
        // A Job's template has its uid in it.
        accepted.object.set_uid(uuid(id));
        self.limit(&mut accepted, None)?;
        let revision = self.revision(&accepted);
        if let Some(revision) = revision.as_ref().filter(|_| key.kind == Kind::Pod) {
            // A quota has no Pod of a workload made; of a Pod by itself it refuses the object.
            if let Some(why) = self.state.over_quota(&key.namespace, revision) {
                return Err(ApiError::Forbidden(format!("{key} is forbidden: {why}")));
            }
            return Ok(self.create_bare(id, accepted.object, revision));
        }
        let object = self.create_stored(accepted.object, revision);
        self.storage_changed(&object, true);
        let object = self.read(&key).unwrap_or(object);
        Ok(Response::Object { object, created: true })
    }

    /// Stores a new object that has been accepted, and tells those who watch.
    pub(crate) fn create_stored(
        &mut self,
        mut object: Object,
        revision: Option<Arc<Revision>>,
    ) -> Arc<Object> {
        if object.meta().uid.is_empty() {
            object.set_uid(uuid(self.rng.id()));
        }
        let meta = object.meta_mut();
        meta.creation_timestamp = Some(rfc3339(self.unix_ms));
        self.put(object, revision, Action::Added)
    }

    fn replace(
        &mut self,
        actor: &Actor,
        object: Object,
        create: bool,
    ) -> Result<Response, ApiError> {
        let mut key = object.key();
        if key.kind.namespaced() && key.namespace.is_empty() {
            DEFAULT_NAMESPACE.clone_into(&mut key.namespace);
        }
        match self.read(&key) {
            Some(old) => self.change(actor, object, &old),
            None if create => self.create(actor, object),
            None => {
                self.check_namespace(&key)?;
                Err(ApiError::NotFound(key))
            }
        }
    }

    fn alter(&mut self, actor: &Actor, key: &Key, alter: &Alter) -> Result<Response, ApiError> {
        let old = self.read(key).ok_or_else(|| ApiError::NotFound(key.clone()))?;
        self.change(actor, alter.apply(&old)?, &old)
    }

    /// Stores an object in the place of an old one.
    fn change(
        &mut self,
        actor: &Actor,
        object: Object,
        old: &Arc<Object>,
    ) -> Result<Response, ApiError> {
        let given = object.meta().resource_version.clone();
        let mut accepted = registry::accept_change(object, old)?;
        let current = old.meta().resource_version.parse().unwrap_or_default();
        registry::check_version(&accepted.object, &given, current)?;
        let key = old.key();
        if let Object::Node(node) = &accepted.object {
            self.change_node(node);
            return self.get(&key);
        }
        self.check_class(&accepted.object)?;
        self.check_room(&accepted.object)?;
        if key.kind == Kind::Pod {
            return Ok(self.change_bare(&accepted.object, old));
        }
        self.limit(&mut accepted, Some(old))?;
        let mut revision = self.revision(&accepted);
        if key.kind == Kind::Job {
            // It runs what it was made with, whatever its images' names mean by now.
            revision = self.state.objects.get(&key).and_then(|stored| stored.revision.clone());
        }
        let stored = self.state.objects.get(&key).and_then(|stored| stored.revision.as_ref());
        let same_images = revision.as_ref().map(|r| &r.roots) == stored.map(|r| &r.roots);
        if accepted.object == **old && same_images {
            return Ok(Response::Object { object: old.clone(), created: false });
        }
        self.check_grant(actor, &accepted.object)?;
        self.check_pod_security(&accepted.object, Some(old))?;
        self.check_resize(&accepted.object)?;
        let mut object = accepted.object;
        let changed = registry::differs(&object, old) || !same_images;
        let meta = object.meta_mut();
        meta.generation = meta.generation.saturating_add(u64::from(changed));
        let object = self.put(object, revision, Action::Modified);
        self.storage_changed(&object, false);
        let object = self.read(&key).unwrap_or(object);
        Ok(Response::Object { object, created: false })
    }

    fn check_namespace(&self, key: &Key) -> Result<(), ApiError> {
        let namespace = Key::new(Kind::Namespace, "", &key.namespace);
        if key.kind.namespaced() && !self.state.objects.contains(&namespace) {
            return Err(ApiError::NotFound(namespace));
        }
        Ok(())
    }

    /// A class of priority that a template names must be there, as Kubernetes has it.
    fn check_class(&self, object: &Object) -> Result<(), ApiError> {
        let template = object.template().map(|(template, _)| template);
        let spec = template.as_ref().map(|template| &template.spec);
        match spec.and_then(|spec| self.state.missing_priority_class(spec)) {
            Some(name) => Err(ApiError::Forbidden(alloc::format!(
                "{}: no PriorityClass with name {name} was found; make it first, or leave priorityClassName out",
                object.key()
            ))),
            None => Ok(()),
        }
    }

    pub(crate) fn check_room(&self, object: &Object) -> Result<(), ApiError> {
        let key = object.key();
        let stock = self.state.objects.stock_without(&key);
        let bytes = serde_json::to_vec(object).map_or(0, |json| json.len());
        registry::check_room(object, bytes, !self.state.objects.contains(&key), stock)
    }

    /// A workload's template as understood, with the digests that its images have now.
    fn revision(&self, accepted: &Accepted) -> Option<Arc<Revision>> {
        let template = template_of(accepted)?;
        let resolved = accepted.resolved.clone()?;
        let roots = self.state.images.roots(&template);
        Some(Arc::new(Revision::new(&template, resolved, roots)))
    }

    /// Stores an object at a new version and marks what depends on it.
    pub(crate) fn put(
        &mut self,
        mut object: Object,
        revision: Option<Arc<Revision>>,
        action: Action,
    ) -> Arc<Object> {
        let version = self.next_resource_version();
        object.meta_mut().resource_version = version.to_string();
        let key = object.key();
        if let Some(data) = data_of(&object) {
            self.state.objects.set_data(&key, data);
            self.parts.get_mut().forget(&key);
            self.records.insert(record::data_key(&key), None);
            self.dirty_users(&key);
        }
        if let Object::Enrolment(enrolment) = &object {
            self.admission_changed(enrolment);
        }
        let object = Arc::new(object);
        let is_workload = revision.is_some();
        let known = self.state.objects.get(&key).filter(|_| action == Action::Modified);
        let progress: Progress = known.map(|stored| stored.progress.clone()).unwrap_or_default();
        let tally = known.map(|stored| stored.tally.clone()).unwrap_or_default();
        let stored = Stored {
            object: object.clone(),
            resource_version: version,
            revision,
            bytes: 0,
            progress,
            tally,
        };
        self.state.objects.insert(&key, stored);
        self.save_object(&key, &object);
        // What is shown of a Pod is more than its object.
        if key.kind != Kind::Pod {
            self.effects.push(changed(action, object.clone(), version));
        }
        if is_workload {
            self.dirty.workloads.insert(key, Scope::All);
        }
        object
    }

    pub(crate) fn save_object(&mut self, key: &Key, object: &Object) {
        let stored = self.state.objects.get(key);
        let revision = stored.and_then(|stored| stored.revision.as_ref());
        let roots = revision.map(|revision| revision.roots.clone()).unwrap_or_default();
        let written = object.template().map(|(template, _)| template);
        let template = revision.map(|revision| revision.template.clone());
        let json = serde_json::to_value(object).unwrap_or_default();
        let value = record::encode(&record::ObjectRecord {
            object: json,
            roots,
            template: template.filter(|template| Some(template) != written.as_deref()),
        });
        self.state.objects.set_bytes(key, value.len());
        self.records.insert(record::object_key(key), Some(value));
    }

    fn delete(&mut self, key: &Key) -> Result<Response, ApiError> {
        match key.kind.names().home {
            Home::Pods => self.delete_pod(key),
            Home::Devices => self.delete_node(key),
            Home::Revisions | Home::Events => {
                Err(ApiError::NotAllowed(key.kind.names().made_by.to_owned()))
            }
            Home::Objects if key.kind == Kind::Namespace => self.delete_namespace(key),
            Home::Objects if is_storage(key.kind) => self.delete_storage(key),
            Home::Objects => self.delete_object(key),
            Home::Nowhere => Err(ApiError::NotFound(key.clone())),
        }
    }

    /// A Pod that its device may know stays until the device has let go of it; another is gone at once.
    pub(super) fn delete_pod(&mut self, key: &Key) -> Result<Response, ApiError> {
        let not_found = || ApiError::NotFound(key.clone());
        let id = *self.state.pods.names().get(key).ok_or_else(not_found)?;
        let before = self.view_pod(id).ok_or_else(not_found)?;
        self.begin_delete(id);
        Ok(Response::Deleted(self.view_pod(id).unwrap_or(before)))
    }

    pub(crate) fn delete_object(&mut self, key: &Key) -> Result<Response, ApiError> {
        if key.kind == Kind::Pod {
            return self.delete_pod(key);
        }
        if let Some(stored) = self.state.objects.get(key).filter(|s| s.revision.is_some()) {
            let uid = stored.object.meta().uid.clone();
            self.hide_revisions(&uid);
        }
        let stored =
            self.state.objects.remove(key).ok_or_else(|| ApiError::NotFound(key.clone()))?;
        let version = self.next_resource_version();
        let mut object = stored.object.as_ref().clone();
        object.meta_mut().resource_version = version.to_string();
        let object = Arc::new(object);
        self.records.insert(record::object_key(key), None);
        self.effects.push(changed(Action::Deleted, object.clone(), version));
        if stored.revision.is_some() {
            self.dirty.workloads.insert(key.clone(), Scope::All);
            self.drop_revisions_without_owner(&object.meta().uid);
        }
        self.delete_claims_of_set(&object);
        if matches!(key.kind, Kind::ConfigMap | Kind::Secret) {
            self.retire_data(key);
        }
        if key.kind == Kind::ResourceQuota {
            self.tell_of_quota();
        }
        if let Object::Enrolment(enrolment) = object.as_ref() {
            self.withdraw(&enrolment.status.certificates);
            self.effects.push(Effect::Disown { device: key.name.clone() });
        }
        Ok(Response::Deleted(object))
    }

    fn delete_namespace(&mut self, key: &Key) -> Result<Response, ApiError> {
        if key.name == "default" {
            return Err(ApiError::Forbidden("the namespace default can't be deleted".to_owned()));
        }
        if !self.state.objects.contains(key) {
            return Err(ApiError::NotFound(key.clone()));
        }
        let objects = self.state.objects.iter().map(|(inside, _)| inside);
        let inside: Vec<Key> =
            objects.filter(|inside| inside.namespace == key.name).cloned().collect();
        for inside in inside {
            self.delete(&inside)?;
        }
        self.delete_object(key)
    }

    fn delete_node(&mut self, key: &Key) -> Result<Response, ApiError> {
        let object = self.view_node(&key.name).ok_or_else(|| ApiError::NotFound(key.clone()))?;
        let online = self.state.fleet.get(&key.name).is_some_and(|device| device.online());
        if online {
            return Err(ApiError::Forbidden(format!(
                "{} is connected and would join again at once; stop its agent first",
                key.name
            )));
        }
        let ids: Vec<_> = self.state.pods.on(&key.name).pods().iter().copied().collect();
        for id in ids {
            self.remove_pod(id);
        }
        self.forget_condemned(&key.name);
        if let Some(generation) = self.state.fleet.retire(&key.name) {
            self.records.insert(record::retired_key(&key.name), Some(record::encode(&generation)));
        }
        self.state.pods.forget_device(&key.name);
        self.sessions.full_reports.remove(&key.name);
        self.forget_rejected(&key.name);
        self.dirty.devices.insert(key.name.clone());
        self.dirty.changed_nodes.remove(&key.name);
        let version = self.next_resource_version();
        self.effects.push(Effect::ClearHead { device: key.name.clone() });
        self.effects.push(changed(Action::Deleted, object.clone(), version));
        self.dirty_device(&key.name);
        Ok(Response::Deleted(object))
    }

    /// Of a Node, the operator writes labels, annotations, taints and `unschedulable`.
    fn change_node(&mut self, node: &Node) {
        let name = &node.metadata.name;
        let Some(device) = self.state.fleet.get_mut(name) else { return };
        let mut brought = device.clone();
        brought.operator.labels.clear();
        let brought = brought.labels();
        let mut labels = node.metadata.labels.clone();
        labels.retain(|name, value| brought.get(name) != Some(value));
        let operator = crate::device::Operator {
            labels,
            annotations: node.metadata.annotations.clone(),
            taints: node.spec.taints.clone(),
            unschedulable: node.spec.unschedulable,
        };
        if device.operator != operator {
            device.operator = operator;
            self.dirty.devices.insert(name.clone());
            self.touch_node(name);
            self.dirty_device(name);
            self.watch_silence(name);
        }
    }

    fn name_image(&mut self, reference: &str, root: Hash) -> Result<Response, ApiError> {
        let reference = resolve::tagged(reference);
        self.refresh_image(root);
        if self.state.images.name(&reference, root) {
            self.records.insert(record::image_key(&reference), Some(record::encode(&root)));
        }
        self.adopt_image(&reference, root);
        Ok(Response::Done)
    }

    fn forget_image(&mut self, reference: &str) -> Result<Response, ApiError> {
        let reference = resolve::tagged(reference);
        let users = self.users_of_image(&reference);
        if let Some(user) = users.first() {
            return Err(ApiError::Forbidden(format!(
                "image {reference} is used by {user}; delete that first, or update it and wait until no Pod runs the image"
            )));
        }
        if !self.state.images.forget(&reference) {
            return Err(ApiError::Forbidden(format!("the hub has no image {reference}")));
        }
        self.records.insert(record::image_key(&reference), None);
        Ok(Response::Done)
    }

    /// Workloads that name an image, and those of which Pods of older templates do: an update that goes on, or
    /// stopped, leaves them, and they may be started again.
    fn users_of_image(&self, reference: &str) -> Vec<Key> {
        let current = self.state.objects.naming_image(reference);
        let users: BTreeSet<&Key> =
            current.chain(self.state.pods.owners_using(reference)).collect();
        users.into_iter().cloned().collect()
    }

    fn list_images(&self) -> Vec<Image> {
        self.state
            .images
            .names()
            .iter()
            .map(|(reference, root)| Image {
                reference: reference.clone(),
                root: *root,
                used_by: self.users_of_image(reference),
            })
            .collect()
    }

    fn list_metrics(&self) -> Vec<(&'static str, u64)> {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let metrics = &self.metrics;
        Vec::from([
            ("lichen_devices", count(self.state.fleet.len())),
            ("lichen_devices_ready", count(self.state.fleet.iter().filter(|d| d.online()).count())),
            ("lichen_pods", count(self.state.pods.len())),
            ("lichen_pods_running", count(self.state.pods.running())),
            ("lichen_frames_total", metrics.frames),
            ("lichen_frames_refused_total", metrics.rejected_frames),
            ("lichen_signatures_total", metrics.signatures),
            ("lichen_devices_without_newest_key", count(self.without_newest_key())),
            ("lichen_turns_total", metrics.turns),
            ("lichen_assignments_total", metrics.assignments),
            ("lichen_placements_total", metrics.placements),
            ("lichen_plans_total", metrics.plans),
            ("lichen_plans_refused_total", metrics.refused_plans),
        ])
    }

    fn dirty_users(&mut self, source: &Key) {
        let users = self.state.pods.using(source);
        let devices: Vec<_> = users.filter_map(|pod| pod.device.clone()).collect();
        self.dirty.assignments.extend(devices);
    }

    /// The data of a deleted ConfigMap or Secret stays for the Pods that have it: they must not lose their files.
    fn retire_data(&mut self, key: &Key) {
        if self.state.pods.using(key).next().is_none() {
            return self.drop_data(key);
        }
        if let Some(data) = self.state.objects.data(key) {
            let value = record::encode(&record::DataRecord { data: data.as_ref().clone() });
            self.records.insert(record::data_key(key), Some(value));
        }
    }

    fn drop_data(&mut self, key: &Key) {
        self.state.objects.drop_data(key);
        self.parts.get_mut().forget(key);
    }

    /// Drops the data of deleted ConfigMaps and Secrets that a gone Pod was the last to use.
    pub(crate) fn drop_unused_data(&mut self, gone: &Pod) {
        for key in gone.sources().into_iter().filter(|key| !is_storage(key.kind)) {
            let is_used = self.state.pods.using(&key).next().is_some();
            if !is_used && !self.state.objects.contains(&key) {
                self.drop_data(&key);
                self.records.insert(record::data_key(&key), None);
            }
        }
    }
}

fn is_storage(kind: Kind) -> bool {
    matches!(kind, Kind::PersistentVolumeClaim | Kind::PersistentVolume | Kind::StorageClass)
}

/// What Pods may take of an object. It was checked before it came here.
fn data_of(object: &Object) -> Option<Data> {
    match object {
        Object::ConfigMap(map) => Some(Arc::new(map.files().unwrap_or_default())),
        Object::Secret(secret) => Some(Arc::new(secret.data.clone())),
        _ => None,
    }
}
