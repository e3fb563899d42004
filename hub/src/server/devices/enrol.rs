//! Enrolment, renewal, and what a device asks of its hub.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use firmware_compat::{
    enrolment::{EnrolRequest, Enrolled, Holder, MAX_DOCUMENT_BYTES, Pending, RenewRequest},
    id::{AgentId, BootId, Hash},
    topic::{is_device_name, usable_device_name},
};
use lichen_hub_core::{
    actor::{Actor, Origin},
    effect,
    event::{self, Request},
};
use lichen_trust::{Issued, Trust, TrustError};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{Devices, caller::Caller};
use crate::server::{
    api::{Query, Refusal, read_body, respond},
    audit::Told,
};

/// When a board that waits for approval asks again.
const RETRY_AFTER_S: u32 = 5;
/// The name of a board that says none.
const NAMELESS: &str = "device";

/// A board asks to be a device.
pub(super) async fn enrol(
    State(devices): State<Devices>,
    caller: Caller,
    body: Body,
) -> Result<Response, Refusal> {
    let request: EnrolRequest = read(body).await?;
    let name = request.name.as_ref().map_or(NAMELESS, |name| name.as_str()).to_owned();
    let token = request.token.as_ref().map(|token| token.id().to_owned());
    let answer = decide(devices, caller, request).await;
    let mut response = answer.unwrap_or_else(|refusal| {
        let told = Told { name, note: refusal.message().to_owned() };
        let mut response = refusal.into_response();
        response.extensions_mut().insert(told);
        response
    });
    if let (true, Some(told)) =
        (response.status().is_success(), response.extensions_mut().get_mut::<Told>())
    {
        told.note = match token {
            Some(token) => format!("with the token {token}"),
            None => "without a token".to_owned(),
        };
    }
    Ok(response)
}

async fn decide(
    devices: Devices,
    caller: Caller,
    request: EnrolRequest,
) -> Result<Response, Refusal> {
    let key = Hash(Trust::key_of(&request.csr).map_err(unusable)?);
    let name = request.name.as_ref().map_or(NAMELESS, |name| name.as_str());
    if !is_device_name(name) {
        let usable = usable_device_name(name).unwrap_or_default();
        let advice = if usable.is_empty() { NAMELESS } else { &usable };
        return Err(Refusal::bad_request(format!(
            "{name:?} can't be a device's name, which has 1 to 63 of a-z, 0-9 and '-': use --name {advice}"
        )));
    }
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let asked = event::EnrolRequest {
        token: request.token.as_ref().map(|token| {
            let secret: [u8; 32] = Sha256::digest(token.secret().as_bytes()).into();
            (token.id().to_owned(), Hash(secret))
        }),
        name: name.to_owned(),
        key,
        sealing_key: Hash(request.sealing_key.0),
        agent: request.agent,
        serial_number: text(request.serial.as_ref().map(|serial| serial.as_str())),
        model: text(request.model.as_ref().map(|model| model.as_str())),
        address: caller.address.ip().to_canonical().to_string(),
    };
    let actor = Arc::new(Actor::anonymous(Origin::Address(caller.address)));
    match devices.engine.ask(&actor, Request::Enrol(asked)).await? {
        effect::Response::Enrolled { name } => {
            let actor = Arc::new(Actor::device(&name, Origin::Address(caller.address)));
            let issued = issue(&devices, &actor, &request.csr, &name).await?;
            let response = respond::json(StatusCode::OK, &enrolled(&devices, &name, &issued)?);
            Ok(told(response, name))
        }
        effect::Response::EnrolmentPending { name } => {
            let pending = document(&Pending {
                pending: true,
                name: name.as_str().try_into().map_err(internal)?,
                message: format!(
                    "an operator has to approve this device: lichen device approve {name}"
                )
                .as_str()
                .try_into()
                .map_err(internal)?,
                retry_after_s: RETRY_AFTER_S,
            });
            Ok(told(respond::json(StatusCode::ACCEPTED, &pending), name))
        }
        other => Err(crate::server::api::unexpected(&other)),
    }
}

/// Has the audit log know which device it was.
fn told(mut response: Response, name: String) -> Response {
    response.extensions_mut().insert(Told { name, ..Told::default() });
    response
}

