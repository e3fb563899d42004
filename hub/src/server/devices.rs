//! The HTTP side of the device port: how a board becomes a device and stays one, and the artefacts.
//!
//! | path | who | answer |
//! |---|---|---|
//! | `POST /lichen/v1/enrol` | anybody | a certificate, or that an operator has to approve |
//! | `POST /lichen/v1/renew` | a device, whose certificate may have ended | a new one |
//! | `GET /lichen/v1/connect` | a device | what it keeps of its hub |
//! | `GET /lichen/v1/session` | a device | who holds its name |
//! | `POST /lichen/v1/logbook` | a device | how much the hub has of what it noted itself |
//! | `GET /artefacts/<digest>` | a device | the bytes |
//!
//! Who may join is decided by the engine; here certificates are issued. [`caller`] says who asks, and what came of it goes into the
//! audit log ([`noted`]). The connections are the
//! endpoint's, which knows who is at their far ends.

mod caller;
mod enrol;
mod logbook;
mod noted;

use std::sync::{Arc, OnceLock};

use axum::{
    Router, middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use firmware_compat::{
    enrolment::{
        Address, Broker, CONNECT_PATH, ENROL_PATH, HubFacts, RENEW_PATH, Renewal, SESSION_PATH,
    },
    id::Lineage,
    logbook::LOGBOOK_PATH,
};
use lichen_hub_core::admission::validity;
use lichen_link::endpoint::http::{HttpHandler, HttpPeer, HttpServing, HttpStream};
use lichen_trust::{Trust, TrustState};

use caller::Caller;

use super::{
    api::{Api, Refusal},
    artefacts,
    audit::Recorder,
    connection::{self, Serving},
    handle::EngineHandle,
    signing::public_keys,
};

/// How long certificates last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// A device's certificate, in seconds.
    pub certificate_s: u64,
    /// How long after its end a certificate is good for a new one, in seconds.
    pub grace_s: u64,
}

impl Default for Lifetimes {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        // A device that was off for a year comes back by itself, and for some years more.
        Self { certificate_s: 90 * DAY, grace_s: 5 * 365 * DAY }
    }
}

/// What the device port needs.
#[derive(Clone)]
pub(crate) struct Devices {
    pub(crate) engine: EngineHandle,
    pub(crate) addresses: Arc<OnceLock<Vec<Address>>>,
    pub(crate) trust: Arc<Trust>,
    pub(crate) lineage: Lineage,
    /// The operator's broker, if devices don't speak MQTT with the hub itself.
    pub(crate) broker: Option<Broker>,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) audit: Recorder,
}

impl Devices {
    /// What a device keeps of its hub.
    fn facts(&self) -> Result<HubFacts, Refusal> {
        let addresses = self.addresses.get().ok_or_else(Refusal::just_starting)?;
        let too_much = |_| Refusal::internal("the hub has more to say of itself than devices take");
        Ok(HubFacts {
            ca: self.trust.bundle().as_str().try_into().map_err(too_much)?,
            signing_keys: public_keys(&self.trust).try_into().map_err(too_much)?,
            lineage: self.lineage,
            addresses: addresses.clone().try_into().map_err(too_much)?,
            broker: self.broker.clone(),
            unix_ms: self.trust.time().now() * 1000,
            renewal: renewal(&self.trust.state()),
        })
    }
}

/// What devices are asked for, while the hub changes its CA.
fn renewal(state: &TrustState) -> Option<Renewal> {
    let (_, until) = state.previous_authority?;
    Some(validity::early_renewal(state.authority_since, until))
}

/// Every path of the device port.
pub(crate) fn router(devices: Devices, api: Api) -> Router {
    let recorder = devices.audit.clone();
    let artefacts = Router::new()
        .route("/artefacts/{digest}", get(artefacts::get))
        .layer(middleware::from_fn_with_state(devices.clone(), caller::only_devices))
        .with_state(api);
    Router::new()
        .route(ENROL_PATH, post(enrol::enrol))
        .route(RENEW_PATH, post(enrol::renew))
        .route(CONNECT_PATH, get(enrol::connect))
        .route(SESSION_PATH, get(enrol::session))
        .route(LOGBOOK_PATH, post(logbook::take))
        .with_state(devices)
        .merge(artefacts)
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(recorder, noted::note))
}

/// Serves the HTTP connections of the device port.
pub(crate) struct Http {
    pub(crate) serving: Serving,
    pub(crate) trust: Arc<Trust>,
}

impl HttpHandler for Http {
    fn serve(&self, stream: HttpStream, peer: HttpPeer) -> HttpServing {
        let serving = self.serving.clone();
        let now = self.trust.time().now();
        let peer = Arc::new(peer);
        let closing = peer.clone();
        Box::pin(async move {
            let stop = async move { closing.until_closing().await };
            // Whoever is no device asks once: what follows costs a handshake each, of which one address has only so many.
            let is_device = Caller::from(peer.as_ref()).device(now).is_ok();
            connection::serve(stream, peer, is_device, stop, &serving).await;
        })
    }
}

async fn no_such_path() -> Response {
    Refusal::no_such_path().into_response()
}

async fn wrong_method() -> Response {
    Refusal::method("this path does not take that method").into_response()
}
