//! Refusals, as Kubernetes' `Status` objects: code, reason, message, and which fields are to blame.

use std::borrow::Cow;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use lichen_hub_core::{
    actor::Actor,
    api::{ApiError, FieldError, Key, Kind},
    authorizer::{Attributes, Target},
};
use serde::Serialize;

use crate::server::handle::AskError;

/// After so many seconds whoever was one too many may try again.
pub(crate) const RETRY_AFTER_S: u32 = 1;

/// An answer that is no.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    code: StatusCode,
    reason: String,
    message: String,
    details: Option<Box<Details>>,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: Cow<'static, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: Cow<'static, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<Cause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u32>,
}

#[derive(Clone, Debug, Serialize)]
struct Cause {
    reason: &'static str,
    message: String,
    field: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Empty,
    status: &'static str,
    message: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Details>,
    code: u16,
}

#[derive(Serialize)]
struct Empty {}

impl Refusal {
    pub(crate) fn new(
        code: StatusCode,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { code, reason: reason.into(), message: message.into(), details: None }
    }

    /// 400.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    /// 403: no rule allows it.
    pub(crate) fn forbidden(actor: &Actor, asked: &Attributes) -> Self {
        let mut refusal = Self::new(StatusCode::FORBIDDEN, "Forbidden", asked.refusal(actor));
        let details = match &asked.target {
            Target::Resource(target) => Details {
                name: target.name.clone(),
                group: target.group.clone(),
                kind: target.resource.clone(),
                ..Details::default()
            },
            Target::Path(_) => Details::default(),
        };
        refusal.details = Some(Box::new(details));
        refusal
    }

    /// 404 for a path that names nothing.
    pub(crate) fn no_such_path() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "NotFound",
            "the server could not find the requested resource",
        )
    }

    /// 405.
    pub(crate) fn method(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 410: list again.
    pub(crate) fn expired(version: u64) -> Self {
        Self::new(
            StatusCode::GONE,
            "Expired",
            format!("too old resource version: {version}; list again and watch from there"),
        )
    }

    /// 410 too: a client that has seen a version which this hub has not knows another past.
    pub(crate) fn not_reached(version: u64, reached: u64) -> Self {
        Self::new(
            StatusCode::GONE,
            "Expired",
            format!(
                "this hub has not reached resource version {version}, it is at {reached}; list again and watch from there"
            ),
        )
    }

    /// 413.
    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            format!("the body is larger than {limit} bytes, the most that is accepted here"),
        )
    }

    /// 415.
    pub(crate) fn media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// 429.
    pub(crate) fn too_many(message: impl Into<String>) -> Self {
        let mut refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        refusal.details = Some(Box::new(Details {
            retry_after_seconds: Some(RETRY_AFTER_S),
            ..Details::default()
        }));
        refusal
    }

    /// 500.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// 503.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// 503 before the hub listens for devices.
    pub(crate) fn just_starting() -> Self {
        Self::unavailable("the hub does not listen for devices yet; ask again in a second")
    }

    /// 422, with every field that can't be taken.
    pub(crate) fn invalid(kind: Kind, name: &str, causes: &[FieldError]) -> Self {
        let listed: Vec<String> = causes.iter().map(ToString::to_string).collect();
        let message = format!("{kind} \"{name}\" is invalid: {}", listed.join("; "));
        let mut refusal = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        refusal.details = Some(Box::new(Details {
            causes: causes.iter().map(Cause::new).collect(),
            // kubectl prints the kind's own name here.
            kind: kind.as_str().into(),
            ..Details::of(kind, name)
        }));
        refusal
    }

    /// 422 for what is no kind.
    pub(crate) fn invalid_body(kind: &'static str, causes: &[FieldError]) -> Self {
        let listed: Vec<String> = causes.iter().map(ToString::to_string).collect();
        let message = format!("{kind} is invalid: {}", listed.join("; "));
        let mut refusal = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message);
        refusal.details = Some(Box::new(Details {
            causes: causes.iter().map(Cause::new).collect(),
            kind: kind.into(),
            ..Details::default()
        }));
        refusal
    }

    fn about(mut self, key: &Key) -> Self {
        self.details = Some(Box::new(Details::of(key.kind, &key.name)));
        self
    }

    /// The HTTP status.
    pub(crate) fn code(&self) -> StatusCode {
        self.code
    }

    /// In words.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The `Status` object.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let status = Status {
            kind: "Status",
            api_version: "v1",
            metadata: Empty {},
            status: "Failure",
            message: &self.message,
            reason: &self.reason,
            details: self.details.as_deref(),
            code: self.code.as_u16(),
        };
        serde_json::to_vec(&status).expect("text and numbers are always JSON")
    }
}

