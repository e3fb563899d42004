//! Lichen's own paths, under `/lichen/v1/`: what Kubernetes has no words for.
//!
//! | path | answer |
//! |---|---|
//! | `GET connect` | where devices connect with MQTT, and the hub's lineage |
//! | `GET devices/<name>/session` | which agent holds a device's session |
//! | `POST devices/<name>/resume` | take over a device whose assignment another hub wrote |
//! | `GET explain/<plural>/<namespace or ->/<name>` | why an object is as it is |
//! | `GET images` | names and digests of images |
//! | `DELETE images/<reference>` | a name is to mean nothing any more |

use std::{borrow::Cow, sync::Arc};

use axum::{
    body::Body,
    extract::{Extension, State},
    http::{Method, Request as HttpRequest, StatusCode},
    response::{IntoResponse, Response},
};
use lichen_hub_core::{
    actor::Actor,
    api::{KINDS, Key, Kind, resource::Verb},
    effect,
    event::Request,
};
use lichen_images::{Digest, Reference};
use serde::Serialize;
use serde_json::json;

use super::{Api, path::decoded, respond, status::Refusal, unexpected};

/// An image of the catalogue, as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownImage {
    reference: String,
    digest: String,
    used_by: Vec<String>,
}

/// What a path under `/lichen/v1/` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LichenPath {
    /// Where devices connect.
    Connect,
    /// A device's session.
    Session(String),
    /// A device to take over.
    Resume(String),
    /// An object to be explained; of a kind by its plural, if there is one.
    Explain { plural: String, namespace: String, name: String },
    /// The catalogue.
    Images,
    /// A name in it.
    Image(String),
}

/// Reads a path; `None` if it names nothing.
pub(crate) fn parse(path: &str) -> Option<LichenPath> {
    let path = path.strip_prefix("/lichen/v1/")?;
    let segments: Vec<Cow<'_, str>> = path.split('/').map(decoded).collect::<Option<_>>()?;
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    Some(match segments.as_slice() {
        ["connect"] => LichenPath::Connect,
        ["devices", name, "session"] => LichenPath::Session((*name).to_owned()),
        ["devices", name, "resume"] => LichenPath::Resume((*name).to_owned()),
        ["explain", plural, namespace, name] => {
            let namespace = if *namespace == "-" { "" } else { namespace };
            let (plural, namespace) = ((*plural).to_owned(), namespace.to_owned());
            LichenPath::Explain { plural, namespace, name: (*name).to_owned() }
        }
        ["images"] => LichenPath::Images,
        // A reference has slashes of its own.
        ["images", reference @ ..] => LichenPath::Image(reference.join("/")),
        _ => return None,
    })
}

/// Answers every path under `/lichen/v1/`.
pub(crate) async fn answer(
    State(api): State<Api>,
    Extension(actor): Extension<Arc<Actor>>,
    request: HttpRequest<Body>,
) -> Response {
    let answer = match parse(request.uri().path()) {
        Some(path) => serve(&api, &actor, request.method(), path).await,
        None => Err(Refusal::no_such_path()),
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn serve(
    api: &Api,
    actor: &Arc<Actor>,
    method: &Method,
    path: LichenPath,
) -> Result<Response, Refusal> {
    match (method, path) {
        (&Method::GET, LichenPath::Connect) => connect(api),
        (&Method::GET, LichenPath::Session(device)) => session(api, actor, device).await,
        (&Method::POST, LichenPath::Resume(device)) => resume(api, actor, device).await,
        (&Method::GET, LichenPath::Explain { plural, namespace, name }) => {
            explain(api, actor, &plural, &namespace, &name).await
        }
        (&Method::GET, LichenPath::Images) => images(api, actor).await,
        (&Method::DELETE, LichenPath::Image(reference)) => {
            forget_image(api, actor, &reference).await
        }
        _ => Err(Refusal::method("this path does not take that method")),
    }
}

fn connect(api: &Api) -> Result<Response, Refusal> {
    let Some(broker) = api.broker.get() else {
        return Err(Refusal::unavailable(
            "the hub does not listen for devices yet; ask again in a second",
        ));
    };
    Ok(ok(&json!({"broker": broker, "lineage": api.lineage.to_string()})))
}

async fn session(api: &Api, actor: &Arc<Actor>, device: String) -> Result<Response, Refusal> {
    match api.engine.ask(actor, Request::Session { device }).await? {
        effect::Response::Session(agent) => {
            Ok(ok(&json!({"agent": agent.map(|agent| agent.to_string())})))
        }
        other => Err(unexpected(&other)),
    }
}

async fn resume(api: &Api, actor: &Arc<Actor>, device: String) -> Result<Response, Refusal> {
    match api.engine.ask(actor, Request::Resume { device }).await? {
        effect::Response::Done => Ok(ok(&json!({}))),
        other => Err(unexpected(&other)),
    }
}

async fn explain(
    api: &Api,
    actor: &Arc<Actor>,
    plural: &str,
    namespace: &str,
    name: &str,
) -> Result<Response, Refusal> {
    let kind = Kind::of_plural(plural).ok_or_else(|| {
        let kept = KINDS.iter().filter(|kind| kind.names().allows(Verb::Get));
        let known: Vec<&str> = kept.map(|kind| kind.plural()).collect();
        Refusal::bad_request(format!(
            "there is nothing called {plural}; Lichen has {}",
            known.join(", ")
        ))
    })?;
    let Key { kind, namespace, name } = Key::new(kind, namespace, name);
    match api.engine.ask(actor, Request::Explain { kind, namespace, name }).await? {
        effect::Response::Explanation(lines) => Ok(ok(&json!({"lines": lines}))),
        other => Err(unexpected(&other)),
    }
}

async fn images(api: &Api, actor: &Arc<Actor>) -> Result<Response, Refusal> {
    match api.engine.ask(actor, Request::ListImages).await? {
        effect::Response::Images(images) => {
            let images: Vec<ShownImage> = images.into_iter().map(shown).collect();
            Ok(ok(&json!({"images": images})))
        }
        other => Err(unexpected(&other)),
    }
}

fn shown(image: effect::Image) -> ShownImage {
    ShownImage {
        reference: image.reference,
        digest: Digest::from_bytes(image.root.0).to_string(),
        used_by: image.used_by.iter().map(ToString::to_string).collect(),
    }
}

async fn forget_image(api: &Api, actor: &Arc<Actor>, reference: &str) -> Result<Response, Refusal> {
    let reference = Reference::parse(reference)
        .map_err(|error| Refusal::bad_request(error.to_string()))?
        .to_string();
    match api.engine.ask(actor, Request::ForgetImage { reference }).await? {
        effect::Response::Done => Ok(ok(&json!({}))),
        other => Err(unexpected(&other)),
    }
}

fn ok(value: &serde_json::Value) -> Response {
    respond::json(StatusCode::OK, value)
}
