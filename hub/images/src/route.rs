//! Paths of the OCI distribution API. Names have slashes in them, which path routers can't take apart; this can.

use crate::digest::DigestError;
use crate::distribution::Code;
use crate::name::NameError;
use crate::{Digest, Name, Tag};

/// What a path under `/v2/` means. The method says what to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`: is the API there?
    Root,
    /// `/v2/_catalog`: the names.
    Catalogue,
    /// `/v2/<name>/tags/list`.
    Tags(Name),
    /// `/v2/<name>/blobs/<digest>`.
    Blob(Name, Digest),
    /// `/v2/<name>/blobs/uploads/`: POST starts an upload.
    Uploads(Name),
    /// `/v2/<name>/blobs/uploads/<id>`: PATCH, PUT, GET and DELETE an upload.
    Upload(Name, String),
    /// `/v2/<name>/manifests/<tag or digest>`.
    Manifest(Name, Wanted),
}

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// By tag.
    Tag(Tag),
    /// By digest.
    Digest(Digest),
}

/// Why a path means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No path of the API.
    #[error("there is no such path in the registry API")]
    Unknown,
    /// A malformed name.
    #[error(transparent)]
    Name(NameError),
    /// A malformed tag.
    #[error(transparent)]
    Tag(NameError),
    /// A malformed digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl RouteError {
    /// The code of the error answer.
    pub fn code(&self) -> Code {
        match self {
            Self::Unknown => Code::NameUnknown,
            Self::Name(_) => Code::NameInvalid,
            Self::Tag(_) => Code::ManifestInvalid,
            Self::Digest(_) => Code::DigestInvalid,
        }
    }
}

/// Longest id of an upload that is looked at.
const MAX_UPLOAD_ID_CHARS: usize = 64;

impl Route {
    /// Reads a path that starts with `/v2`, percent-decoded, without the query.
    ///
    /// # Errors
    /// The path is none of the API's, or a part of it is malformed.
    pub fn parse(path: &str) -> Result<Self, RouteError> {
        let rest = match path.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Self::Root),
            Some(rest) => rest.strip_prefix('/').ok_or(RouteError::Unknown)?,
            None => return Err(RouteError::Unknown),
        };
        if rest == "_catalog" {
            return Ok(Self::Catalogue);
        }
        let name = |text: &str| Name::parse(text).map_err(RouteError::Name);
        if let Some(text) = rest.strip_suffix("/tags/list") {
            return Ok(Self::Tags(name(text)?));
        }
        // From the right: a name may itself contain the words "blobs" and "manifests", the last part can't.
        let (front, last) = rest.rsplit_once('/').ok_or(RouteError::Unknown)?;
        if let Some(text) = front.strip_suffix("/blobs/uploads") {
            return upload(name(text)?, last);
        }
        if let Some(text) = front.strip_suffix("/blobs") {
            // `uploads` without the final slash is common.
            if last == "uploads" {
                return Ok(Self::Uploads(name(text)?));
            }
            return Ok(Self::Blob(name(text)?, Digest::parse(last)?));
        }
        if let Some(text) = front.strip_suffix("/manifests") {
            return Ok(Self::Manifest(name(text)?, Wanted::parse(last)?));
        }
        Err(RouteError::Unknown)
    }
}

impl Wanted {
    /// Reads the last part of a manifest's path.
    ///
    /// # Errors
    /// It is neither a tag nor a digest.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        if text.contains(':') {
            return Ok(Self::Digest(Digest::parse(text)?));
        }
        Tag::parse(text).map(Self::Tag).map_err(RouteError::Tag)
    }
}

fn upload(name: Name, id: &str) -> Result<Route, RouteError> {
    if id.is_empty() {
        return Ok(Route::Uploads(name));
    }
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    match plain && id.len() <= MAX_UPLOAD_ID_CHARS {
        true => Ok(Route::Upload(name, id.to_owned())),
        false => Err(RouteError::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn name(text: &str) -> Name {
        Name::parse(text).expect(text)
    }

    #[test]
    fn every_path_of_the_api_is_understood() {
        let digest = Digest::of(b"");
        let check = |path: &str, route: Route| assert_eq!(Route::parse(path), Ok(route), "{path}");
        check("/v2", Route::Root);
        check("/v2/", Route::Root);
        check("/v2/_catalog", Route::Catalogue);
        check("/v2/a/b/tags/list", Route::Tags(name("a/b")));
        check(&format!("/v2/a/b/blobs/{DIGEST}"), Route::Blob(name("a/b"), digest));
        check("/v2/a/blobs/uploads/", Route::Uploads(name("a")));
        check("/v2/a/blobs/uploads", Route::Uploads(name("a")));
        check("/v2/a/blobs/uploads/x-1", Route::Upload(name("a"), "x-1".to_owned()));
        check(
            "/v2/a/manifests/1.2",
            Route::Manifest(name("a"), Wanted::Tag(Tag::parse("1.2").expect("tag"))),
        );
        check(
            &format!("/v2/a/manifests/{DIGEST}"),
            Route::Manifest(name("a"), Wanted::Digest(digest)),
        );
        check(
            "/v2/blobs/manifests/manifests/x",
            Route::Manifest(name("blobs/manifests"), Wanted::Tag(Tag::parse("x").expect("tag"))),
        );
    }

    #[test]
    fn a_wrong_path_gets_the_code_of_the_specification() {
        let check = |path: &str, code: Code| {
            assert_eq!(Route::parse(path).expect_err(path).code(), code, "{path}");
        };
        check("/", Code::NameUnknown);
        check("/v2x", Code::NameUnknown);
        check("/v2/a", Code::NameUnknown);
        check("/v2/a/b", Code::NameUnknown);
        check("/v2/A/manifests/x", Code::NameInvalid);
        check("/v2/../manifests/x", Code::NameInvalid);
        check("/v2//manifests/x", Code::NameInvalid);
        check("/v2/a/manifests/.x", Code::ManifestInvalid);
        check("/v2/a/manifests/sha512:0", Code::DigestInvalid);
        check("/v2/a/blobs/x", Code::DigestInvalid);
        check("/v2/a/blobs/uploads/a.b", Code::NameUnknown);
    }

    proptest! {
        #[test]
        fn any_path_is_a_route_or_refused(path in "(/v2)?[a-z0-9/:._-]{0,60}|.{0,60}") {
            let _ = Route::parse(&path);
        }
    }
}
