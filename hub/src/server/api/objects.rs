//! The objects of the API: which method on which path reads what from the watch cache, or asks what of the engine.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Extension, State},
    http::{HeaderMap, Method, Request as HttpRequest, StatusCode},
    response::{IntoResponse, Response},
};
use lichen_hub_core::{
    actor::Actor,
    api::{
        ApiError, Key, Kind, Object,
        resource::{Home, Verb},
    },
    effect,
    event::Request,
};
use serde_json::Value;

use super::{
    Api, body,
    change::change,
    deletion, discovery, list, logs, openapi,
    patch::Patching,
    path::{self, Target},
    pod_security,
    query::Query,
    respond::{self, Form},
    scale,
    selection::Selection,
    status::Refusal,
    submitted::decode,
    token, unexpected, watch,
};
use crate::{
    manifest,
    server::{audit::Told, clock::unix_ms},
};

/// One request for an object or a list.
struct Call {
    /// Who asks.
    actor: Arc<Actor>,
    query: Query,
    form: Form,
    headers: HeaderMap,
    body: Body,
}

/// Answers every path under `/api`, `/apis` and `/openapi`.
pub(crate) async fn answer(
    State(api): State<Api>,
    Extension(actor): Extension<Arc<Actor>>,
    request: HttpRequest<Body>,
) -> Response {
    serve(&api, actor, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn serve(
    api: &Api,
    actor: Arc<Actor>,
    request: HttpRequest<Body>,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    if parts.method == Method::GET {
        let described = discovery::answer(path, &parts.headers).or_else(|| openapi::answer(path));
        if let Some(answer) = described {
            return Ok(answer);
        }
    }
    let target = path::parse(path).ok_or_else(Refusal::no_such_path)?;
    let query = Query::parse(parts.uri.query());
    if parts.method != Method::GET {
        query.refuse(&["dryRun"])?;
    }
    let form = Form::of(&parts.headers, &query);
    let call = Call { actor, query, form, headers: parts.headers, body };
    let method = parts.method;
    match target {
        Target::Collection { kind, namespace } => {
            serve_collection(api, call, method, kind, namespace).await
        }
        Target::Object { kind, namespace, name, subresource } => {
            let key = Key::new(kind, &namespace, &name);
            match subresource {
                None => serve_object(api, call, method, &key).await,
                Some(name) => serve_subresource(api, call, &method, &key, &name).await,
            }
        }
    }
}

/// What a kind has beneath its objects, its names say.
async fn serve_subresource(
    api: &Api,
    call: Call,
    method: &Method,
    key: &Key,
    name: &str,
) -> Result<Response, Refusal> {
    let known = key.kind.names().subresources.iter().find(|known| known.name == name);
    match known.map(|known| known.name) {
        Some("log") if *method == Method::GET => {
            logs::read(api, &call.actor, &call.query, key).await
        }
        Some("scale") => {
            scale::serve(api, &call.actor, method, key, &call.headers, call.body).await
        }
        Some("token") if *method == Method::POST => {
            token::make(api, key, read_body(&call.headers, call.body).await?)
        }
        _ => Err(Refusal::no_such_path()),
    }
}

/// Refuses what operators can't do with a kind, before the body is looked at.
fn allow(kind: Kind, verb: Verb) -> Result<(), Refusal> {
    let names = kind.names();
    match names.allows(verb) {
        true => Ok(()),
        false if names.home == Home::Nowhere => Err(Refusal::method(format!(
            "a {kind} is a question: it is answered when it is created (POST), and not kept"
        ))),
        false => Err(Refusal::method(names.made_by)),
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
            let watching = call.query.flag("watch");
            allow(kind, if watching { Verb::Watch } else { Verb::List })?;
            let selection = Selection::new(kind, namespace, &call.query)?;
            if watching {
                return watch::start(api, selection, call.form, &call.query);
            }
            list::answer(api, &selection, call.form, &call.query)
        }
        Method::POST if namespace.is_some() || !kind.namespaced() => {
            allow(kind, Verb::Create)?;
            let path = Key::new(kind, namespace.as_deref().unwrap_or_default(), "");
            let value = read_body(&call.headers, call.body).await?;
            let remarks = manifest::remarks(&value);
            let object = decode(value, &path)?;
            if kind.names().home == Home::Nowhere {
                let answer = api.access.answer(&call.actor, object)?;
                return Ok(respond::object(StatusCode::CREATED, call.form, &answer, unix_ms()));
            }
            let name = object.meta().name.clone();
            let key = object.key();
            let created = write(api, &call.actor, call.form, &key, Request::Create(object)).await;
            let answer = created.unwrap_or_else(IntoResponse::into_response);
            Ok(respond::warned(named(answer, name), &remarks))
        }
        Method::POST => Err(Refusal::method(format!(
            "a {kind} is created in a namespace: POST to {}/namespaces/<namespace>/{}",
            discovery::root(kind),
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
            allow(key.kind, Verb::Get)?;
            let object = read(api, key)?;
            Ok(respond::object(StatusCode::OK, call.form, &object, unix_ms()))
        }
        Method::PUT => {
            allow(key.kind, Verb::Update)?;
            let value = read_body(&call.headers, call.body).await?;
            let remarks = manifest::remarks(&value);
            let object = decode(value, key)?;
            // Lichen's own: create what is not there, so that `lichen apply` needs one request.
            let create = call.query.flag("create");
            let replace = Request::Replace { object, create };
            let answer = write(api, &call.actor, call.form, key, replace).await?;
            Ok(respond::warned(answer, &remarks))
        }
        Method::PATCH => {
            allow(key.kind, Verb::Patch)?;
            let patching = Patching::of(&body::media_type(&call.headers))?;
            let patch = body::parse_json(&body::read(call.body, body::MAX_BODY_BYTES).await?)?;
            let table = key.kind.fields();
            let remarks = manifest::remarks(&patch);
            let alter = move |before: &Value| patching.apply(before, &patch, table);
            let before = pod_security::labels_before(api, key);
            let object = change(api, &call.actor, key, alter).await?;
            let answer = respond::object(StatusCode::OK, call.form, &object, unix_ms());
            let answer = pod_security::remark(api, answer, &object, &before);
            Ok(respond::warned(answer, &remarks))
        }
        Method::DELETE => delete(api, call, key).await,
        _ => Err(Refusal::method(
            "an object can be read (GET), replaced (PUT), patched (PATCH) and deleted (DELETE)",
        )),
    }
}

/// Reads one object.
pub(super) fn read(api: &Api, key: &Key) -> Result<Arc<Object>, Refusal> {
    api.cache.get(key).ok_or_else(|| ApiError::NotFound(key.clone()).into())
}

async fn write(
    api: &Api,
    actor: &Arc<Actor>,
    form: Form,
    key: &Key,
    request: Request,
) -> Result<Response, Refusal> {
    let before = pod_security::labels_before(api, key);
    let (object, created) = object_of(api.engine.ask(actor, request).await?)?;
    let code = if created { StatusCode::CREATED } else { StatusCode::OK };
    let response = respond::object(code, form, &object, unix_ms());
    let response = pod_security::remark(api, response, &object, &before);
    Ok(named(response, object.meta().name.clone()))
}

/// Has the audit log know which object it was, where the path does not say it.
pub(super) fn named(mut response: Response, name: String) -> Response {
    response.extensions_mut().get_or_insert_with(|| Told { name, ..Told::default() });
    response
}

/// The object of an answer, and whether it is new.
pub(super) fn object_of(response: effect::Response) -> Result<(Arc<Object>, bool), Refusal> {
    match response {
        effect::Response::Object { object, created } => Ok((object, created)),
        other => Err(unexpected(&other)),
    }
}

async fn delete(api: &Api, call: Call, key: &Key) -> Result<Response, Refusal> {
    allow(key.kind, Verb::Delete)?;
    let bytes = body::read(call.body, body::MAX_BODY_BYTES).await?;
    let body = match bytes.is_empty() {
        true => Value::Null,
        false => body::parse(&body::media_type(&call.headers), &bytes)?,
    };
    let options = deletion::options(&body, &call.query)?;
    options.check(key.kind)?;
    let Key { kind, namespace, name } = key.clone();
    let request = match options.grace_period_seconds {
        Some(grace_s) if kind.names().home == Home::Pods => {
            Request::DeletePod { namespace, name, grace_s }
        }
        _ => Request::Delete { kind, namespace, name },
    };
    match api.engine.ask(&call.actor, request).await? {
        effect::Response::Deleted(object) => Ok(respond::deleted(call.form, &object, unix_ms())),
        other => Err(unexpected(&other)),
    }
}

async fn read_body(headers: &HeaderMap, body: Body) -> Result<Value, Refusal> {
    let bytes = body::read(body, body::MAX_BODY_BYTES).await?;
    body::parse(&body::media_type(headers), &bytes)
}
