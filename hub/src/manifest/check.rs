//! Checks an object exactly as the hub will, by asking an engine of the client's own that knows nothing else. What only
//! the hub's store can tell (a namespace that is missing, a version that has passed) is left to the hub.

use firmware_compat::time::Instant;
use lichen_hub_core::{
    api::{
        ApiError, FieldError, Kind, Namespace, Object, ObjectMeta, TypeMeta,
        core::namespace::NamespaceStatus,
    },
    effect::Effect,
    engine::{Config, Engine},
    event::{Event, Now, Request, RequestId},
};

const CREATE: RequestId = RequestId(1);
const NAMESPACE: RequestId = RequestId(2);
const NOW: Now = Now { instant: Instant(0), unix_ms: 0 };

/// Everything that the hub would refuse.
///
/// # Errors
/// Every field that can't be taken.
pub fn check(object: &Object) -> Result<(), Vec<FieldError>> {
    // Of a Node the operator only writes labels and taints, on one that has joined: the hub must say.
    if object.kind() == Kind::Node {
        return Ok(());
    }
    let whole = |error: String| vec![FieldError::new("", error)];
    let mut engine =
        Engine::load([], Config::default(), NOW).map_err(|error| whole(error.to_string()))?;
    let namespace = &object.meta().namespace;
    if !namespace.is_empty() && object.kind() != Kind::Namespace {
        let request = Request::Create(Object::Namespace(named(namespace)));
        engine.handle(Event::Request { id: NAMESPACE, request }, NOW);
    }
    let request = Request::Create(object.clone());
    engine.handle(Event::Request { id: CREATE, request }, NOW);
    for effect in engine.drain() {
        match effect {
            Effect::Reply { id: NAMESPACE, result: Err(ApiError::Invalid { causes, .. }) } => {
                let cause = causes.into_iter().next().map(|error| error.cause).unwrap_or_default();
                return Err(vec![FieldError::new("metadata.namespace", cause)]);
            }
            Effect::Reply { id: CREATE, result: Err(failure) } => return Err(fields(failure)),
            _ => {}
        }
    }
    Ok(())
}

fn fields(failure: ApiError) -> Vec<FieldError> {
    match failure {
        ApiError::Invalid { causes, .. } => causes,
        // The namespaces that every hub has.
        ApiError::AlreadyExists(_) => Vec::new(),
        other => vec![FieldError::new("kind", other.to_string())],
    }
}

fn named(name: &str) -> Namespace {
    Namespace {
        types: TypeMeta::from(Kind::Namespace),
        metadata: ObjectMeta { name: name.to_owned(), ..ObjectMeta::default() },
        status: NamespaceStatus::default(),
    }
}
