//! How an object of any kind is taken from an operator: one order of steps for all of them, as pure functions from what
//! was written and what is there to what is to be stored. Where it is stored is the engine's part.
//!
//! May operators write this kind? → defaults → metadata → the kind's own rules → its template → what operators can't
//! write is put back.

pub mod options;

use alloc::{borrow::ToOwned, string::ToString};

use crate::{
    api::{
        ApiError, FieldError, Kind, Object,
        core::{
            persistent_volume::PV_PROTECTION, persistent_volume_claim::PVC_PROTECTION,
            pod::PodTemplate,
        },
        meta::ObjectMeta,
        resource::{Home, Naming, Verb},
        validate::{Errors, check_labels, check_segment, check_subdomain},
    },
    resolve::{self, Resolved},
};

/// The namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";
/// Objects that operators may store in one hub, of all kinds together.
pub const MAX_OBJECTS: usize = 200_000;
/// Bytes of those objects as JSON. All of them are in memory.
pub const MAX_BYTES: usize = 256 << 20;
/// Pods that all workloads together may want by number. A Pod in memory is about a KiB.
pub const MAX_PODS: u64 = 200_000;
/// Bytes of an object's annotations: Kubernetes' bound.
const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

/// An object that may be stored.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The object, without what only the store can add: version, uid, times.
    pub object: Object,
    /// Its template, understood.
    pub resolved: Option<Resolved>,
    /// Its template as Pods are made of it, if its namespace has filled in what it leaves out.
    pub filled: Option<PodTemplate>,
}

/// Takes a new object.
///
/// # Errors
/// Operators can't create this kind, or everything that is wrong with the object.
pub fn accept_new(object: Object) -> Result<Accepted, ApiError> {
    let names = object.kind().names();
    if !names.allows(Verb::Create) {
        return Err(ApiError::NotAllowed(names.made_by.to_owned()));
    }
    if names.home == Home::Nowhere {
        return Err(ApiError::NotAllowed(alloc::format!(
            "a {} is a question: it is answered when it is created, by POST or `kubectl create`, and not kept",
            names.kind
        )));
    }
    let mut accepted = accept(object, None)?;
    accepted.object.meta_mut().finalizers.clear();
    accepted.object.prepare_for_create();
    accepted.object.default_fields();
    let meta = accepted.object.meta_mut();
    meta.uid.clear();
    meta.generation = 1;
    meta.creation_timestamp = None;
    meta.deletion_timestamp = None;
    Ok(accepted)
}

/// Takes an object in the place of an old one.
///
/// # Errors
/// Operators can't change this kind, or everything that is wrong with the object.
pub fn accept_change(object: Object, old: &Object) -> Result<Accepted, ApiError> {
    if !object.kind().names().allows(Verb::Update) {
        return Err(ApiError::NotAllowed(object.kind().names().made_by.to_owned()));
    }
    let mut accepted = accept(object, Some(old))?;
    accepted.object.prepare_for_update(old);
    let (meta, known) = (accepted.object.meta_mut(), old.meta());
    meta.uid.clone_from(&known.uid);
    meta.generation = known.generation;
    meta.creation_timestamp.clone_from(&known.creation_timestamp);
    meta.deletion_timestamp.clone_from(&known.deletion_timestamp);
    meta.resource_version.clone_from(&known.resource_version);
    meta.finalizers.clone_from(&known.finalizers);
    Ok(accepted)
}

/// Whether two objects differ in more than their metadata: then the generation rises. The status is never part of it,
/// because what is accepted has that of the old object.
#[must_use]
pub fn differs(accepted: &Object, old: &Object) -> bool {
    let mut compared = accepted.clone();
    compared.meta_mut().clone_from(old.meta());
    compared != *old
}

fn accept(mut object: Object, old: Option<&Object>) -> Result<Accepted, ApiError> {
    let kind = object.kind();
    let meta = object.meta_mut();
    if !kind.namespaced() {
        meta.namespace.clear();
    } else if meta.namespace.is_empty() {
        meta.namespace = DEFAULT_NAMESPACE.to_owned();
    }
    object.default_fields();
    let mut errors = Errors::default();
    check_meta(kind, object.meta(), old.map(Object::meta), &mut errors);
    object.validate(old, &mut errors);
    let resolved = object.template().and_then(|(template, rule)| {
        resolve::resolve_of(kind, kind.template_path(), &template, rule)
            .map_err(|found| errors.0.extend(found))
            .ok()
    });
    if errors.0.is_empty() {
        Ok(Accepted { object, resolved, filled: None })
    } else {
        Err(ApiError::Invalid { key: object.key(), causes: errors.0 })
    }
}

