//! Lichen's own paths, under `/lichen/v1/`: what Kubernetes has no words for.
//!
//! | path | answer |
//! |---|---|
//! | `GET connect` | where devices connect with MQTT, the hub's lineage, and the keys that they know it by, newest first |
//! | `GET devices/<name>/session` | which agent holds a device's session |
//! | `POST devices/<name>/resume` | take over a device whose assignment another hub wrote |
//! | `GET explain/<plural>/<namespace or ->/<name>` | why an object is as it is |
//! | `GET images` | names and digests of images |
//! | `DELETE images/<reference>` | a name is to mean nothing any more |

use axum::{
    body::Body,
    extract::State,
    http::{Method, Request as HttpRequest, StatusCode},
    response::{IntoResponse, Response},
};
use lichen_hub_core::{
    api::{KINDS, Key},
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

/// Answers every path under `/lichen/v1/`.
pub(crate) async fn answer(State(api): State<Api>, request: HttpRequest<Body>) -> Response {
    let path = request.uri().path().trim_start_matches("/lichen/v1/");
    let segments: Option<Vec<String>> = path.split('/').map(decoded).collect();
    let Some(segments) = segments else { return Refusal::no_such_path().into_response() };
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let answer = serve(&api, request.method(), &segments).await;
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn serve(api: &Api, method: &Method, path: &[&str]) -> Result<Response, Refusal> {
    match (method, path) {
        (&Method::GET, ["connect"]) => connect(api),
        (&Method::GET, ["devices", name, "session"]) => session(api, name).await,
        (&Method::POST, ["devices", name, "resume"]) => resume(api, name).await,
        (&Method::GET, ["explain", plural, namespace, name]) => {
            explain(api, plural, namespace, name).await
        }
        (&Method::GET, ["images"]) => images(api).await,
        // A reference has slashes of its own.
        (&Method::DELETE, ["images", reference @ ..]) if !reference.is_empty() => {
            forget_image(api, &reference.join("/")).await
        }
        (_, ["connect" | "images" | "explain" | "devices", ..]) => {
            Err(Refusal::method("this path does not take that method"))
        }
        _ => Err(Refusal::no_such_path()),
    }
}

fn connect(api: &Api) -> Result<Response, Refusal> {
    let Some(broker) = api.broker.get() else {
        return Err(Refusal::unavailable(
            "the hub does not listen for devices yet; ask again in a second",
        ));
    };
    let keys: Vec<String> = api.signer.keys().iter().map(ToString::to_string).collect();
    Ok(ok(&json!({
        "broker": broker,
        "lineage": api.lineage.to_string(),
        "signingKeys": keys,
    })))
}

async fn session(api: &Api, device: &str) -> Result<Response, Refusal> {
    match api.engine.ask(Request::Session { device: device.to_owned() }).await? {
        effect::Response::Session(agent) => {
            Ok(ok(&json!({"agent": agent.map(|agent| agent.to_string())})))
        }
        other => Err(unexpected(&other)),
    }
}

async fn resume(api: &Api, device: &str) -> Result<Response, Refusal> {
    match api.engine.ask(Request::Resume { device: device.to_owned() }).await? {
        effect::Response::Done => Ok(ok(&json!({}))),
        other => Err(unexpected(&other)),
    }
}

async fn explain(
    api: &Api,
    plural: &str,
    namespace: &str,
    name: &str,
) -> Result<Response, Refusal> {
    let kind = KINDS.iter().copied().find(|kind| kind.plural() == plural);
    let kind = kind.ok_or_else(|| {
        let known: Vec<&str> = KINDS.iter().map(|kind| kind.plural()).collect();
        Refusal::bad_request(format!(
            "there is nothing called {plural}; Lichen has {}",
            known.join(", ")
        ))
    })?;
    let Key { kind, namespace, name } =
        Key::new(kind, if namespace == "-" { "" } else { namespace }, name);
    match api.engine.ask(Request::Explain { kind, namespace, name }).await? {
        effect::Response::Explanation(lines) => Ok(ok(&json!({"lines": lines}))),
        other => Err(unexpected(&other)),
    }
}

async fn images(api: &Api) -> Result<Response, Refusal> {
    match api.engine.ask(Request::ListImages).await? {
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

async fn forget_image(api: &Api, reference: &str) -> Result<Response, Refusal> {
    let reference = Reference::parse(reference)
        .map_err(|error| Refusal::bad_request(error.to_string()))?
        .to_string();
    match api.engine.ask(Request::ForgetImage { reference }).await? {
        effect::Response::Done => Ok(ok(&json!({}))),
        other => Err(unexpected(&other)),
    }
}

fn ok(value: &serde_json::Value) -> Response {
    respond::json(StatusCode::OK, value)
}
