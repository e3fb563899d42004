//! Error answers of the OCI distribution API: codes, their HTTP status and the JSON body.
//!
//! Which request is meant is [`crate::route`]'s business.

use serde::Serialize;

/// An error code of the distribution specification, with the ones that this hub uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// The blob is not in the store.
    BlobUnknown,
    /// A chunk out of order, or an upload that can't be finished.
    BlobUploadInvalid,
    /// No such upload; it may have been forgotten over a restart.
    BlobUploadUnknown,
    /// The digest is malformed or isn't that of the content.
    DigestInvalid,
    /// A manifest refers to a blob that was not uploaded.
    ManifestBlobUnknown,
    /// The manifest is malformed.
    ManifestInvalid,
    /// No such manifest.
    ManifestUnknown,
    /// The name is malformed.
    NameInvalid,
    /// No such name.
    NameUnknown,
    /// More bytes than are accepted.
    SizeInvalid,
    /// The client has to say who it is.
    Unauthorized,
    /// The client may not do that.
    Denied,
    /// The hub doesn't offer that.
    Unsupported,
    /// The client asks too often, or too much is going on.
    #[serde(rename = "TOOMANYREQUESTS")]
    TooManyRequests,
}

impl Code {
    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            Self::BlobUnknown
            | Self::BlobUploadUnknown
            | Self::ManifestUnknown
            | Self::NameUnknown => 404,
            Self::DigestInvalid
            | Self::ManifestBlobUnknown
            | Self::ManifestInvalid
            | Self::NameInvalid => 400,
            Self::BlobUploadInvalid => 416,
            Self::SizeInvalid => 413,
            Self::Unauthorized => 401,
            Self::Denied => 403,
            Self::Unsupported => 405,
            Self::TooManyRequests => 429,
        }
    }
}

/// The body of an error answer, `application/json`.
pub fn error_body(code: Code, message: &str) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        errors: [Entry<'a>; 1],
    }
    #[derive(Serialize)]
    struct Entry<'a> {
        code: Code,
        message: &'a str,
    }
    serde_json::to_string(&Body { errors: [Entry { code, message }] })
        .expect("a code and a text are always JSON")
}

/// An error and its sources in one line, as a message for the body.
pub fn chain(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_the_one_of_the_specification() {
        assert_eq!(
            error_body(Code::BlobUnknown, "no \"x\""),
            r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"no \"x\""}]}"#
        );
        assert_eq!(
            error_body(Code::TooManyRequests, ""),
            r#"{"errors":[{"code":"TOOMANYREQUESTS","message":""}]}"#
        );
        assert_eq!(Code::ManifestBlobUnknown.status(), 400);
    }
}