fn check_meta(kind: Kind, meta: &ObjectMeta, old: Option<&ObjectMeta>, errors: &mut Errors) {
    errors.keep(check_name(kind, "metadata.name", &meta.name));
    errors.keep(check_labels("metadata.labels", &meta.labels));
    let annotations: usize =
        meta.annotations.iter().map(|(key, text)| key.len() + text.len()).sum();
    if annotations > MAX_ANNOTATION_BYTES {
        errors.add("metadata.annotations", "are over 256 KiB in all");
    }
    for finalizer in &meta.finalizers {
        if ![PVC_PROTECTION, PV_PROTECTION].contains(&finalizer.as_str()) {
            errors.add(
                "metadata.finalizers",
                alloc::format!("\"{finalizer}\" would keep the object for ever: no controller of this hub takes it away; leave it out"),
            );
        }
    }
    let owners = old.map_or(&[][..], |old| &old.owner_references);
    if meta.owner_references != owners {
        errors.add(
            "metadata.ownerReferences",
            "can't be written by hand: only what a workload makes has an owner, and goes with it",
        );
    }
}

/// Whether an object of a kind may be called so.
///
/// # Errors
/// Names the field, the name and the rule.
pub fn check_name(kind: Kind, field: &str, name: &str) -> Result<(), FieldError> {
    let longest = kind.names().longest_name;
    match kind.names().naming {
        Naming::Subdomain => check_subdomain(field, name, longest),
        Naming::Segment => check_segment(field, name, longest),
        Naming::Nameless => Ok(()),
    }
}

/// Holds the version that an operator has seen against the one that is there. Whoever names none takes any.
///
/// # Errors
/// Another one is there.
pub fn check_version(object: &Object, given: &str, current: u64) -> Result<(), ApiError> {
    if given.is_empty() || given == current.to_string() {
        return Ok(());
    }
    Err(ApiError::Conflict { key: object.key(), current })
}

/// What is stored already, for [`check_room`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Stock {
    /// Objects of all kinds.
    pub objects: usize,
    /// Objects of the new object's kind.
    pub of_kind: usize,
    /// Bytes of all objects but the one that is replaced.
    pub bytes: usize,
    /// Pods that all workloads but the one that is replaced want by number.
    pub pods: u64,
}

/// Whether there is room for one more object, or for another in the place of an old one.
///
/// # Errors
/// A bound of the hub would be passed; the text names it.
pub fn check_room(
    object: &Object,
    bytes: usize,
    is_new: bool,
    stock: Stock,
) -> Result<(), ApiError> {
    let kind = object.kind();
    let over = |what: alloc::string::String| Err(ApiError::Forbidden(what));
    if is_new && stock.of_kind >= kind.names().most {
        return over(alloc::format!(
            "this hub has {} {} and takes no more; delete some first",
            stock.of_kind,
            kind.plural()
        ));
    }
    if is_new && stock.objects >= MAX_OBJECTS {
        return over(alloc::format!(
            "this hub has {} objects and takes no more; delete some first",
            stock.objects
        ));
    }
    if stock.bytes + bytes > MAX_BYTES {
        return over(alloc::format!(
            "the objects of this hub would have over {} MiB; delete some first",
            MAX_BYTES >> 20
        ));
    }
    let pods = stock.pods + u64::from(object.replicas());
    if pods > MAX_PODS && object.replicas() > 0 {
        return over(alloc::format!(
            "the workloads of this hub would want {pods} Pods; at most {MAX_PODS} are kept"
        ));
    }
    Ok(())
}

