//! What operators reach over HTTPS: Kubernetes' paths, Lichen's own, the registry, health and figures.
//!
//! Everything here turns HTTP into reads of the watch cache and requests to the engine, and answers back; nothing is
//! decided here, and whoever gets here has passed [`super::access`].

mod audit;
mod backup;
mod body;
mod broker;
mod change;
mod compression;
mod continuation;
mod deletion;
mod discovery;
mod fields;
mod guard;
mod health;
mod join_tokens;
mod labels;
mod lichen;
mod list;
mod logs;
mod objects;
mod openapi;
mod patch;
mod path;
mod pod_security;
mod protobuf;
mod query;
pub(crate) mod respond;
mod scale;
mod selection;
mod status;
pub mod strangers;
mod submitted;
mod table;
mod token;
mod trust;
mod watch;

use std::sync::{Arc, OnceLock};

use axum::{
    Router, middleware,
    response::{IntoResponse, Response},
    routing::{any, get},
};
use firmware_compat::enrolment::Address;
use lichen_hub_core::effect;
use lichen_trust::Trust;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch::Receiver};

use super::{
    access::{self, Access},
    audit::Recorder,
    handle::EngineHandle,
    limits::Limits,
    metrics::Counters,
    registry,
    rotation::Rotation,
    watch_cache::WatchCache,
};
use crate::backup::source::Source;
pub(crate) use body::read as read_body;
pub(crate) use compression::Flowing;
pub(crate) use fields::FieldSelector;
pub(crate) use lichen::{LichenPath, parse as lichen_path};
pub(crate) use path::{Target as ObjectPath, parse as object_path};
pub(crate) use query::Query;
pub(crate) use status::{RETRY_AFTER_S, Refusal};

/// What every request may need.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) engine: EngineHandle,
    /// Answers every read of objects.
    pub(crate) cache: Arc<WatchCache>,
    /// Who may do what.
    pub(crate) access: Arc<Access>,
    pub(crate) images: lichen_images::Store,
    pub(crate) uploads: registry::Uploads,
    pub(crate) counters: Arc<Counters>,
    pub(crate) trust: Arc<Trust>,
    /// Where devices find the hub, best first, once it listens for them.
    pub(crate) devices: Arc<OnceLock<Vec<Address>>>,
    /// Becomes true when the hub stops: streams end.
    pub(crate) stopping: Receiver<bool>,
    /// Where changes and refusals are noted.
    pub(crate) audit: Recorder,
    backups: backup::Backups,
    rotation: Rotation,
    /// A check of the whole audit log reads all of it: one at a time.
    checks: Arc<Semaphore>,
    /// Watches and logs that may be open at once; the other connections are for short requests.
    max_streams: usize,
    streams: Arc<Semaphore>,
    /// Downloads that may be under way at once: the same, and each has an open file besides.
    downloads: Arc<Semaphore>,
}

/// What the API is made of.
pub(crate) struct Parts {
    pub(crate) engine: EngineHandle,
    pub(crate) cache: Arc<WatchCache>,
    pub(crate) access: Arc<Access>,
    pub(crate) images: lichen_images::Store,
    pub(crate) trust: Arc<Trust>,
    pub(crate) backups: Source,
    pub(crate) rotation: Rotation,
    pub(crate) audit: Recorder,
    pub(crate) devices: Arc<OnceLock<Vec<Address>>>,
    pub(crate) stopping: Receiver<bool>,
    pub(crate) limits: Limits,
}

impl Api {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            engine,
            cache,
            access,
            images,
            trust,
            backups,
            rotation,
            audit,
            devices,
            stopping,
            limits,
        } = parts;
        Self {
            engine,
            cache,
            access,
            images,
            uploads: registry::Uploads::default(),
            counters: Arc::default(),
            trust,
            devices,
            stopping,
            backups: backup::Backups::new(backups),
            rotation,
            audit,
            checks: Arc::new(Semaphore::new(1)),
            max_streams: limits.streams,
            streams: Arc::new(Semaphore::new(limits.streams)),
            downloads: Arc::new(Semaphore::new(limits.downloads)),
        }
    }

    /// The refusal of a version from which nothing can be read.
    fn expired(&self, version: u64) -> Refusal {
        match self.cache.version() {
            reached if version > reached => Refusal::not_reached(version, reached),
            _ => Refusal::expired(version),
        }
    }

    /// Permission to keep a stream open.
    fn stream_permit(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.streams.clone().try_acquire_owned().map_err(|_| {
            Refusal::too_many(format!("{} watches and logs are open; close some", self.max_streams))
        })
    }

    /// Permission to read a blob to a client. Devices try again by themselves, and later each time.
    pub(crate) fn download_permit(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.downloads.clone().try_acquire_owned().map_err(|_| {
            Refusal::too_many("as many downloads are under way as this hub serves; try again")
        })
    }
}

/// Every path of the hub.
pub(crate) fn router(api: Api) -> Router {
    Router::new()
        .route("/metrics", get(health::metrics))
        .route("/version", get(discovery::version))
        .route("/version/", get(discovery::version))
        .route("/api", any(objects::answer))
        .route("/api/", any(objects::answer))
        .route("/api/{*path}", any(objects::answer))
        .route("/apis", any(objects::answer))
        .route("/apis/", any(objects::answer))
        .route("/apis/{*path}", any(objects::answer))
        .route("/openapi/{*path}", any(objects::answer))
        .route("/lichen/v1/{*path}", any(lichen::answer))
        .route("/v2", any(registry::answer))
        .route("/v2/", any(registry::answer))
        .route("/v2/{*path}", any(registry::answer))
        .layer(middleware::from_fn_with_state(api.clone(), access::admit))
        .layer(middleware::from_fn(guard::keep_pages_out))
        // Whoever asks by whatever name may know whether the hub lives.
        .route("/healthz", get(health::alive))
        .route("/livez", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(compression::layer())
        .with_state(api)
}

async fn no_such_path() -> Response {
    Refusal::no_such_path().into_response()
}

async fn wrong_method() -> Response {
    Refusal::method("this path can only be read (GET)").into_response()
}

/// The engine gave an answer of another kind than the request calls for, which its types don't rule out.
pub(crate) fn unexpected(response: &effect::Response) -> Refusal {
    tracing::error!(?response, "the engine gave an answer of the wrong kind");
    Refusal::internal("the hub gave itself an answer of the wrong kind; please report this")
}
