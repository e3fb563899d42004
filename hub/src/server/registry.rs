//! The registry, `/v2/`: the part of the OCI distribution API that pushing and pulling needs. Names live in the
//! engine, bytes in the artefact store; a push is answered when both are durable.

mod manifests;
mod uploads;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Extension, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, Method, Request as HttpRequest, StatusCode, header,
    },
    response::Response,
};
use lichen_hub_core::{actor::Actor, effect, event::Request};
use lichen_images::{
    Digest, Name,
    blobs::BlobError,
    distribution::{Code, chain, error_body},
    route::{Route, RouteError},
    store::StoreError,
};
use percent_encoding::percent_decode_str;

use super::{
    api::{Api, Query, RETRY_AFTER_S, Refusal},
    artefacts,
    handle::AskError,
};
pub(crate) use uploads::{MAX_UPLOADS, Uploads};

/// An answer that is no, in the registry's own words.
#[derive(Debug)]
pub(super) struct Denial {
    code: Code,
    message: String,
}

impl Denial {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn into_response(self, method: &Method) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::BAD_REQUEST);
        // HEAD has no body, so say it where the operator can find it.
        let body = match *method {
            Method::HEAD => Body::empty(),
            _ => Body::from(error_body(self.code, &self.message)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }
}

impl From<RouteError> for Denial {
    fn from(error: RouteError) -> Self {
        Self::new(error.code(), chain(&error))
    }
}

impl From<StoreError> for Denial {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::TooLarge { .. } => Code::SizeInvalid,
            StoreError::Mismatch { .. } => Code::DigestInvalid,
            StoreError::Offset { .. } | StoreError::Broken => Code::BlobUploadInvalid,
            StoreError::Missing(_) | StoreError::Corrupt { .. } => Code::BlobUnknown,
            StoreError::Io { .. } | StoreError::InUse(_) => {
                // The specification has no code for a registry's own failure; this one makes clients try again.
                tracing::error!(error = chain(&error), "the artefact store failed");
                Code::TooManyRequests
            }
        };
        Self::new(code, chain(&error))
    }
}

impl From<BlobError> for Denial {
    fn from(error: BlobError) -> Self {
        Self::new(Code::BlobUnknown, chain(&error))
    }
}

impl From<AskError> for Denial {
    fn from(error: AskError) -> Self {
        let code = match &error {
            AskError::Refused(_) => Code::Denied,
            AskError::Busy | AskError::Late | AskError::Stopping => Code::TooManyRequests,
        };
        Self::new(code, chain(&error))
    }
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.code() {
            StatusCode::TOO_MANY_REQUESTS => Code::TooManyRequests,
            StatusCode::UNAUTHORIZED => Code::Unauthorized,
            StatusCode::FORBIDDEN => Code::Denied,
            _ => Code::SizeInvalid,
        };
        Self::new(code, refusal.message().to_owned())
    }
}

/// One request for the registry.
pub(super) struct Call {
    /// Who asks.
    pub(super) actor: Arc<Actor>,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) query: Query,
    pub(super) body: Body,
}

/// Answers every path under `/v2/`.
pub(crate) async fn answer(
    State(api): State<Api>,
    Extension(actor): Extension<Arc<Actor>>,
    request: HttpRequest<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let method = parts.method.clone();
    let query = Query::parse(parts.uri.query());
    let call = Call { actor, method: parts.method, headers: parts.headers, query, body };
    let answer = match parse(parts.uri.path()) {
        Ok(route) => serve(&api, call, route).await,
        Err(error) => Err(error.into()),
    };
    with_version(answer.unwrap_or_else(|denial| denial.into_response(&method)))
}

/// What a path is for, if it is one of the registry's.
pub(super) fn route(path: &str) -> Option<Route> {
    parse(path).ok()
}

/// Whether the registry answers on a path, even if it is to say that there is nothing.
pub(super) fn is_below(path: &str) -> bool {
    path == "/v2" || path.starts_with("/v2/")
}

fn parse(path: &str) -> Result<Route, RouteError> {
    Route::parse(&percent_decode_str(path).decode_utf8_lossy())
}

