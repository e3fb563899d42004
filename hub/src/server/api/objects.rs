//! The objects of the API: which method on which path asks what of the engine.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, Method, Request as HttpRequest, StatusCode},
    response::{IntoResponse, Response},
};
use lichen_hub_core::{
    api::{Key, Kind, Object},
    effect,
    event::Request,
};
use serde_json::Value;

use super::{
    Api, body,
    change::{change, is_pinned},
    logs,
    patch::Patching,
    path::{self, Target},
    query::Query,
    respond::{self, Form},
    scale,
    selection::Selection,
    status::Refusal,
    submitted::decode,
    unexpected, watch,
};
use crate::server::clock::unix_ms;

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
    if parts.method != Method::GET {
        query.refuse(&["dryRun"])?;
    }
    let form = Form::of(&parts.headers, &query);
    let call = Call { query, form, headers: parts.headers, body };
    let method = parts.method;
    match target {
        Target::Collection { kind, namespace } => {
            serve_collection(api, call, method, kind, namespace).await
        }
        Target::Object { kind, namespace, name, subresource } => {
            let key = Key::new(kind, &namespace, &name);
            match (subresource.as_deref(), kind) {
                (None, _) => serve_object(api, call, method, &key).await,
                (Some("log"), Kind::Pod) if method == Method::GET => {
                    logs::read(api, &call.query, &key).await
                }
                (Some("scale"), Kind::Deployment) => {
                    scale::serve(api, &method, &key, &call.headers, call.body).await
                }
                _ => Err(Refusal::no_such_path()),
            }
        }
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
            let listing = selection.list(api).await?;
            let version = listing.resource_version;
            Ok(respond::list(call.form, kind, &listing.objects, version, unix_ms()))
        }
        Method::POST if namespace.is_some() || !kind.namespaced() => {
            let path = Key::new(kind, namespace.as_deref().unwrap_or_default(), "");
            let object = decode(read_body(&call.headers, call.body).await?, &path)?;
            write(api, call.form, Request::Create(object)).await
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

async fn serve_object(
    api: &Api,
    call: Call,
    method: Method,
    key: &Key,
) -> Result<Response, Refusal> {
    match method {
        Method::GET => {
            let object = read(api, key).await?;
            Ok(respond::object(StatusCode::OK, call.form, &object, unix_ms()))
        }
        Method::PUT => {
            let object = decode(read_body(&call.headers, call.body).await?, key)?;
            // Lichen's own: create what is not there, so that `lichen apply` needs one request.
            let create = call.query.flag("create");
            write(api, call.form, Request::Replace { object, create }).await
        }
        Method::PATCH => {
            let patching = Patching::of(&body::media_type(&call.headers))?;
            let patch = body::parse_json(&body::read(call.body, body::MAX_BODY_BYTES).await?)?;
            let alter = |before: &Value| patching.apply(before, &patch);
            let object = change(api, key, is_pinned(&patch), alter).await?;
            Ok(respond::object(StatusCode::OK, call.form, &object, unix_ms()))
        }
        Method::DELETE => delete(api, call, key).await,
        _ => Err(Refusal::method(
            "an object can be read (GET), replaced (PUT), patched (PATCH) and deleted (DELETE)",
        )),
    }
}

/// Reads one object.
pub(super) async fn read(api: &Api, key: &Key) -> Result<Arc<Object>, Refusal> {
    let Key { kind, namespace, name } = key.clone();
    object_of(api.engine.ask(Request::Get { kind, namespace, name }).await?)
        .map(|(object, _)| object)
}

async fn write(api: &Api, form: Form, request: Request) -> Result<Response, Refusal> {
    let (object, created) = object_of(api.engine.ask(request).await?)?;
    let code = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(respond::object(code, form, &object, unix_ms()))
}

/// The object of an answer, and whether it is new.
pub(super) fn object_of(response: effect::Response) -> Result<(Arc<Object>, bool), Refusal> {
    match response {
        effect::Response::Object { object, created } => Ok((object, created)),
        other => Err(unexpected(&other)),
    }
}

async fn delete(api: &Api, call: Call, key: &Key) -> Result<Response, Refusal> {
    let bytes = body::read(call.body, body::MAX_BODY_BYTES).await?;
    if !bytes.is_empty() {
        check_delete_options(&body::parse(&body::media_type(&call.headers), &bytes)?)?;
    }
    let Key { kind, namespace, name } = key.clone();
    match api.engine.ask(Request::Delete { kind, namespace, name }).await? {
        effect::Response::Deleted(object) => Ok(respond::deleted(call.form, &object, unix_ms())),
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
    if given("dryRun") {
        return refused("dryRun");
    }
    if given("gracePeriodSeconds") {
        return refused("gracePeriodSeconds (the template's terminationGracePeriodSeconds counts)");
    }
    match options.get("propagationPolicy").and_then(Value::as_str) {
        Some("Orphan") => refused("propagationPolicy Orphan"),
        _ => Ok(()),
    }
}

async fn read_body(headers: &HeaderMap, body: Body) -> Result<Value, Refusal> {
    let bytes = body::read(body, body::MAX_BODY_BYTES).await?;
    body::parse(&body::media_type(headers), &bytes)
}
