//! Answering the API: create, replace, delete, read. What is accepted is saved in the same turn, before the answer
//! leaves.

use alloc::{
    borrow::ToOwned,
    collections::BTreeSet,
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};

use firmware_compat::id::Hash;

use super::{
    Engine, Stored, changed,
    happenings::uuid,
    load::{config_data, template},
    logs::Wanted,
};
use crate::{
    api::{
        ApiError, FieldError, Key, Kind, Node, Object,
        meta::{LabelSelector, Map},
        time::rfc3339,
        validate::{check_label, check_labels, check_subdomain},
    },
    effect::{Action, Effect, Image, Response},
    event::{Listing, Request, RequestId},
    pod::{Pod, Revision},
    record,
    resolve::{self, TaintEffect},
};

/// Longest name of a workload: room for a hash and a suffix in its Pods' names.
const MAX_NAME: usize = 200;
/// Bytes of data in one ConfigMap: Kubernetes' bound.
const MAX_CONFIG_BYTES: usize = 1024 * 1024;
/// Copies of one Deployment.
const MAX_REPLICAS: u32 = 100_000;

impl Engine {
    pub(super) fn on_request(&mut self, id: RequestId, request: Request) {
        let result = match request {
            Request::Create(object) => self.create(object),
            Request::Replace { object, create } => self.replace(object, create),
            Request::Delete { kind, namespace, name } => {
                self.delete(&Key::new(kind, &namespace, &name))
            }
            Request::Get { kind, namespace, name } => self.get(&Key::new(kind, &namespace, &name)),
            Request::List { kind, namespace } => Ok(self.list(kind, namespace.as_deref())),
            Request::Explain { kind, namespace, name } => {
                self.explain(&Key::new(kind, &namespace, &name)).map(Response::Explanation)
            }
            Request::Logs { namespace, name, follow, tail, previous, timestamps } => {
                let wanted = Wanted { follow, tail, previous, timestamps };
                self.start_logs(id, &namespace, &name, &wanted)
            }
            Request::CancelLogs(request) => {
                self.cancel_logs(request);
                Ok(Response::Done)
            }
            Request::NameImage { reference, root } => self.name_image(&reference, root),
            Request::ForgetImage { reference } => self.forget_image(&reference),
            Request::ListImages => Ok(Response::Images(self.list_images())),
            Request::Session { device } => {
                let device = self.devices.get(&device).filter(|device| device.online());
                Ok(Response::Session(device.map(|device| device.agent())))
            }
            Request::Resume { device } => self.resume(&device).map(|()| Response::Done),
            Request::Figures => Ok(Response::Figures(self.list_figures())),
        };
        self.effects.push(Effect::Reply { id, result });
    }

    fn get(&mut self, key: &Key) -> Result<Response, ApiError> {
        self.read(key)
            .map(|object| Response::Object { object, created: false })
            .ok_or_else(|| ApiError::NotFound(key.clone()))
    }

    fn read(&self, key: &Key) -> Option<Arc<Object>> {
        match key.kind {
            Kind::Pod => self.by_name.get(key).and_then(|id| self.view_pod(*id)),
            Kind::Node => self.view_node(&key.name),
            Kind::Event => self.happenings.iter().find(|event| event.key() == *key).cloned(),
            Kind::Namespace | Kind::ConfigMap | Kind::Deployment | Kind::DaemonSet => {
                self.objects.get(key).map(|stored| stored.object.clone())
            }
        }
    }

    fn list(&mut self, kind: Kind, namespace: Option<&str>) -> Response {
        let wanted = |key: &Key| namespace.is_none_or(|namespace| key.namespace == namespace);
        let objects: Vec<Arc<Object>> = match kind {
            Kind::Pod => {
                let ids = self.by_name.iter().filter(|(key, _)| wanted(key));
                ids.filter_map(|(_, id)| self.view_pod(*id)).collect()
            }
            Kind::Node => self.devices.keys().filter_map(|name| self.view_node(name)).collect(),
            Kind::Event => {
                self.happenings.iter().filter(|event| wanted(&event.key())).cloned().collect()
            }
            Kind::Namespace | Kind::ConfigMap | Kind::Deployment | Kind::DaemonSet => self
                .objects
                .iter()
                .filter(|(key, _)| key.kind == kind && wanted(key))
                .map(|(_, stored)| stored.object.clone())
                .collect(),
        };
        Response::List(Listing { objects, resource_version: self.resource_version })
    }

