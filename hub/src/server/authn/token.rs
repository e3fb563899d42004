//! Tokens of ServiceAccounts: JSON Web Tokens (RFC 7519) with the claims that Kubernetes puts into its own, signed with
//! Ed25519 (RFC 8037). There is one algorithm and one key, the header is compared and not obeyed, and nothing of a token
//! is believed before its signature.
//!
//! A crate for these has every algorithm there is, and RSA with them; what is needed here is this file.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use lichen_hub_core::actor::service_account_name;
use lichen_hub_core::api::{authentication::token_request::AUDIENCE, time::rfc3339};

use super::key::SigningKey;

/// Longest token that is looked at: one with as many audiences as there may be is shorter.
pub(crate) const MAX_TOKEN_BYTES: usize = 8 << 10;
/// Who makes these tokens.
const ISSUER: &str = AUDIENCE;
/// The only algorithm.
const ALGORITHM: &str = "EdDSA";
const TYPE: &str = "JWT";
/// How far the clock may have been set back since a token was made.
const LEEWAY_S: u64 = 60;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) account: Account,
    /// For whom it is.
    pub(crate) audiences: Vec<String>,
    /// Seconds since 1970, as the next.
    pub(crate) issued_s: u64,
    pub(crate) expires_s: u64,
}

/// A ServiceAccount, and which of those that had its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// Why somebody is not recognised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// The header says nothing that is understood.
    #[error(
        "the Authorization header is not \"Bearer TOKEN\", nor \"Basic\" with a token as the password"
    )]
    Header,
    /// It has another form.
    #[error("the token is none of a ServiceAccount of this hub: it has another form")]
    Form,
    /// Another key, or an altered token.
    #[error("the token was not made by this hub, or has been altered")]
    Signature,
    /// It is over.
    #[error("the token has expired at {}; ask for a new one", rfc3339(.0.saturating_mul(1000)))]
    Expired(u64),
    /// It begins later.
    #[error("the token is good from {} on: the hub's clock was set back since it was made", rfc3339(.0.saturating_mul(1000)))]
    Early(u64),
    /// It is for others.
    #[error("the token is for {0}, not for this")]
    Audience(String),
    /// Not a token: the certificate of the connection is over.
    #[error(
        "the certificate of {0} has ended, or its CA has; ask for a new one, or log in again: lichen login"
    )]
    Certificate(String),
    /// Whom it was for is gone.
    #[error(
        "the ServiceAccount {namespace}/{name} of the token has been deleted; ask for a token of another"
    )]
    Account {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

/// The claims, under their names in tokens.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    aud: Vec<String>,
    exp: u64,
    iat: u64,
    iss: String,
    jti: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Bound,
    nbf: u64,
    sub: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bound {
    namespace: String,
    serviceaccount: Named,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    uid: String,
}

/// Writes a token.
pub(super) fn write(claims: &Claims, key: &SigningKey) -> String {
    let Claims { account, audiences, issued_s, expires_s } = claims;
    let header = Header { alg: ALGORITHM.into(), kid: key.id().into(), typ: TYPE.into() };
    let body = Body {
        aud: audiences.clone(),
        exp: *expires_s,
        iat: *issued_s,
        iss: ISSUER.into(),
        jti: fresh_id(),
        kubernetes: Bound {
            namespace: account.namespace.clone(),
            serviceaccount: Named { name: account.name.clone(), uid: account.uid.clone() },
        },
        nbf: *issued_s,
        sub: service_account_name(&account.namespace, &account.name),
    };
    let signed = format!("{}.{}", part(&header), part(&body));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Reads a token that this key has signed. Whether it is good now is not looked at.
pub(super) fn read(text: &str, key: &SigningKey) -> Result<Claims, TokenError> {
    if text.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::Form);
    }
    let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::Form)?;
    let (header, body) = signed.split_once('.').ok_or(TokenError::Form)?;
    let header: Header = parsed(header)?;
    if header.alg != ALGORITHM || header.typ != TYPE {
        return Err(TokenError::Form);
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Form)?;
    if header.kid != key.id() || !key.has_signed(signed.as_bytes(), &signature) {
        return Err(TokenError::Signature);
    }
    let body: Body = parsed(body)?;
    let Bound { namespace, serviceaccount: Named { name, uid } } = body.kubernetes;
    let is_ours = body.iss == ISSUER
        && body.sub == service_account_name(&namespace, &name)
        && body.nbf == body.iat;
    if !is_ours || uid.is_empty() {
        return Err(TokenError::Form);
    }
    let account = Account { namespace, name, uid };
    Ok(Claims { account, audiences: body.aud, issued_s: body.iat, expires_s: body.exp })
}

impl Claims {
    /// Whether it is good at a time.
    pub(super) fn check_time(&self, now_s: u64) -> Result<(), TokenError> {
        if now_s >= self.expires_s {
            return Err(TokenError::Expired(self.expires_s));
        }
        if now_s.saturating_add(LEEWAY_S) < self.issued_s {
            return Err(TokenError::Early(self.issued_s));
        }
        Ok(())
    }
}

fn part(value: &impl Serialize) -> String {
    // Texts and numbers are always JSON.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap_or_default())
}

fn parsed<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Form)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Form)
}

/// Tells two tokens apart that were made in the same second. Nothing rests on it.
fn fresh_id() -> String {
    let mut bytes = [0; 16];
    let random = ring::rand::SystemRandom::new();
    // Without random numbers it is an id that is not fresh.
    let _ = ring::rand::SecureRandom::fill(&random, &mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