impl Details {
    fn of(kind: Kind, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            group: kind.names().group().into(),
            kind: kind.plural().into(),
            ..Self::default()
        }
    }
}

impl Cause {
    fn new(error: &FieldError) -> Self {
        Self {
            reason: "FieldValueInvalid",
            message: error.cause.clone(),
            field: error.field.clone(),
        }
    }
}

/// `deployments.apps "web"`, as kubectl's users know it.
fn resource(key: &Key) -> String {
    match key.kind.names().group() {
        "" => format!("{} \"{}\"", key.kind.plural(), key.name),
        group => format!("{}.{group} \"{}\"", key.kind.plural(), key.name),
    }
}

impl From<ApiError> for Refusal {
    fn from(failure: ApiError) -> Self {
        let message = failure.to_string();
        match failure {
            ApiError::NotFound(key) => {
                let message = format!("{} not found", resource(&key));
                Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(&key)
            }
            ApiError::AlreadyExists(key) => {
                let message = format!("{} already exists", resource(&key));
                Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(&key)
            }
            ApiError::Conflict { key, .. } => {
                Self::new(StatusCode::CONFLICT, "Conflict", message).about(&key)
            }
            ApiError::Invalid { key, causes } => Self::invalid(key.kind, &key.name, &causes),
            ApiError::BadRequest(_) => Self::bad_request(message),
            ApiError::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, "Forbidden", message),
            ApiError::NotAllowed(_) => Self::method(message),
            ApiError::Unavailable(_) => Self::unavailable(message),
            ApiError::Full(_) => Self::too_many(message),
        }
    }
}

impl From<AskError> for Refusal {
    fn from(error: AskError) -> Self {
        let message = error.to_string();
        match error {
            AskError::Refused(failure) => failure.into(),
            AskError::Busy => Self::too_many(message),
            AskError::Late => Self::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message),
            AskError::Stopping => Self::unavailable(message),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let retry = self.details.as_ref().and_then(|details| details.retry_after_seconds);
        let mut response = Response::new(Body::from(self.to_json()));
        *response.status_mut() = self.code;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(failure: ApiError, expected: &str) {
        let refusal = Refusal::from(failure);
        let json: serde_json::Value = serde_json::from_slice(&refusal.to_json()).expect("json");
        let shown = format!(
            "{} {} | {} | {}",
            json["code"], json["reason"], json["message"], json["details"]
        );
        assert_eq!(shown, expected);
    }

    #[test]
    fn every_failure_has_kubernetes_code_and_reason() {
        let key = Key::new(Kind::Deployment, "a", "web");
        check(
            ApiError::NotFound(key.clone()),
            r#"404 "NotFound" | "deployments.apps \"web\" not found" | {"group":"apps","kind":"deployments","name":"web"}"#,
        );
        check(
            ApiError::AlreadyExists(Key::new(Kind::Pod, "a", "x")),
            r#"409 "AlreadyExists" | "pods \"x\" already exists" | {"kind":"pods","name":"x"}"#,
        );
        check(
            ApiError::Conflict { key: key.clone(), current: 7 },
            r#"409 "Conflict" | "Deployment a/web has changed meanwhile: read it again and repeat the change (it has resourceVersion 7)" | {"group":"apps","kind":"deployments","name":"web"}"#,
        );
        let causes = vec![FieldError::new("spec.a", "is wrong"), FieldError::new("b", "too")];
        check(
            ApiError::Invalid { key, causes },
            r#"422 "Invalid" | "Deployment \"web\" is invalid: spec.a: is wrong; b: too" | {"causes":[{"field":"spec.a","message":"is wrong","reason":"FieldValueInvalid"},{"field":"b","message":"too","reason":"FieldValueInvalid"}],"group":"apps","kind":"Deployment","name":"web"}"#,
        );
        check(ApiError::Forbidden("no".into()), r#"403 "Forbidden" | "no" | null"#);
        check(ApiError::NotAllowed("no".into()), r#"405 "MethodNotAllowed" | "no" | null"#);
        check(ApiError::Unavailable("no".into()), r#"503 "ServiceUnavailable" | "no" | null"#);
        check(
            ApiError::Full("no".into()),
            r#"429 "TooManyRequests" | "no" | {"retryAfterSeconds":1}"#,
        );
    }
}