    fn create(&mut self, mut object: Object) -> Result<Response, ApiError> {
        let revision = self.check(&mut object)?;
        let key = object.key();
        if self.objects.contains_key(&key) {
            return Err(ApiError::AlreadyExists(key));
        }
        let object = self.create_stored(object, revision);
        Ok(Response::Object { object, created: true })
    }

    /// Stores a new object that has been checked, and tells those who watch.
    pub(super) fn create_stored(
        &mut self,
        mut object: Object,
        revision: Option<Arc<Revision>>,
    ) -> Arc<Object> {
        let uid = uuid(self.rng.id());
        let created = rfc3339(self.unix_ms);
        let meta = object.meta_mut();
        meta.uid = uid;
        meta.generation = 1;
        meta.creation_timestamp = Some(created);
        meta.deletion_timestamp = None;
        meta.owner_references.clear();
        match &mut object {
            Object::Deployment(deployment) => deployment.status = Default::default(),
            Object::DaemonSet(set) => set.status = Default::default(),
            _ => {}
        }
        self.put(object, revision, Action::Added)
    }

    fn replace(&mut self, mut object: Object, create: bool) -> Result<Response, ApiError> {
        if let Object::Node(node) = object {
            return self.replace_node(&node);
        }
        let revision = self.check(&mut object)?;
        let key = object.key();
        let Some(stored) = self.objects.get(&key) else {
            if !create {
                return Err(ApiError::NotFound(key));
            }
            let object = self.create_stored(object, revision);
            return Ok(Response::Object { object, created: true });
        };
        let old = stored.object.clone();
        check_version(&key, &object.meta().resource_version, stored.resource_version)?;
        if let (Some(old), Some(new)) = (selector(&old), selector(&object))
            && old != new
        {
            return Err(invalid(
                &key,
                FieldError::new(
                    "spec.selector",
                    "can't be changed; delete the workload and apply it again",
                ),
            ));
        }
        let same_images =
            revision.as_ref().map(|r| &r.roots) == stored.revision.as_ref().map(|r| &r.roots);
        keep_what_the_hub_wrote(&mut object, &old);
        let mut compared = object.clone();
        compared.meta_mut().generation = old.meta().generation;
        compared.meta_mut().resource_version.clone_from(&old.meta().resource_version);
        if compared == *old && same_images {
            return Ok(Response::Object { object: old, created: false });
        }
        let spec_changed = !same_spec(&object, &old) || !same_images;
        object.meta_mut().generation =
            old.meta().generation.saturating_add(u64::from(spec_changed));
        let object = self.put(object, revision, Action::Modified);
        Ok(Response::Object { object, created: false })
    }

    /// Stores an object at a new version and marks what depends on it.
    fn put(
        &mut self,
        mut object: Object,
        revision: Option<Arc<Revision>>,
        action: Action,
    ) -> Arc<Object> {
        let version = self.next_resource_version();
        object.meta_mut().resource_version = version.to_string();
        let key = object.key();
        if let Object::ConfigMap(map) = &object {
            // Checked before it came here.
            let data = Arc::new(config_data(map).unwrap_or_default());
            self.configs.insert((key.namespace.clone(), key.name.clone()), data);
            self.records.insert(record::config_key(&key.namespace, &key.name), None);
            self.dirty_users_of_config(&key);
        }
        let object = Arc::new(object);
        let is_workload = revision.is_some();
        let stored = Stored { object: object.clone(), resource_version: version, revision };
        self.objects.insert(key.clone(), stored);
        self.save_object(&key, &object);
        self.effects.push(changed(action, object.clone(), version));
        if is_workload {
            self.dirty.workloads.insert(key);
        }
        object
    }

    pub(super) fn save_object(&mut self, key: &Key, object: &Object) {
        let roots = self
            .objects
            .get(key)
            .and_then(|stored| stored.revision.as_ref())
            .map(|revision| revision.roots.clone())
            .unwrap_or_default();
        let json = serde_json::to_value(object).unwrap_or_default();
        let value = record::encode(&record::ObjectRecord { object: json, roots });
        self.records.insert(record::object_key(key), Some(value));
    }

    fn delete(&mut self, key: &Key) -> Result<Response, ApiError> {
        match key.kind {
            Kind::Pod => {
                let id = *self.by_name.get(key).ok_or_else(|| ApiError::NotFound(key.clone()))?;
                self.begin_delete(id);
                let object = self.view_pod(id).ok_or_else(|| ApiError::NotFound(key.clone()))?;
                Ok(Response::Deleted(object))
            }
            Kind::Node => self.delete_node(key),
            Kind::Event => {
                Err(ApiError::NotAllowed("events can't be deleted; they expire".to_owned()))
            }
            Kind::Namespace => self.delete_namespace(key),
            Kind::ConfigMap | Kind::Deployment | Kind::DaemonSet => self.delete_object(key),
        }
    }

