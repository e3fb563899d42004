//! `authentication.k8s.io/v1` TokenRequest: a token of a ServiceAccount, please. It is sent to the ServiceAccount's
//! `token`, and is no kind of its own.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::api::{
    field::{Message, count, instead, object, texts, written},
    meta::{OBJECT_META, nullable},
    validate::Errors,
};

/// Shortest and longest lifetime of a token, in seconds: Kubernetes' shortest, and a year.
pub const LIFETIME_S: (u64, u64) = (600, 366 * 86_400);
/// Lifetime of a token of which none is asked: Kubernetes' own.
pub const DEFAULT_LIFETIME_S: u64 = 3600;
/// The audience of tokens that are shown to the hub, and their issuer: the name by which its certificates call it.
pub const AUDIENCE: &str = "https://lichen-hub";
/// Audiences of a token, and the longest of them. All of them are in the token, which is sent with every request.
const MAX_AUDIENCES: usize = 8;
const MAX_AUDIENCE: usize = 256;

/// A token, please.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenRequest {
    /// What it should be like.
    pub spec: TokenRequestSpec,
}

/// What a token should be like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenRequestSpec {
    /// For whom; for the hub, if it is said of nobody.
    #[serde(deserialize_with = "nullable")]
    pub audiences: Vec<String>,
    /// How long it is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_seconds: Option<u64>,
}

impl TokenRequest {
    /// Its fields.
    pub const FIELDS: &'static Message = &Message {
        name: "TokenRequest",
        fields: &[
            object("metadata", 1, &OBJECT_META),
            object("spec", 2, &TOKEN_REQUEST_SPEC),
            written("status", 3),
        ],
    };

    /// Fills in what goes without saying: the token is for the hub.
    pub fn default_fields(&mut self) {
        if self.spec.audiences.is_empty() {
            self.spec.audiences.push(AUDIENCE.to_owned());
        }
    }

    /// How long the token is good.
    #[must_use]
    pub fn lifetime_s(&self) -> u64 {
        self.spec.expiration_seconds.unwrap_or(DEFAULT_LIFETIME_S)
    }

    /// Everything that is wrong with it.
    #[must_use]
    pub fn check(&self) -> Errors {
        let mut errors = Errors::default();
        let (shortest, longest) = LIFETIME_S;
        if !(shortest..=longest).contains(&self.lifetime_s()) {
            let cause = format!("must be from {shortest} (10 minutes) to {longest} (366 days)");
            errors.add("spec.expirationSeconds", cause);
        }
        let audiences = &self.spec.audiences;
        let fits = |audience: &String| (1..=MAX_AUDIENCE).contains(&audience.len());
        if audiences.len() > MAX_AUDIENCES || !audiences.iter().all(fits) {
            let cause = format!("at most {MAX_AUDIENCES} are taken, of 1 to {MAX_AUDIENCE} bytes");
            errors.add("spec.audiences", cause);
        }
        errors
    }
}

/// The fields of [`TokenRequestSpec`].
const TOKEN_REQUEST_SPEC: Message = Message {
    name: "TokenRequestSpec",
    fields: &[
        texts("audiences", 1),
        instead("boundObjectRef", 3, "a token is bound to its ServiceAccount alone"),
        count("expirationSeconds", 4).optional(),
    ],
};
