//! What happens on the device port, for the audit log: who joined, renewed or was turned away. What a device only reads is
//! not worth a line.

use axum::{
    body::Body,
    extract::State,
    http::{Method, Request, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use firmware_compat::enrolment::{ENROL_PATH, MAX_DOCUMENT_BYTES, RENEW_PATH};
use lichen_hub_core::{
    actor::{Actor, Origin},
    api::Kind,
};

use super::caller::Caller;
use crate::{
    audit::Entry,
    server::{
        api::read_body,
        audit::{NOBODY, Pending, Recorder, Told, entry_of},
    },
};

/// Lets a request go on, and notes what came of it.
pub(super) async fn note(
    State(audit): State<Recorder>,
    caller: Caller,
    request: Request<Body>,
    next: Next,
) -> Response {
    let entry = entry(&caller, request.method(), request.uri().path());
    let changes = *request.method() == Method::POST && entry.path.is_empty();
    if !changes {
        let response = next.run(request).await;
        refused(&audit, &caller, entry, &response);
        return response;
    }
    // Nobody takes a place in the log's queue by sending slowly.
    let (parts, body) = request.into_parts();
    let body = match read_body(body, MAX_DOCUMENT_BYTES).await {
        Ok(bytes) => Body::from(bytes),
        Err(refusal) => return refusal.into_response(),
    };
    let room = match audit.room().await {
        Ok(room) => room,
        Err(refusal) => return refusal.into_response(),
    };
    let pending = Pending::new(room, entry.clone());
    let response = next.run(Request::from_parts(parts, body)).await;
    let told = response.extensions().get::<Told>();
    match response.status() {
        // A board that waits asks again every few seconds.
        StatusCode::ACCEPTED => match told {
            Some(told) if audit.is_news(&told.name) => {
                pending.ended(StatusCode::ACCEPTED, Some(told))
            }
            _ => pending.leave_out(),
        },
        code if code.is_success() => pending.ended(code, told),
        // Strangers can be refused as often as they like.
        _ => {
            pending.leave_out();
            refused(&audit, &caller, entry, &response);
        }
    }
    response
}

fn entry(caller: &Caller, method: &Method, path: &str) -> Entry {
    let device = caller.name().map(|name| Actor::device(name, Origin::Address(caller.address)));
    let mut entry = entry_of(device.as_ref(), Some(caller.address));
    let verb = match path {
        ENROL_PATH => "enrol",
        RENEW_PATH => "renew",
        _ => {
            path.clone_into(&mut entry.path);
            entry.verb = method.as_str().to_ascii_lowercase();
            return entry;
        }
    };
    entry.verb = verb.to_owned();
    entry.resource = Kind::Enrolment.plural().to_owned();
    entry.group = Kind::Enrolment.names().group().to_owned();
    entry.name = caller.name().unwrap_or_default().to_owned();
    entry
}

/// Notes a refusal, if it is one.
fn refused(audit: &Recorder, caller: &Caller, mut entry: Entry, response: &Response) {
    let code = response.status();
    let is_join = entry.path.is_empty() && code.is_client_error();
    if !is_join && !matches!(code, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return;
    }
    entry.code = code.as_u16();
    if let Some(told) = response.extensions().get::<Told>() {
        entry.note.clone_from(&told.note);
        if entry.name.is_empty() {
            entry.name.clone_from(&told.name);
        }
    }
    let sender = match entry.actor.as_str() {
        NOBODY => caller.address.ip().to_canonical().to_string(),
        known => known.to_owned(),
    };
    audit.refused(&sender, entry);
}
