//! The objects of the API: which method on which path asks what of the engine.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, Method, Request as HttpRequest, StatusCode},
    response::{IntoResponse, Response},
};
use lichen_hub_core::{
    effect,
    event::{Listing, Request},
    object::{FieldError, Kind, Object},
};
use serde_json::Value;

use super::{
    Api, body,
    fields::FieldSelector,
    labels::LabelSelector,
    logs,
    patch::Patching,
    path::{self, Target},
    query::Query,
    respond::{self, Form},
    status::Refusal,
    unexpected, watch,
};
use crate::{manifest, server::clock::unix_ms};

/// How often a patch is tried when others change the object meanwhile.
const PATCH_ATTEMPTS: usize = 5;

/// What a list or a watch is over.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) kind: Kind,
    /// Everywhere without one.
    pub(crate) namespace: Option<String>,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    fn new(kind: Kind, namespace: Option<String>, query: &Query) -> Result<Self, Refusal> {
        let bad = |error: String| Refusal::bad_request(error);
        let labels = query.text("labelSelector").unwrap_or_default();
        let fields = query.text("fieldSelector").unwrap_or_default();
        Ok(Self {
            kind,
            namespace,
            labels: LabelSelector::parse(labels).map_err(|error| bad(error.to_string()))?,
            fields: FieldSelector::parse(kind, fields).map_err(|error| bad(error.to_string()))?,
        })
    }

    /// Whether an object is in it.
    pub(crate) fn selects(&self, object: &Object) -> bool {
        let meta = object.meta();
        object.kind() == self.kind
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == meta.namespace)
            && self.labels.selects(&meta.labels)
            && self.fields.selects(object)
    }
}

/// One request for an object or a list.
struct Call {
    query: Query,
    form: Form,
    headers: HeaderMap,
    body: Body,
}

