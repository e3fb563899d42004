//! Why a request was refused.

use alloc::{string::String, vec::Vec};

use super::{FieldError, Key};

/// Why a request was refused. Each maps to one HTTP status and one reason of Kubernetes' `Status`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 404 `NotFound`.
    #[error("{0} not found")]
    NotFound(Key),
    /// 409 `AlreadyExists`.
    #[error("{0} already exists")]
    AlreadyExists(Key),
    /// 409 `Conflict`.
    #[error(
        "{key} has changed meanwhile: read it again and repeat the change (it has resourceVersion {current})"
    )]
    Conflict {
        /// The object.
        key: Key,
        /// Its version now.
        current: u64,
    },
    /// 422 `Invalid`.
    #[error("{key} is invalid: {}", join(.causes))]
    Invalid {
        /// The object.
        key: Key,
        /// Every field that can't be taken.
        causes: Vec<FieldError>,
    },
    /// 400 `BadRequest`.
    #[error("{0}")]
    BadRequest(String),
    /// 403 `Forbidden`.
    #[error("{0}")]
    Forbidden(String),
    /// 405 `MethodNotAllowed`.
    #[error("{0}")]
    NotAllowed(String),
    /// 503 `ServiceUnavailable`: the device that would have to answer is away.
    #[error("{0}")]
    Unavailable(String),
    /// 429 `TooManyRequests`: a bound of the hub is reached.
    #[error("{0}")]
    Full(String),
}

fn join(causes: &[FieldError]) -> String {
    let mut text = String::new();
    for (index, cause) in causes.iter().enumerate() {
        use core::fmt::Write;
        let separator = if index == 0 { "" } else { "; " };
        // Writing to a String can't fail.
        let _ = write!(text, "{separator}{cause}");
    }
    text
}