    fn delete_object(&mut self, key: &Key) -> Result<Response, ApiError> {
        let stored = self.objects.remove(key).ok_or_else(|| ApiError::NotFound(key.clone()))?;
        let version = self.next_resource_version();
        let mut object = stored.object.as_ref().clone();
        object.meta_mut().resource_version = version.to_string();
        let object = Arc::new(object);
        self.records.insert(record::object_key(key), None);
        self.effects.push(changed(Action::Deleted, object.clone(), version));
        if stored.revision.is_some() {
            self.dirty.workloads.insert(key.clone());
        }
        if key.kind == Kind::ConfigMap {
            self.retire_config(key);
        }
        Ok(Response::Deleted(object))
    }

    fn delete_namespace(&mut self, key: &Key) -> Result<Response, ApiError> {
        if key.name == "default" {
            return Err(ApiError::Forbidden("the namespace default can't be deleted".to_owned()));
        }
        if !self.objects.contains_key(key) {
            return Err(ApiError::NotFound(key.clone()));
        }
        let inside: Vec<Key> =
            self.objects.keys().filter(|inside| inside.namespace == key.name).cloned().collect();
        for inside in inside {
            self.delete_object(&inside)?;
        }
        self.delete_object(key)
    }

    fn delete_node(&mut self, key: &Key) -> Result<Response, ApiError> {
        let object = self.view_node(&key.name).ok_or_else(|| ApiError::NotFound(key.clone()))?;
        let online = self.devices.get(&key.name).is_some_and(|device| device.online());
        if online {
            return Err(ApiError::Forbidden(format!(
                "{} is connected and would join again at once; stop its agent first",
                key.name
            )));
        }
        let ids: Vec<_> =
            self.devices.get(&key.name).into_iter().flat_map(|d| d.pods.clone()).collect();
        for id in ids {
            self.remove_pod(id);
        }
        if let Some(device) = self.devices.remove(&key.name) {
            let generation = device.desired.generation;
            self.retired.insert(key.name.clone(), generation);
            self.records.insert(record::retired_key(&key.name), Some(record::encode(&generation)));
        }
        self.full_reports.remove(&key.name);
        self.forget_refusals(&key.name);
        self.dirty.devices.insert(key.name.clone());
        self.dirty.changed_nodes.remove(&key.name);
        let version = self.next_resource_version();
        self.effects.push(Effect::ClearHead { device: key.name.clone() });
        self.effects.push(changed(Action::Deleted, object.clone(), version));
        self.dirty_all_workloads();
        Ok(Response::Deleted(object))
    }