/// Answers every path under `/api/v1/` and `/apis/apps/v1/`.
pub(crate) async fn answer(State(api): State<Api>, request: HttpRequest<Body>) -> Response {
    serve(&api, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn serve(api: &Api, request: HttpRequest<Body>) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let target = path::parse(parts.uri.path()).ok_or_else(Refusal::no_such_path)?;
    let query = Query::parse(parts.uri.query());
    let form = Form::of(&parts.headers, &query);
    let call = Call { query, form, headers: parts.headers, body };
    let method = parts.method;
    match target {
        Target::Collection { kind, namespace } => {
            serve_collection(api, call, method, kind, namespace).await
        }
        Target::Object { kind, namespace, name, subresource: None } => match method {
            Method::GET => get(api, call, kind, namespace, name).await,
            Method::PUT => replace(api, call, kind, &namespace, &name).await,
            Method::PATCH => patch(api, call, kind, namespace, name).await,
            Method::DELETE => delete(api, call, kind, namespace, name).await,
            _ => Err(Refusal::method(
                "an object can be read (GET), replaced (PUT), patched (PATCH) and deleted (DELETE)",
            )),
        },
        Target::Object { kind: Kind::Pod, namespace, name, subresource: Some(sub) }
            if sub == "log" && method == Method::GET =>
        {
            logs::read(api, &call.query, namespace, name).await
        }
        Target::Object { .. } => Err(Refusal::no_such_path()),
    }
}

async fn serve_collection(
    api: &Api,
    call: Call,
    method: Method,
    kind: Kind,
    namespace: Option<String>,
) -> Result<Response, Refusal> {
    match method {
        Method::GET => {
            let selection = Selection::new(kind, namespace, &call.query)?;
            if call.query.flag("watch") {
                return watch::start(api, selection, call.form, &call.query).await;
            }
            let listing = list_all(api, &selection).await?;
            let version = listing.resource_version;
            Ok(respond::list(call.form, kind, &listing.objects, version, unix_ms()))
        }
        Method::POST if namespace.is_some() || !kind.namespaced() => {
            create(api, call, kind, namespace.unwrap_or_default()).await
        }
        Method::POST => Err(Refusal::method(format!(
            "a {kind} is created in a namespace: POST to {}/namespaces/<namespace>/{}",
            super::discovery::root(kind),
            kind.plural()
        ))),
        _ => Err(Refusal::method(
            "a collection can be listed and watched (GET) and added to (POST); delete objects one by one",
        )),
    }
}

/// The objects of a selection.
pub(crate) async fn list_all(api: &Api, selection: &Selection) -> Result<Listing, Refusal> {
    let request = Request::List { kind: selection.kind, namespace: selection.namespace.clone() };
    match api.engine.ask(request).await? {
        effect::Response::List(mut listing) => {
            listing.objects.retain(|object| selection.selects(object));
            Ok(listing)
        }
        other => Err(unexpected(&other)),
    }
}

async fn get(
    api: &Api,
    call: Call,
    kind: Kind,
    namespace: String,
    name: String,
) -> Result<Response, Refusal> {
    let object = read(api, kind, namespace, name).await?;
    Ok(respond::object(StatusCode::OK, call.form, &object, unix_ms()))
}

/// Reads one object.
pub(super) async fn read(
    api: &Api,
    kind: Kind,
    namespace: String,
    name: String,
) -> Result<Arc<Object>, Refusal> {
    object_of(api.engine.ask(Request::Get { kind, namespace, name }).await?)
        .map(|(object, _)| object)
}

async fn create(api: &Api, call: Call, kind: Kind, namespace: String) -> Result<Response, Refusal> {
    refuse_dry_run(&call.query)?;
    let value = read_body(&call.headers, call.body).await?;
    let object = decode(value, kind, &namespace, None)?;
    write(api, call.form, Request::Create(object)).await
}

async fn replace(
    api: &Api,
    call: Call,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Result<Response, Refusal> {
    refuse_dry_run(&call.query)?;
    let value = read_body(&call.headers, call.body).await?;
    let object = decode(value, kind, namespace, Some(name))?;
    // Lichen's own: create what is not there, so that `lichen apply` needs one request.
    let create = call.query.flag("create");
    write(api, call.form, Request::Replace { object, create }).await
}

async fn delete(
    api: &Api,
    call: Call,
    kind: Kind,
    namespace: String,
    name: String,
) -> Result<Response, Refusal> {
    refuse_dry_run(&call.query)?;
    let bytes = body::read(call.body, body::MAX_BODY_BYTES).await?;
    if !bytes.is_empty() {
        check_delete_options(&body::parse(&body::media_type(&call.headers), &bytes)?)?;
    }
    match api.engine.ask(Request::Delete { kind, namespace, name }).await? {
        effect::Response::Deleted(object) => {
            Ok(respond::object(StatusCode::OK, call.form, &object, unix_ms()))
        }
        other => Err(unexpected(&other)),
    }
}

/// What a deletion may ask for. The rest would be missed, and is refused.
fn check_delete_options(options: &Value) -> Result<(), Refusal> {
    let refused = |what: &str| {
        Err(Refusal::bad_request(format!(
            "Lichen does not support {what} of a deletion; leave it out"
        )))
    };
    let given = |name: &str| options.get(name).is_some_and(|value| !value.is_null());
    if given("preconditions") {
        return refused("preconditions");
    }
    if given("gracePeriodSeconds") {
        return refused("gracePeriodSeconds (the template's terminationGracePeriodSeconds counts)");
    }
    match options.get("propagationPolicy").and_then(Value::as_str) {
        Some("Orphan") => refused("propagationPolicy Orphan"),
        _ => Ok(()),
    }
}

async fn patch(
    api: &Api,
    call: Call,
    kind: Kind,
    namespace: String,
    name: String,
) -> Result<Response, Refusal> {
    refuse_dry_run(&call.query)?;
    let patching = Patching::of(&body::media_type(&call.headers))?;
    let patch = body::parse_json(&body::read(call.body, body::MAX_BODY_BYTES).await?)?;
    let pinned = patch.pointer("/metadata/resourceVersion").is_some();
    for attempt in 1.. {
        let current = read(api, kind, namespace.clone(), name.clone()).await?;
        let before = to_json(&current)?;
        let after = patching.apply(&before, &patch)?;
        if after == before {
            return Ok(respond::object(StatusCode::OK, call.form, &current, unix_ms()));
        }
        let object = decode(after, kind, &namespace, Some(&name))?;
        match write(api, call.form, Request::Replace { object, create: false }).await {
            // Somebody else was faster; the patch may still fit what is there now.
            Err(refusal) if refusal.is_conflict() && !pinned && attempt < PATCH_ATTEMPTS => {}
            done => return done,
        }
    }
    unreachable!("the last attempt returns")
}

fn to_json(object: &Object) -> Result<Value, Refusal> {
    serde_json::to_value(object)
        .map_err(|error| Refusal::internal(format!("could not write the object as JSON: {error}")))
}

async fn write(api: &Api, form: Form, request: Request) -> Result<Response, Refusal> {
    let (object, created) = object_of(api.engine.ask(request).await?)?;
    let code = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(respond::object(code, form, &object, unix_ms()))
}

fn object_of(response: effect::Response) -> Result<(Arc<Object>, bool), Refusal> {
    match response {
        effect::Response::Object { object, created } => Ok((object, created)),
        other => Err(unexpected(&other)),
    }
}

fn refuse_dry_run(query: &Query) -> Result<(), Refusal> {
    query.refuse(&["dryRun"])
}

async fn read_body(headers: &HeaderMap, body: Body) -> Result<Value, Refusal> {
    let bytes = body::read(body, body::MAX_BODY_BYTES).await?;
    body::parse(&body::media_type(headers), &bytes)
}

/// Reads an object and holds it against its path, which fills in what it leaves open.
fn decode(
    mut value: Value,
    kind: Kind,
    namespace: &str,
    name: Option<&str>,
) -> Result<Object, Refusal> {
    let Value::Object(fields) = &mut value else {
        return Err(Refusal::bad_request("the body must be a JSON object"));
    };
    let mut fill = |field: &str, text: &str| -> Result<(), Refusal> {
        match fields.get(field).and_then(Value::as_str) {
            None | Some("") => {
                fields.insert(field.to_owned(), Value::from(text));
                Ok(())
            }
            Some(found) if found == text => Ok(()),
            Some(found) => Err(Refusal::bad_request(format!(
                "the {field} of the body is {found}, but the path is for {kind} of {}",
                kind.api_version()
            ))),
        }
    };
    fill("apiVersion", kind.api_version())?;
    fill("kind", kind.as_str())?;
    let shown = value.pointer("/metadata/name").and_then(Value::as_str).or(name);
    let shown = shown.unwrap_or_default().to_owned();
    let mut object =
        manifest::decode(&value).map_err(|causes| Refusal::invalid(kind, &shown, &causes))?;
    let meta = object.meta_mut();
    if let Some(name) = name {
        agree(&mut meta.name, name, "name")?;
    }
    if kind.namespaced() {
        agree(&mut meta.namespace, namespace, "namespace")?;
    } else if !meta.namespace.is_empty() {
        let cause = format!("a {kind} belongs to no namespace; leave the field out");
        let cause = FieldError::new("metadata.namespace", cause);
        return Err(Refusal::invalid(kind, &shown, &[cause]));
    }
    Ok(object)
}

fn agree(field: &mut String, path: &str, what: &str) -> Result<(), Refusal> {
    if field.is_empty() {
        path.clone_into(field);
    }
    if field == path {
        return Ok(());
    }
    Err(Refusal::bad_request(format!(
        "the {what} of the body is \"{field}\", but that of the path is \"{path}\""
    )))
}
