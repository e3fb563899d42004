//! Takes the logbooks of devices into the audit log.

use axum::{body::Body, extract::State, http::StatusCode, response::Response};
use firmware_compat::{
    enrolment::MAX_DOCUMENT_BYTES,
    logbook::{Handover, Kept, Text},
};
use lichen_hub_core::actor::{Actor, Origin};

use super::{Devices, caller::Caller};
use crate::{
    audit::logbook::Line,
    server::{
        api::{Refusal, read_body, respond},
        audit::entry_of,
    },
};

/// A device hands over what it has noted.
pub(super) async fn take(
    State(devices): State<Devices>,
    caller: Caller,
    body: Body,
) -> Result<Response, Refusal> {
    let name = caller.device(devices.trust.time().now())?.name.to_string();
    let bytes = read_body(body, MAX_DOCUMENT_BYTES).await?;
    let handover: Handover = serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::bad_request(format!("the logbook can't be read: {error}")))?;
    let lines: Option<Vec<Line>> =
        handover.lines.iter().map(|line| Line::read(line.as_bytes())).collect();
    let lines = lines.ok_or_else(|| Refusal::bad_request("a line of the logbook is no record"))?;
    let device = Actor::device(&name, Origin::Address(caller.address));
    let place = devices.audit.take_logbook(&name, &entry_of(Some(&device), None), &lines).await?;
    let kept =
        Kept { log: Text::cut(&place.log), sequence: place.sequence, hash: Text::cut(&place.hash) };
    Ok(respond::json(StatusCode::OK, &serde_json::to_value(&kept).unwrap_or_default()))
}