    /// Of a Node, the operator writes labels, annotations, taints and `unschedulable`.
    fn replace_node(&mut self, node: &Node) -> Result<Response, ApiError> {
        let key = Key::new(Kind::Node, "", &node.metadata.name);
        let mut causes = Vec::new();
        causes.extend(check_labels("metadata.labels", &node.metadata.labels).err());
        for (i, taint) in node.spec.taints.iter().enumerate() {
            let field = format!("spec.taints[{i}]");
            causes.extend(check_label(&field, &taint.key, &taint.value).err());
            if TaintEffect::parse(&taint.effect).is_none() {
                causes.push(FieldError::new(
                    format!("{field}.effect"),
                    format!(
                        "\"{}\" must be \"NoSchedule\", \"PreferNoSchedule\" or \"NoExecute\"",
                        taint.effect
                    ),
                ));
            }
        }
        if !causes.is_empty() {
            return Err(ApiError::Invalid { key, causes });
        }
        let device =
            self.devices.get_mut(&key.name).ok_or_else(|| ApiError::NotFound(key.clone()))?;
        check_version(&key, &node.metadata.resource_version, device.resource_version)?;
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
            self.dirty.devices.insert(key.name.clone());
            self.touch_node(&key.name);
            self.dirty_all_workloads();
        }
        self.get(&key)
    }

    fn name_image(&mut self, reference: &str, root: Hash) -> Result<Response, ApiError> {
        let reference = resolve::tagged(reference);
        self.refresh_supply(root);
        if self.images.insert(reference.clone(), root) != Some(root) {
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
                "image {reference} is used by {user}; delete that first, or update it and wait until no copy runs the image"
            )));
        }
        if self.images.remove(&reference).is_none() {
            return Err(ApiError::Forbidden(format!("the hub has no image {reference}")));
        }
        self.records.insert(record::image_key(&reference), None);
        Ok(Response::Done)
    }

    fn users_of_image(&self, reference: &str) -> Vec<Key> {
        let uses = |revision: &Revision| {
            revision.roots.keys().any(|image| resolve::tagged(image) == reference)
        };
        let current = |key: &Key| self.objects.get(key).and_then(|stored| stored.revision.as_ref());
        let workloads = self.objects.keys().filter(|key| current(key).is_some_and(|r| uses(r)));
        // An update that goes on, or stopped, leaves copies of older revisions: they may be started again.
        let older = self.pods.values().filter(|copy| {
            copy.deleting.is_none()
                && current(&copy.owner).is_none_or(|revision| revision.hash != copy.revision.hash)
                && uses(&copy.revision)
        });
        let users: BTreeSet<&Key> = workloads.chain(older.map(|copy| &copy.owner)).collect();
        users.into_iter().cloned().collect()
    }

    fn list_images(&self) -> Vec<Image> {
        self.images
            .iter()
            .map(|(reference, root)| Image {
                reference: reference.clone(),
                root: *root,
                used_by: self.users_of_image(reference),
            })
            .collect()
    }

    fn list_figures(&self) -> Vec<(&'static str, u64)> {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let figures = &self.figures;
        Vec::from([
            ("lichen_devices", count(self.devices.len())),
            ("lichen_devices_ready", count(self.devices.values().filter(|d| d.online()).count())),
            ("lichen_pods", count(self.pods.len())),
            ("lichen_pods_running", count(self.pods.values().filter(|i| i.runs()).count())),
            ("lichen_frames_total", figures.frames),
            ("lichen_frames_refused_total", figures.refused_frames),
            ("lichen_turns_total", figures.turns),
            ("lichen_assignments_total", figures.assignments),
            ("lichen_placements_total", figures.placements),
        ])
    }

    /// Checks an object that an operator wrote; for a workload, understands its template.
    fn check(&self, object: &mut Object) -> Result<Option<Arc<Revision>>, ApiError> {
        let kind = object.kind();
        match kind {
            Kind::Namespace | Kind::ConfigMap | Kind::Deployment | Kind::DaemonSet => {}
            Kind::Node | Kind::Pod | Kind::Event => {
                return Err(ApiError::NotAllowed(format!(
                    "{} can't be created by hand; they come from {}",
                    kind.plural(),
                    if kind == Kind::Pod { "Deployments and DaemonSets" } else { "the devices" }
                )));
            }
        }
        let meta = object.meta_mut();
        if !kind.namespaced() {
            meta.namespace = String::new();
        } else if meta.namespace.is_empty() {
            meta.namespace = "default".to_owned();
        }
        let key = object.key();
        let meta = object.meta();
        let mut causes = Vec::new();
        let longest = if kind == Kind::Namespace { 63 } else { MAX_NAME };
        causes.extend(check_subdomain("metadata.name", &meta.name, longest).err());
        causes.extend(check_labels("metadata.labels", &meta.labels).err());
        let namespace = Key::new(Kind::Namespace, "", &meta.namespace);
        if kind.namespaced() && !self.objects.contains_key(&namespace) {
            return Err(ApiError::NotFound(namespace));
        }
        let revision = self.check_content(object, &mut causes);
        if let Object::Namespace(namespace) = object {
            namespace.status.phase = "Active".to_owned();
        }
        if causes.is_empty() { Ok(revision) } else { Err(ApiError::Invalid { key, causes }) }
    }

    fn check_content(
        &self,
        object: &Object,
        causes: &mut Vec<FieldError>,
    ) -> Option<Arc<Revision>> {
        if let Object::ConfigMap(map) = object {
            check_config(map, causes);
        }
        if let Object::Deployment(deployment) = object
            && deployment.replicas() > MAX_REPLICAS
        {
            causes.push(FieldError::new(
                "spec.replicas",
                format!("at most {MAX_REPLICAS} are supported"),
            ));
        }
        let template = template(object)?;
        if let Some(selector) = selector(object) {
            check_selector(selector, &template.metadata.labels, causes);
        }
        match resolve::resolve("spec.template", template) {
            Ok(resolved) => {
                let roots = self.resolve_roots(template);
                Some(Arc::new(Revision::new(template, resolved, roots)))
            }
            Err(errors) => {
                causes.extend(errors);
                None
            }
        }
    }

    fn dirty_users_of_config(&mut self, key: &Key) {
        let users = self.pods.values().filter(|pod| uses_config(pod, key));
        let devices: Vec<_> = users.filter_map(|pod| pod.device.clone()).collect();
        self.dirty.assignments.extend(devices);
    }

    /// A deleted ConfigMap's data stays for the Pods that have it: they must not lose their files.
    fn retire_config(&mut self, key: &Key) {
        let slot = (key.namespace.clone(), key.name.clone());
        if self.pods.values().any(|pod| uses_config(pod, key)) {
            if let Some(data) = self.configs.get(&slot) {
                let value = record::encode(data.as_ref());
                self.records.insert(record::config_key(&slot.0, &slot.1), Some(value));
            }
        } else {
            self.configs.remove(&slot);
        }
    }

    /// Drops the data of deleted ConfigMaps that a gone Pod was the last to use.
    pub(super) fn drop_unused_configs(&mut self, gone: &Pod) {
        for volume in gone.revision.resolved.config_maps() {
            let key = Key::new(Kind::ConfigMap, gone.namespace(), &volume.name);
            let used = || self.pods.values().any(|pod| uses_config(pod, &key));
            if !self.objects.contains_key(&key) && !used() {
                self.configs.remove(&(key.namespace.clone(), key.name.clone()));
                self.records.insert(record::config_key(&key.namespace, &key.name), None);
            }
        }
    }
}

