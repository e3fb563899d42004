//! Who asks: from a connection and a request's headers to an actor, or a refusal that says why.
//!
//! In this order: a token, if one is shown, which must then be good; the certificate of the connection, which must not have
//! ended; and nobody, who may see what everybody may.
//!
//! [`token`] is the form of ServiceAccounts' tokens, [`key`] what they are signed with, [`credentials`] what headers
//! show.

mod credentials;
mod key;
mod token;

use std::{path::Path, sync::Arc};

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

use lichen_trust::{ClientCertificate, Era, KnownTime, Verified};

use super::{peer::Peer, watch_cache::WatchCache};
use credentials::Shown;
use key::SigningKey;

/// Somebody who has been recognised.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) actor: Arc<Actor>,
    /// By what, if that can end.
    by: By,
}

/// By what somebody has been recognised.
#[derive(Clone, Debug)]
enum By {
    Token(Box<Claims>),
    Certificate {
        /// Seconds since 1970.
        not_after: u64,
        verified: Verified,
    },
    Nothing,
}

/// Recognises those who ask, and makes tokens for those who may ask for them.
#[derive(Debug)]
pub(crate) struct Authenticator {
    key: SigningKey,
    /// Which ServiceAccounts there are.
    cache: Arc<WatchCache>,
    /// By which certificates and tokens are judged.
    time: Arc<KnownTime>,
    /// Ends when an authority does that was believed.
    era: Arc<Era>,
}

impl Authenticator {
    /// With the key in a state directory, which is made if it is not there.
    pub(crate) fn open(
        state: &Path,
        cache: Arc<WatchCache>,
        time: Arc<KnownTime>,
        era: Arc<Era>,
    ) -> Result<Self, KeyError> {
        Ok(Self { key: SigningKey::open(state)?, cache, time, era })
    }

    /// Whoever sends a request over a connection.
    pub(crate) fn identify(
        &self,
        peer: &Peer,
        headers: &HeaderMap,
    ) -> Result<Identity, TokenError> {
        let from = Origin::Address(peer.address);
        let (actor, by) = match credentials::shown(headers)? {
            Shown::Token(text) => {
                let claims = self.verify(&text, &[AUDIENCE.to_owned()])?;
                let Account { namespace, name, uid } = &claims.account;
                (Actor::service_account(namespace, name, uid, from), By::Token(claims.into()))
            }
            Shown::Nothing => match &peer.certificate {
                Some((certificate, verified)) => self.certified(certificate, verified, from)?,
                None => (Actor::anonymous(from), By::Nothing),
            },
        };
        Ok(Identity { actor: actor.into(), by })
    }

    fn certified(
        &self,
        certificate: &ClientCertificate,
        verified: &Verified,
        from: Origin,
    ) -> Result<(Actor, By), TokenError> {
        let ClientCertificate { common_name, organizations, not_after, .. } = certificate;
        let by = By::Certificate { not_after: *not_after, verified: verified.clone() };
        if !self.holds(&by) {
            return Err(TokenError::Certificate(common_name.clone()));
        }
        let actor = match certificate.is_device() {
            true => Actor::device(common_name, from),
            false => Actor::user(common_name, organizations, from),
        };
        Ok((actor, by))
    }

    /// Whether somebody would still be recognised.
    pub(crate) fn still_knows(&self, identity: &Identity) -> bool {
        self.holds(&identity.by)
    }

    fn holds(&self, by: &By) -> bool {
        match by {
            By::Token(claims) => self.check(claims).is_ok(),
            By::Certificate { not_after, verified } => {
                self.time.now() <= *not_after && self.era.holds(verified)
            }
            By::Nothing => true,
        }
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
        let now_s = self.time.now();
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
        claims.check_time(self.time.now())?;
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

#[cfg(test)]
mod tests;