/// Everything that is wrong with an object, without a store: what only one can tell (a namespace that is missing, a
/// version that has passed) is left out.
///
/// # Errors
/// Every field that can't be taken.
pub fn check(object: &Object) -> Result<(), ApiError> {
    let names = object.kind().names();
    let taken = if names.allows(Verb::Create) {
        accept_new(object.clone()).map(drop)
    } else if names.allows(Verb::Update) {
        accept(object.clone(), None).map(drop)
    } else {
        Err(ApiError::NotAllowed(names.made_by.to_owned()))
    };
    taken?;
    let namespace = &object.meta().namespace;
    if names.namespaced && !namespace.is_empty() {
        let mut errors = Errors::default();
        let longest = Kind::Namespace.names().longest_name;
        errors.keep(check_subdomain("metadata.namespace", namespace, longest));
        if !errors.0.is_empty() {
            return Err(ApiError::Invalid { key: object.key(), causes: errors.0 });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use serde_json::{Value, json};

    use super::*;

    fn object(kind: Kind, json: &Value) -> Object {
        Object::from_value(kind, json.clone()).expect("an object")
    }

    fn map(json: &Value) -> Object {
        object(Kind::ConfigMap, json)
    }

    fn refused(result: Result<Accepted, ApiError>) -> String {
        result.map(|accepted| accepted.object.key()).expect_err("refused").to_string()
    }

    #[test]
    fn a_new_object_has_only_what_an_operator_may_write() {
        let web = object(
            Kind::Deployment,
            &json!({
                "metadata": {"name": "web", "uid": "1", "generation": 7, "creationTimestamp": "x"},
                "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
                    "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a:1"}]},
                }},
                "status": {"replicas": 3},
            }),
        );
        let accepted = accept_new(web).expect("accepted");
        let json = serde_json::to_value(&accepted.object).expect("JSON");
        assert_eq!(
            json["metadata"],
            json!({"name": "web", "namespace": "default", "generation": 1})
        );
        assert_eq!(json["status"]["replicas"], 0);
        assert!(accepted.resolved.is_some());
    }

    #[test]
    fn owners_are_refused_by_name_and_kinds_that_operators_do_not_make_too() {
        let owned =
            json!({"metadata": {"name": "a", "ownerReferences": [{"kind": "Pod", "name": "x"}]}});
        let said = refused(accept_new(map(&owned)));
        assert!(said.contains("metadata.ownerReferences: can't be written by hand"), "{said}");
        let pod = object(Kind::Pod, &json!({"metadata": {"name": "a"}, "spec": {}}));
        let said = refused(accept_new(pod));
        assert!(said.contains(": spec.containers: needs at least one container"), "{said}");
        let node = object(Kind::Node, &json!({"metadata": {"name": "a"}}));
        assert_eq!(refused(accept_new(node)), Kind::Node.names().made_by);
    }

    #[test]
    fn a_change_keeps_what_the_hub_wrote_and_tells_a_new_generation_from_a_new_label() {
        let old = map(&json!({"metadata": {"name": "a", "namespace": "default", "uid": "1",
            "generation": 4, "creationTimestamp": "x", "resourceVersion": "9"}, "data": {"x": "1"}}));
        let labelled =
            map(&json!({"metadata": {"name": "a", "labels": {"b": "c"}}, "data": {"x": "1"}}));
        let accepted = accept_change(labelled, &old).expect("accepted").object;
        let meta = accepted.meta();
        assert_eq!((meta.uid.as_str(), meta.generation), ("1", 4));
        assert_eq!(meta.creation_timestamp.as_deref(), Some("x"));
        assert!(!differs(&accepted, &old));
        let other = map(&json!({"metadata": {"name": "a"}, "data": {"x": "2"}}));
        assert!(differs(&accept_change(other, &old).expect("accepted").object, &old));
    }

    #[test]
    fn no_workload_keeps_history_without_a_bound() {
        let with = |limit: u32| {
            let labels = json!({"app": "a"});
            let spec = json!({"revisionHistoryLimit": limit, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "main", "image": "a:1"}]}}});
            let json = json!({"metadata": {"name": "a"}, "spec": spec});
            [Kind::Deployment, Kind::DaemonSet].map(|kind| accept_new(object(kind, &json)))
        };
        assert!(with(100).iter().all(Result::is_ok));
        for answer in with(101) {
            let said = refused(answer);
            assert!(said.contains("spec.revisionHistoryLimit: at most 100 are kept"), "{said}");
        }
    }

    #[test]
    fn every_bound_is_told_by_its_name() {
        let map = map(&json!({"metadata": {"name": "a"}}));
        let said = |bytes: usize, stock: Stock| {
            check_room(&map, bytes, true, stock).err().map(|error| error.to_string())
        };
        assert_eq!(said(10, Stock::default()), None);
        let most = Kind::ConfigMap.names().most;
        let of_kind = said(10, Stock { of_kind: most, ..Stock::default() }).expect("full");
        assert!(of_kind.contains("has 10000 configmaps and takes no more"), "{of_kind}");
        let objects = said(10, Stock { objects: MAX_OBJECTS, ..Stock::default() }).expect("full");
        assert!(objects.contains("has 200000 objects"), "{objects}");
        let bytes = said(10, Stock { bytes: MAX_BYTES, ..Stock::default() }).expect("full");
        assert!(bytes.contains("over 256 MiB"), "{bytes}");
        let web = object(
            Kind::Deployment,
            &json!({"metadata": {"name": "web"}, "spec": {"replicas": 2, "selector": {}, "template": {"spec": {}}}}),
        );
        let pods = check_room(&web, 10, true, Stock { pods: MAX_PODS - 1, ..Stock::default() });
        let pods = pods.expect_err("full").to_string();
        assert!(pods.contains("would want 200001 Pods; at most 200000"), "{pods}");
        // What is there already may change in a full hub.
        let full = Stock { of_kind: most, objects: MAX_OBJECTS, ..Stock::default() };
        assert_eq!(check_room(&map, 10, false, full), Ok(()));
    }
}
