//! The gate: every request passes here before any handler. Who asks ([`super::authn`]), what for ([`super::authz`]), and
//! whether the rules allow it; then, and only then, it goes on with its actor, without which nothing reaches the engine.
//!
//! [`rights`] keeps the rules in step with the watch cache, [`lease`] ends streams whose reader has lost the right to
//! them, [`attempt`] hears of everything that was changed or refused.

mod attempt;
mod lease;
mod rights;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use lichen_hub_core::{actor::Actor, authorizer::Attributes};

use super::{
    api::{Api, Flowing, Refusal},
    authn::Identity,
    authz,
    peer::Peer,
    registry,
};
use attempt::Attempt;
pub(crate) use rights::Access;

/// Names a request in the log, and to whoever sent it: Kubernetes' header.
const REQUEST_ID: HeaderName = HeaderName::from_static("audit-id");
/// How the names of headers begin by which somebody would act as somebody else.
const IMPERSONATE: &str = "impersonate-";

/// Lets a request go on, or answers it.
pub(crate) async fn admit(
    State(api): State<Api>,
    mut request: Request<Body>,
    next: Next,
) -> Response {
    let access = &api.access;
    let id = access.fresh_request_id();
    let peer = request.extensions().get::<Arc<Peer>>().cloned();
    let from = peer.as_ref().map(|peer| peer.address);
    let shows_certificate = peer.as_ref().is_some_and(|peer| peer.certificate.is_some());
    let wanted: Arc<[Attributes]> = authz::wanted(request.method(), request.uri()).into();
    let attempt = Attempt { audit: &api.audit, id: &id, from, wanted: &wanted };
    let mut response = match decide(access, peer, request.headers(), &wanted) {
        Ok(identity) => {
            let actor = identity.actor.clone();
            request.extensions_mut().insert(actor.clone());
            match attempt.begin(&actor).await {
                Ok(begun) => {
                    let mut response = next.run(request).await;
                    begun.end(&response);
                    if response.extensions().get::<Flowing>().is_some() {
                        let lease = lease::Lease::new(access, identity, &wanted);
                        response = response.map(|body| lease.bind(body));
                    }
                    response
                }
                Err(refusal) => refused(&request, refusal),
            }
        }
        Err((actor, refusal)) => {
            api.counters.refused(refusal.code());
            attempt.refused(actor.as_deref(), &refusal);
            let over = actor.is_none() && shows_certificate;
            let mut response = refused(&request, refusal);
            if over {
                // What the connection has shown is worth nothing any more; another one may show better.
                response
                    .headers_mut()
                    .insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    };
    // An id has nothing that a header can't.
    response.headers_mut().extend(HeaderValue::try_from(id).map(|id| (REQUEST_ID, id)));
    response
}

/// Whoever sends a request, if it is allowed; else whoever was recognised, and why it is not.
fn decide(
    access: &Access,
    peer: Option<Arc<Peer>>,
    headers: &HeaderMap,
    wanted: &[Attributes],
) -> Result<Identity, (Option<Arc<Actor>>, Refusal)> {
    let Some(peer) = peer else {
        let refusal = Refusal::internal("the hub does not know over which connection it was asked");
        return Err((None, refusal));
    };
    let identity = access
        .identify(&peer, headers)
        .map_err(|error| (None, Refusal::unauthorized(format!("Unauthorized: {error}"))))?;
    let actor = &identity.actor;
    if let Some(header) = headers.keys().find(|name| name.as_str().starts_with(IMPERSONATE)) {
        let refusal = Refusal::new(
            StatusCode::FORBIDDEN,
            "Forbidden",
            format!(
                "Lichen does not support acting as somebody else; leave out the header {header}"
            ),
        );
        return Err((Some(actor.clone()), refusal));
    }
    match access.missing(actor, wanted) {
        None => Ok(identity),
        Some(_) if actor.is_anonymous() => {
            let refusal = Refusal::unauthorized(
                "Unauthorized: say who you are, with a client certificate or the token of a ServiceAccount",
            );
            Err((Some(actor.clone()), refusal))
        }
        Some(missing) => Err((Some(actor.clone()), Refusal::forbidden(actor, missing))),
    }
}

/// A refusal in the words of whoever speaks on this path.
fn refused(request: &Request<Body>, refusal: Refusal) -> Response {
    let is_registry = registry::is_below(request.uri().path());
    let unknown = refusal.code() == StatusCode::UNAUTHORIZED;
    let mut response = match is_registry {
        true => registry::refuse(refusal, request.method()),
        false => refusal.into_response(),
    };
    if unknown {
        // Registries' clients show a token only as a password, and only when they are asked for one.
        let scheme = if is_registry { "Basic realm=\"lichen\"" } else { "Bearer realm=\"lichen\"" };
        let scheme = HeaderValue::from_static(scheme);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}
