//! Whether the hub lives, whether it is ready, and its figures.

use std::sync::Arc;

use axum::{
    extract::{Extension, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use lichen_hub_core::{actor::Actor, effect, event::Request};

use super::{Api, Refusal, respond, unexpected};

/// `/healthz`, `/livez`: the process answers.
pub(crate) async fn alive() -> Response {
    respond::text(StatusCode::OK, "ok")
}

/// `/readyz`: the store is loaded (else nothing would listen) and the way to the devices is open.
pub(crate) async fn ready(State(api): State<Api>) -> Response {
    if api.counters.link_is_up() {
        return respond::text(StatusCode::OK, "ok");
    }
    respond::text(
        StatusCode::SERVICE_UNAVAILABLE,
        "the way to the devices is not open: the hub is starting, or can't reach the external broker\n",
    )
}

/// `/metrics`, in the text format of Prometheus.
pub(crate) async fn metrics(
    State(api): State<Api>,
    Extension(actor): Extension<Arc<Actor>>,
) -> Response {
    let mut figures = match api.engine.ask(&actor, Request::Metrics).await {
        Ok(effect::Response::Metrics(figures)) => figures,
        Ok(other) => return unexpected(&other).into_response(),
        Err(error) => return Refusal::from(error).into_response(),
    };
    let leap = api.trust.time().clock_has_leapt().unwrap_or_default();
    figures.push(("lichen_clock_leap_seconds", leap.as_secs()));
    figures.extend(api.audit.figures());
    respond::text(StatusCode::OK, api.counters.print(&figures, &api.cache))
}