/// A device asks for a new certificate.
pub(super) async fn renew(
    State(devices): State<Devices>,
    caller: Caller,
    body: Body,
) -> Result<Response, Refusal> {
    let certificate = caller.renewable(devices.trust.time().now(), devices.lifetimes.grace_s)?;
    let request: RenewRequest = read(body).await?;
    let new_key = Hash(Trust::key_of(&request.csr).map_err(unusable)?);
    let asked = event::RenewRequest {
        device: certificate.name.to_string(),
        key: certificate.key,
        new_key,
        sealing_key: Hash(request.sealing_key.0),
        agent: request.agent,
    };
    let actor = Arc::new(Actor::device(&certificate.name, Origin::Address(caller.address)));
    match devices.engine.ask(&actor, Request::Renew(asked)).await? {
        effect::Response::Done => {}
        other => return Err(crate::server::api::unexpected(&other)),
    }
    let name = &*certificate.name;
    let issued = issue(&devices, &actor, &request.csr, name).await?;
    Ok(respond::json(StatusCode::OK, &enrolled(&devices, name, &issued)?))
}

/// A device asks what may have changed.
pub(super) async fn connect(
    State(devices): State<Devices>,
    caller: Caller,
) -> Result<Response, Refusal> {
    let certificate = caller.device(devices.trust.time().now())?;
    let (device, key) = (certificate.name.to_string(), certificate.key);
    let actor = Arc::new(Actor::device(&device, Origin::Address(caller.address)));
    match devices.engine.ask(&actor, Request::Shown { device, key }).await? {
        effect::Response::Done => {}
        other => return Err(crate::server::api::unexpected(&other)),
    }
    Ok(respond::json(StatusCode::OK, &document(&devices.facts()?)))
}

/// A device asks who holds its name.
pub(super) async fn session(
    State(devices): State<Devices>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, Refusal> {
    let device = caller.device(devices.trust.time().now())?.name.to_string();
    if let Some(held) = caller.holder {
        let holder = Holder { agent: held.agent, boot: held.boot };
        return Ok(respond::json(StatusCode::OK, &document(&holder)));
    }
    // With an operator's broker, the engine alone knows who was heard.
    let actor = Arc::new(Actor::device(&device, Origin::Address(caller.address)));
    let asker = asker(&uri, &caller);
    match devices.engine.ask(&actor, Request::Session { device, asker }).await? {
        effect::Response::Session(held) => {
            let holder = Holder { agent: held.map(|held| held.0), boot: held.map(|held| held.1) };
            Ok(respond::json(StatusCode::OK, &document(&holder)))
        }
        other => Err(crate::server::api::unexpected(&other)),
    }
}

/// Which board asks, if it says so.
fn asker(uri: &Uri, caller: &Caller) -> Option<event::Board> {
    let query = Query::parse(uri.query());
    Some(event::Board {
        agent: AgentId::parse(query.text("agent")?)?,
        boot: BootId::parse(query.text("boot")?)?,
        address: caller.address.ip().to_canonical().to_string(),
    })
}

/// Issues a certificate, and has the engine note until when it lasts.
async fn issue(
    devices: &Devices,
    actor: &Arc<Actor>,
    csr: &str,
    name: &str,
) -> Result<Issued, Refusal> {
    let issued =
        devices.trust.device(csr, name, devices.lifetimes.certificate_s).map_err(unusable)?;
    let not_after_ms = issued.not_after.saturating_mul(1000);
    let authority = Hash(issued.authority);
    let (device, serial) = (name.to_owned(), issued.serial.clone());
    let request = Request::Certified { device, not_after_ms, authority, serial };
    match devices.engine.ask(actor, request).await? {
        effect::Response::Done => Ok(issued),
        other => Err(crate::server::api::unexpected(&other)),
    }
}

fn enrolled(devices: &Devices, name: &str, issued: &Issued) -> Result<serde_json::Value, Refusal> {
    // A broker of the operator's may not have heard of a new CA yet; the hub itself has.
    let certificate = match devices.broker {
        Some(_) => format!("{}{}", issued.certificate, devices.trust.way_to_previous()),
        None => issued.certificate.clone(),
    };
    Ok(document(&Enrolled {
        name: name.try_into().map_err(internal)?,
        certificate: certificate.as_str().try_into().map_err(internal)?,
        hub: devices.facts()?,
    }))
}

async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let bytes = read_body(body, MAX_DOCUMENT_BYTES).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::bad_request(format!("the request can't be read: {error}")))
}

fn document(document: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(document).unwrap_or_default()
}

fn unusable(error: TrustError) -> Refusal {
    match error {
        TrustError::Csr(_) => Refusal::bad_request(error.to_string()),
        other => internal(other),
    }
}

fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal::internal(format!("the hub could not answer: {error}"))
}
