//! Who asks: from a connection and a request's headers to an actor, or a refusal that says why.
//!
//! In this order: a token, if one is shown, which must then be good; the certificate of the connection; the machine
//! itself ([`local_admin`]); and nobody, who may see what everybody may.
//!
//! [`token`] is the form of ServiceAccounts' tokens, [`key`] what they are signed with, [`credentials`] what headers
//! show.

mod credentials;
mod key;
mod token;

use std::{net::SocketAddr, path::Path, sync::Arc};

use axum::http::{HeaderMap, HeaderValue, header};
use lichen_hub_core::{
    actor::{Actor, Origin},
    api::{
        Key, Kind, ObjectMeta,
        authentication::{TokenRequest, token_request::AUDIENCE},
    },
    review::Recognised,
};

pub use key::KeyError;
pub(crate) use token::{Account, Claims, TokenError};

use super::{clock::unix_ms, watch_cache::WatchCache};
use credentials::Shown;
use key::SigningKey;

/// The organization in the certificate of a device.
const DEVICES: &str = "lichen:device";

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// From where.
    pub address: SocketAddr,
    /// What it has proved to be, by TLS.
    pub certificate: Option<ClientCertificate>,
    /// Whether only this machine can reach the listener that it came to.
    pub local: bool,
}

/// What a verified certificate says of its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject's common name.
    pub common_name: String,
    /// The subject's organizations.
    pub organizations: Vec<String>,
}

/// Somebody who has been recognised.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) actor: Arc<Actor>,
    /// What the token says by which it was; a connection's proof holds as long as the connection.
    token: Option<Claims>,
}

/// Recognises those who ask, and makes tokens for those who may ask for them.
#[derive(Debug)]
pub(crate) struct Authenticator {
    key: SigningKey,
    /// Which ServiceAccounts there are.
    cache: Arc<WatchCache>,
}

impl Authenticator {
    /// With the key in a state directory, which is made if it is not there.
    pub(crate) fn open(state: &Path, cache: Arc<WatchCache>) -> Result<Self, KeyError> {
        Ok(Self { key: SigningKey::open(state)?, cache })
    }

    /// Whoever sends a request over a connection.
    pub(crate) fn identify(
        &self,
        peer: &Peer,
        headers: &HeaderMap,
    ) -> Result<Identity, TokenError> {
        let from = Origin::Address(peer.address);
        let actor = match credentials::shown(headers)? {
            Shown::Token(text) => {
                let claims = self.verify(&text, &[AUDIENCE.to_owned()])?;
                let Account { namespace, name, uid } = &claims.account;
                let actor = Actor::service_account(namespace, name, uid, from).into();
                return Ok(Identity { actor, token: Some(claims) });
            }
            Shown::Nothing => match &peer.certificate {
                Some(certificate) => certified(certificate, from),
                None => local_admin(peer).unwrap_or_else(|| Actor::anonymous(from)),
            },
        };
        Ok(Identity { actor: actor.into(), token: None })
    }

    /// Whether somebody would still be recognised.
    pub(crate) fn still_knows(&self, identity: &Identity) -> bool {
        identity.token.as_ref().is_none_or(|claims| self.check(claims).is_ok())
    }

    /// Whose a token is, and for which of some audiences; without any, it must be for the hub.
    pub(crate) fn recognise(&self, token: &str, audiences: &[String]) -> Recognised {
        let own = [AUDIENCE.to_owned()];
        let wanted = if audiences.is_empty() { &own } else { audiences };
        let claims = self.verify(token, wanted).map_err(|error| error.to_string())?;
        let Account { namespace, name, uid } = &claims.account;
        let actor = Actor::service_account(namespace, name, uid, Origin::Hub);
        let both = wanted.iter().filter(|audience| claims.audiences.contains(audience));
        Ok((actor, both.cloned().collect()))
    }

    /// A token of a ServiceAccount, and when it ends, in milliseconds since 1970. What is asked has been checked.
    pub(crate) fn issue(&self, account: &ObjectMeta, request: &TokenRequest) -> (String, u64) {
        let now_s = now_s();
        let expires_s = now_s + request.lifetime_s();
        let account = Account {
            namespace: account.namespace.clone(),
            name: account.name.clone(),
            uid: account.uid.clone(),
        };
        let audiences = request.spec.audiences.clone();
        let claims = Claims { account, audiences, issued_s: now_s, expires_s };
        (token::write(&claims, &self.key), expires_s * 1000)
    }

    fn verify(&self, text: &str, audiences: &[String]) -> Result<Claims, TokenError> {
        let claims = token::read(text, &self.key)?;
        if !audiences.iter().any(|audience| claims.audiences.contains(audience)) {
            return Err(TokenError::Audience(claims.audiences.join(", ")));
        }
        self.check(&claims).map(|()| claims)
    }

    /// What changes with time: whether the token has ended, and whether its ServiceAccount is still there.
    fn check(&self, claims: &Claims) -> Result<(), TokenError> {
        claims.check_time(now_s())?;
        let Account { namespace, name, uid } = &claims.account;
        let account = self.cache.get(&Key::new(Kind::ServiceAccount, namespace, name));
        match account.is_some_and(|account| account.meta().uid == *uid) {
            true => Ok(()),
            false => Err(TokenError::Account { namespace: namespace.clone(), name: name.clone() }),
        }
    }
}

/// Whether an `Authorization` header shows something: for the fuzzer, which has no hub's key. A token is read with a key
/// that has signed none.
pub(crate) fn shows(authorization: &str) -> Result<bool, TokenError> {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(authorization) {
        headers.insert(header::AUTHORIZATION, value);
    }
    match credentials::shown(&headers)? {
        Shown::Nothing => Ok(false),
        Shown::Token(text) => token::read(&text, &SigningKey::of_nobody()).map(|_| true),
    }
}

fn certified(certificate: &ClientCertificate, from: Origin) -> Actor {
    let ClientCertificate { common_name, organizations } = certificate;
    match organizations.iter().any(|organization| organization == DEVICES) {
        true => Actor::device(common_name, from),
        false => Actor::user(common_name, organizations, from),
    }
}

/// Whoever can reach a listener that only this machine can reach is its owner. This is the one place that says so, and
/// goes when the last such listener does.
fn local_admin(peer: &Peer) -> Option<Actor> {
    peer.local.then(|| Actor::admin(Origin::Address(peer.address)))
}

fn now_s() -> u64 {
    unix_ms() / 1000
}

#[cfg(test)]
mod tests;
