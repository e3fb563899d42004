//! How an object of any kind is taken from an operator: one order of steps for all of them, as pure functions from what
//! was written and what is there to what is to be stored. Where it is stored is the engine's part.
//!
//! May operators write this kind? → defaults → metadata → the kind's own rules → its template → what operators can't
//! write is put back.

pub mod options;

use alloc::{borrow::ToOwned, string::ToString, vec::Vec};

use crate::{
    api::{
        ApiError, Kind, Object,
        meta::ObjectMeta,
        resource::Verb,
        validate::{Errors, check_labels, check_subdomain},
    },
    resolve::{self, Resolved},
};

/// The namespace of an object that names none.
pub const DEFAULT_NAMESPACE: &str = "default";
/// Objects that operators may store in one hub, of all kinds together.
pub const MAX_OBJECTS: usize = 50_000;
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
}

/// Takes a new object.
///
/// # Errors
/// Operators can't create this kind, or everything that is wrong with the object.
pub fn accept_new(object: Object) -> Result<Accepted, ApiError> {
    if !object.kind().names().allows(Verb::Create) {
        return Err(ApiError::NotAllowed(object.kind().names().made_by.to_owned()));
    }
    let mut accepted = accept(object, None)?;
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
        resolve::resolve("spec.template", template, rule)
            .map_err(|found| errors.0.extend(found))
            .ok()
    });
    if errors.0.is_empty() {
        Ok(Accepted { object, resolved })
    } else {
        Err(ApiError::Invalid { key: object.key(), causes: errors.0 })
    }
}

fn check_meta(kind: Kind, meta: &ObjectMeta, old: Option<&ObjectMeta>, errors: &mut Errors) {
    errors.keep(check_subdomain("metadata.name", &meta.name, kind.names().longest_name));
    errors.keep(check_labels("metadata.labels", &meta.labels));
    let annotations: usize =
        meta.annotations.iter().map(|(key, text)| key.len() + text.len()).sum();
    if annotations > MAX_ANNOTATION_BYTES {
        errors.add("metadata.annotations", "are over 256 KiB in all");
    }
    let owners = old.map_or(&[][..], |old| &old.owner_references);
    if meta.owner_references != owners {
        errors.add(
            "metadata.ownerReferences",
            "can't be written by hand: only what a workload makes has an owner, and goes with it",
        );
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
            return Err(ApiError::Invalid { key: object.key(), causes: Vec::from(errors.0) });
        }
    }
    Ok(())
}