/// A refusal in the registry's own words.
pub(super) fn refuse(refusal: Refusal, method: &Method) -> Response {
    with_version(Denial::from(refusal).into_response(method))
}

fn with_version(mut response: Response) -> Response {
    let version = HeaderName::from_static("docker-distribution-api-version");
    response.headers_mut().insert(version, HeaderValue::from_static("registry/2.0"));
    response
}

async fn serve(api: &Api, call: Call, route: Route) -> Result<Response, Denial> {
    let method = call.method.clone();
    let reading = matches!(method, Method::GET | Method::HEAD);
    match route {
        Route::Root if reading => Ok(json("{}".to_owned())),
        Route::Catalogue if reading => catalogue(api, &call.actor).await,
        Route::Tags(name) if reading => tags(api, &call.actor, &name).await,
        Route::Blob(_, digest) if reading => blob(api, &method, &call.headers, digest).await,
        Route::Uploads(name) if method == Method::POST => uploads::start(api, call, &name).await,
        Route::Upload(name, id) => uploads::go_on(api, call, &name, &id).await,
        Route::Manifest(name, wanted) if reading => {
            manifests::get(api, &call.actor, (&method, &call.headers), &name, &wanted).await
        }
        Route::Manifest(name, wanted) if method == Method::PUT => {
            manifests::put(api, call, &name, &wanted).await
        }
        _ => Err(Denial::new(
            Code::Unsupported,
            format!("{method} is not supported here; remove a name with `lichen image rm`"),
        )),
    }
}

async fn blob(
    api: &Api,
    method: &Method,
    headers: &HeaderMap,
    digest: Digest,
) -> Result<Response, Denial> {
    if *method == Method::HEAD {
        // A push asks this way what it need not send: keep it until the manifest comes that refers to it.
        touch(api, digest).await?;
    }
    let permit = api.download_permit()?;
    let opened = artefacts::open(&api.images, digest).await?;
    let opened = opened.ok_or_else(|| {
        Denial::new(Code::BlobUnknown, format!("blob {digest} is not in the store"))
    })?;
    let kind = "application/octet-stream";
    Ok(artefacts::serve((opened, permit), &digest, kind, method, headers))
}

async fn touch(api: &Api, digest: Digest) -> Result<Option<u64>, Denial> {
    let images = api.images.clone();
    blocking(move || Ok(images.touch(&digest, std::time::SystemTime::now())?)).await
}

/// Runs file work off the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Denial> + Send + 'static,
) -> Result<T, Denial> {
    let failed =
        |_| Denial::new(Code::TooManyRequests, "the hub failed on this request; see its log");
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

/// Every name and tag that the engine knows.
async fn known(api: &Api, actor: &Arc<Actor>) -> Result<Vec<effect::Image>, Denial> {
    match api.engine.ask(actor, Request::ListImages).await? {
        effect::Response::Images(images) => Ok(images),
        _ => Err(Denial::new(Code::Unsupported, "the hub gave itself an answer of the wrong kind")),
    }
}

async fn catalogue(api: &Api, actor: &Arc<Actor>) -> Result<Response, Denial> {
    let images = known(api, actor).await?;
    let mut names: Vec<&str> =
        images.iter().filter_map(|image| Some(image.reference.rsplit_once(':')?.0)).collect();
    names.dedup();
    Ok(json(serde_json::json!({"repositories": names}).to_string()))
}

async fn tags(api: &Api, actor: &Arc<Actor>, name: &Name) -> Result<Response, Denial> {
    let images = known(api, actor).await?;
    let prefix = format!("{name}:");
    let tags: Vec<&str> =
        images.iter().filter_map(|image| image.reference.strip_prefix(&prefix)).collect();
    if tags.is_empty() {
        return Err(Denial::new(Code::NameUnknown, format!("no image is named {name}")));
    }
    Ok(json(serde_json::json!({"name": name.to_string(), "tags": tags}).to_string()))
}

fn json(text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// An answer without a body.
pub(super) fn empty(code: StatusCode, headers: &[(HeaderName, String)]) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = code;
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

pub(super) fn digest_header(digest: &Digest) -> (HeaderName, String) {
    (HeaderName::from_static("docker-content-digest"), digest.to_string())
}
