//! `POST /lichen/v1/jointokens`: makes a join token. The hub keeps the hash of its secret; the secret is in this answer
//! alone.

use std::sync::Arc;

use axum::{body::Body, http::StatusCode, response::Response};
use firmware_compat::enrolment::{Fingerprint, JoinSecret, JoinToken as Word};
use lichen_hub_core::{
    actor::Actor,
    api::{
        JoinToken, Object, ObjectMeta,
        lichen::join_token::{JoinTokenSpec, JoinTokenStatus},
        meta::Map,
        time::rfc3339,
    },
    effect,
    event::Request,
};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Api, objects::named, read_body, respond, status::Refusal, unexpected};

/// Largest request.
const MAX_BYTES: usize = 64 * 1024;
/// How long a token is good if it is not said, in seconds.
const TTL_S: u64 = 24 * 3600;
/// Random bytes of a secret: nobody guesses 128 bits.
const SECRET_BYTES: usize = 16;
/// Random bytes of a token's name.
const NAME_BYTES: usize = 4;

/// What a token is to be good for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Wanted {
    /// For how long, in seconds; 0 is for ever.
    ttl_s: u64,
    /// For how many devices.
    uses: u32,
    /// Labels of its devices.
    labels: Map,
    /// Names of its devices.
    name_pattern: String,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { ttl_s: TTL_S, uses: 1, labels: Map::new(), name_pattern: String::new() }
    }
}

/// Makes a token.
pub(super) async fn create(api: &Api, actor: &Arc<Actor>, body: Body) -> Result<Response, Refusal> {
    let bytes = read_body(body, MAX_BYTES).await?;
    let wanted: Wanted = match bytes.is_empty() {
        true => Wanted::default(),
        false => serde_json::from_slice(&bytes).map_err(|error| {
            Refusal::bad_request(format!("the token that is wanted can't be read: {error}"))
        })?,
    };
    let (name, secret) = (random::<NAME_BYTES>()?, random::<SECRET_BYTES>()?);
    let now_s = api.trust.time().now();
    let end = (wanted.ttl_s > 0).then(|| rfc3339(now_s.saturating_add(wanted.ttl_s) * 1000));
    let token = JoinToken {
        metadata: ObjectMeta { name: name.clone(), ..ObjectMeta::default() },
        spec: JoinTokenSpec {
            secret_hash: hex(&Sha256::digest(secret.as_bytes())),
            expiration_time: end.clone(),
            uses: wanted.uses,
            labels: wanted.labels,
            name_pattern: wanted.name_pattern,
        },
        status: JoinTokenStatus::default(),
    };
    let word = word(api, &name, &secret)?;
    match api.engine.ask(actor, Request::Create(Object::JoinToken(token))).await? {
        effect::Response::Object { .. } => {
            let answer = json!({"name": name, "token": word, "expirationTime": end});
            Ok(named(respond::json(StatusCode::CREATED, &answer), name))
        }
        other => Err(unexpected(&other)),
    }
}

/// What is pasted on a device.
fn word(api: &Api, name: &str, secret: &str) -> Result<String, Refusal> {
    let unusable = || Refusal::internal("the hub could not put a token together");
    let addresses = api.devices.get().ok_or_else(Refusal::just_starting)?;
    let word = Word {
        addresses: addresses.clone().try_into().map_err(|_| unusable())?,
        fingerprint: Fingerprint(api.trust.fingerprint()),
        secret: JoinSecret::parse(&format!("{name}.{secret}")).ok_or_else(unusable)?,
    };
    Ok(Word::to_word(&serde_json::to_vec(&word).map_err(|_| unusable())?))
}

/// Random bytes as hex.
fn random<const N: usize>() -> Result<String, Refusal> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Refusal::internal("the system gives no random numbers"))?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
