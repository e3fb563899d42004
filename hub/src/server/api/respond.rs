//! Good answers: JSON, or the table that kubectl prints.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use lichen_hub_core::api::Object;
use serde::Serialize;

use super::{query::Query, table};

/// In which form the client wants objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are.
    Objects,
    /// As rows, each with so much of its object.
    Table(table::Include),
}

impl Form {
    /// The form that `Accept` asks for first. Whatever is not offered is answered as JSON, which says so itself.
    pub(crate) fn of(headers: &HeaderMap, query: &Query) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let first = accept.unwrap_or_default().split(',').next().unwrap_or_default();
        let has = |parameter: &str| first.split(';').any(|part| part.trim() == parameter);
        if has("as=Table") && has("g=meta.k8s.io") && has("v=v1") {
            Self::Table(table::Include::of(query.text("includeObject")))
        } else {
            Self::Objects
        }
    }
}

/// One object.
pub(crate) fn object(code: StatusCode, form: Form, object: &Object, now_ms: u64) -> Response {
    match form {
        Form::Objects => json(code, object),
        Form::Table(include) => {
            let version = object.meta().resource_version.clone();
            json(code, &table::table(object.kind(), &[object], include, version, true, now_ms))
        }
    }
}

/// A deleted object. As in Kubernetes, what may take a while to go is shown as it was, and for the rest a `Status` says
/// that it is gone: client libraries expect either by the kind.
pub(crate) fn deleted(form: Form, gone: &Object, now_ms: u64) -> Response {
    let (kind, meta) = (gone.kind(), gone.meta());
    if kind.names().lingers {
        return object(StatusCode::OK, form, gone, now_ms);
    }
    let details = serde_json::json!({
        "name": meta.name, "group": kind.names().group(), "kind": kind.plural(), "uid": meta.uid,
    });
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    });
    json(StatusCode::OK, &status)
}

/// An answer with what may not be what was meant, as Kubernetes tells it (RFC 7234, section 5.5): clients print it.
pub(crate) fn warned(mut response: Response, remarks: &[String]) -> Response {
    for remark in remarks {
        // A header holds ASCII, and quotes end its text.
        let plain = |letter: char| match letter {
            '"' | '\\' => '\'',
            ' '..='~' => letter,
            _ => '?',
        };
        let text: String = remark.chars().map(plain).collect();
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

/// Any value as JSON.
pub(crate) fn json(code: StatusCode, value: &impl Serialize) -> Response {
    // The types have no map with keys that are not text and no number that JSON lacks.
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = code;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Plain text.
pub(crate) fn text(code: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = code;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
