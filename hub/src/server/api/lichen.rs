//! Lichen's own paths, under `/lichen/v1/`: what Kubernetes has no words for.
//!
//! | path | answer |
//! |---|---|
//! | `POST jointokens` | makes a token by which devices join |
//! | `POST devices/<name>/resume` | take over a device whose assignment another hub wrote |
//! | `GET explain/<plural>/<namespace or ->/<name>` | why an object is as it is |
//! | `GET backup?keys=include\|none\|only&artefacts=false` | everything that another machine needs to go on as this hub |
//! | `GET audit?since=…&actor=…&refused&follow` | who did or tried what, one entry to a line |
//! | `GET audit/verify` | whether nobody has altered that |
//! | `GET trust` | which keys count, until when, and how many devices have the newest |
//! | `POST trust/rotate-ca`, `POST trust/rotate-signing-key` | changes them |
//! | `POST broker/certificate`, `GET broker/crl` | what an operator's broker needs of the hub's trust |
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

use super::{
    Api, audit, backup, broker, join_tokens, path::decoded, query::Query, respond, status::Refusal,
    trust, unexpected,
};

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
    /// The tokens by which devices join.
    JoinTokens,
    /// A device to take over.
    Resume(String),
    /// An object to be explained; of a kind by its plural, if there is one.
    Explain { plural: String, namespace: String, name: String },
    /// A copy of all that the hub has.
    Backup,
    /// Who did what.
    Audit,
    /// Whether that was altered.
    AuditCheck,
    /// The hub's keys.
    Trust,
    /// Change its CA.
    RotateAuthority,
    /// Change its signing key.
    RotateSigningKey,
    /// The catalogue.
    Images,
    /// A name in it.
    Image(String),
    /// A certificate for a broker.
    BrokerCertificate,
    /// Which certificates of devices a broker is to refuse.
    BrokerCrl,
}

/// Reads a path; `None` if it names nothing.
pub(crate) fn parse(path: &str) -> Option<LichenPath> {
    let path = path.strip_prefix("/lichen/v1/")?;
    let segments: Vec<Cow<'_, str>> = path.split('/').map(decoded).collect::<Option<_>>()?;
    let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
    Some(match segments.as_slice() {
        ["jointokens"] => LichenPath::JoinTokens,
        ["devices", name, "resume"] => LichenPath::Resume((*name).to_owned()),
        ["explain", plural, namespace, name] => {
            let namespace = if *namespace == "-" { "" } else { namespace };
            let (plural, namespace) = ((*plural).to_owned(), namespace.to_owned());
            LichenPath::Explain { plural, namespace, name: (*name).to_owned() }
        }
        ["backup"] => LichenPath::Backup,
        ["audit"] => LichenPath::Audit,
        ["audit", "verify"] => LichenPath::AuditCheck,
        ["trust"] => LichenPath::Trust,
        ["trust", "rotate-ca"] => LichenPath::RotateAuthority,
        ["trust", "rotate-signing-key"] => LichenPath::RotateSigningKey,
        ["broker", "certificate"] => LichenPath::BrokerCertificate,
        ["broker", "crl"] => LichenPath::BrokerCrl,
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
        Some(path) => {
            let query = Query::parse(request.uri().query());
            let method = request.method().clone();
            serve(&api, &actor, &method, path, &query, request.into_body()).await
        }
        None => Err(Refusal::no_such_path()),
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn serve(
    api: &Api,
    actor: &Arc<Actor>,
    method: &Method,
    path: LichenPath,
    query: &Query,
    body: Body,
) -> Result<Response, Refusal> {
    match (method, path) {
        (&Method::POST, LichenPath::JoinTokens) => join_tokens::create(api, actor, body).await,
        (&Method::POST, LichenPath::Resume(device)) => resume(api, actor, device).await,
        (&Method::GET, LichenPath::Explain { plural, namespace, name }) => {
            explain(api, actor, &plural, &namespace, &name).await
        }
        (&Method::GET, LichenPath::Backup) => backup::stream(api, query).await,
        (&Method::GET, LichenPath::Audit) => audit::read(api, query).await,
        (&Method::GET, LichenPath::AuditCheck) => audit::verify(api).await,
        (&Method::GET, LichenPath::Trust) => trust::show(api).await,
        (&Method::POST, LichenPath::RotateAuthority) => {
            trust::rotate(api, trust::What::Authority, body).await
        }
        (&Method::POST, LichenPath::RotateSigningKey) => {
            trust::rotate(api, trust::What::SigningKey, body).await
        }
        (&Method::POST, LichenPath::BrokerCertificate) => broker::certificate(api, body).await,
        (&Method::GET, LichenPath::BrokerCrl) => broker::crl(api).await,
        (&Method::GET, LichenPath::Images) => images(api, actor).await,
        (&Method::DELETE, LichenPath::Image(reference)) => {
            forget_image(api, actor, &reference).await
        }
        _ => Err(Refusal::method("this path does not take that method")),
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