fn uses_config(pod: &Pod, key: &Key) -> bool {
    pod.namespace() == key.namespace
        && pod.revision.resolved.config_maps().any(|volume| volume.name == key.name)
}

fn invalid(key: &Key, cause: FieldError) -> ApiError {
    ApiError::Invalid { key: key.clone(), causes: Vec::from([cause]) }
}

fn check_version(key: &Key, given: &str, current: u64) -> Result<(), ApiError> {
    if given.is_empty() || given.parse() == Ok(current) {
        return Ok(());
    }
    Err(ApiError::Conflict { key: key.clone(), current })
}

fn selector(object: &Object) -> Option<&LabelSelector> {
    match object {
        Object::Deployment(deployment) => Some(&deployment.spec.selector),
        Object::DaemonSet(set) => Some(&set.spec.selector),
        _ => None,
    }
}

fn same_spec(one: &Object, other: &Object) -> bool {
    match (one, other) {
        (Object::Deployment(one), Object::Deployment(other)) => one.spec == other.spec,
        (Object::DaemonSet(one), Object::DaemonSet(other)) => one.spec == other.spec,
        (Object::ConfigMap(one), Object::ConfigMap(other)) => {
            one.data == other.data && one.binary_data == other.binary_data
        }
        _ => true,
    }
}

fn keep_what_the_hub_wrote(object: &mut Object, old: &Object) {
    let (meta, known) = (object.meta_mut(), old.meta());
    meta.uid.clone_from(&known.uid);
    meta.creation_timestamp.clone_from(&known.creation_timestamp);
    meta.deletion_timestamp = None;
    meta.owner_references.clear();
    match (object, old) {
        (Object::Deployment(object), Object::Deployment(old)) => object.status = old.status.clone(),
        (Object::DaemonSet(object), Object::DaemonSet(old)) => object.status = old.status.clone(),
        _ => {}
    }
}

fn check_selector(selector: &LabelSelector, labels: &Map, causes: &mut Vec<FieldError>) {
    if selector.match_labels.is_empty() {
        causes.push(FieldError::new(
            "spec.selector.matchLabels",
            "needs at least one label of the template",
        ));
    }
    for (key, value) in &selector.match_labels {
        if labels.get(key) != Some(value) {
            causes.push(FieldError::new(
                "spec.selector.matchLabels",
                format!("{key}={value} must also be in spec.template.metadata.labels"),
            ));
        }
    }
}

fn check_config(map: &crate::api::ConfigMap, causes: &mut Vec<FieldError>) {
    let keys = map.data.keys().map(|key| ("data", key));
    for (field, key) in keys.chain(map.binary_data.keys().map(|key| ("binaryData", key))) {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let valid = !key.is_empty()
            && key.len() <= 253
            && key.bytes().all(allowed)
            && !key.starts_with("..")
            && key != ".";
        if !valid {
            causes.push(FieldError::new(
                field,
                format!("key \"{key}\" must be letters, digits, '-', '_' or '.', and not start with '..'"),
            ));
        }
    }
    match config_data(map) {
        Ok(data) if data.values().map(Vec::len).sum::<usize>() > MAX_CONFIG_BYTES => {
            causes.push(FieldError::new("data", "is over 1 MiB in all"));
        }
        Ok(_) => {}
        Err((key, cause)) => causes.push(FieldError::new(format!("binaryData[{key}]"), cause)),
    }
}
