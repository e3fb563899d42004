//! The rules that count now, and those who are recognised. [`crate::server::publish`] feeds them with the changes that
//! go into the watch cache, before the answers go: whoever bound a role may use it, and whoever took one away can rely
//! on that.

use std::{
    path::Path,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use axum::http::HeaderMap;
use lichen_hub_core::{
    actor::Actor,
    api::{ApiError, Kind, Object, ObjectMeta, authentication::TokenRequest},
    authorizer::{Attributes, Rules},
    effect::{Action, Change},
    event::Listing,
    review::Asking,
};
use tokio::sync::watch;

use lichen_trust::{Era, KnownTime};

use crate::server::{
    authn::{Authenticator, Identity, KeyError, TokenError},
    clock::unix_ms,
    peer::Peer,
    watch_cache::WatchCache,
};

/// Who is who, and who may do what.
#[derive(Debug)]
pub(crate) struct Access {
    authenticator: Authenticator,
    rules: RwLock<Rules>,
    /// Wakes streams: somebody may have lost a right.
    changed: watch::Sender<()>,
    /// Tells the requests of this hub's life from those of others.
    life: u64,
    requests: AtomicU64,
}

impl Access {
    /// Without any rules yet.
    pub(crate) fn open(
        state: &Path,
        cache: Arc<WatchCache>,
        time: Arc<KnownTime>,
        era: Arc<Era>,
    ) -> Result<Self, KeyError> {
        Ok(Self {
            authenticator: Authenticator::open(state, cache, time, era)?,
            rules: RwLock::default(),
            changed: watch::Sender::new(()),
            life: unix_ms(),
            requests: AtomicU64::new(0),
        })
    }

    /// Takes in what there is of a kind before the first change.
    pub(crate) fn seed(&self, listing: &Listing) {
        let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        listing.objects.iter().for_each(|object| rules.put(object));
    }

    /// Takes in a turn's changes. True if somebody may have lost a right: then [`Self::wake`], when the watch cache has
    /// them too.
    pub(crate) fn take_in(&self, changes: &[Change]) -> bool {
        let mut concerned = false;
        for change in changes {
            let kind = change.object.kind();
            concerned |= kind == Kind::ServiceAccount;
            if !Rules::concern(kind) {
                continue;
            }
            concerned = true;
            let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
            match change.action {
                Action::Added | Action::Modified => rules.put(&change.object),
                Action::Deleted => rules.remove(&change.object.key()),
            }
        }
        concerned
    }

    /// Has every stream look whether its reader may go on.
    pub(crate) fn wake(&self) {
        self.changed.send_replace(());
    }

    pub(super) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(super) fn identify(
        &self,
        peer: &Peer,
        headers: &HeaderMap,
    ) -> Result<Identity, TokenError> {
        self.authenticator.identify(peer, headers)
    }

    /// The first of these that somebody may not do.
    pub(super) fn missing<'a>(
        &self,
        actor: &Actor,
        wanted: &'a [Attributes],
    ) -> Option<&'a Attributes> {
        let rules = self.rules();
        wanted.iter().find(|asked| !rules.decide(actor, asked).is_allowed())
    }

    /// Whether somebody is still known, and may still do all of these.
    pub(super) fn still_allows(&self, identity: &Identity, wanted: &[Attributes]) -> bool {
        self.authenticator.still_knows(identity) && self.missing(&identity.actor, wanted).is_none()
    }

    /// The answer to a question about access.
    pub(crate) fn answer(&self, actor: &Actor, question: Object) -> Result<Object, ApiError> {
        let rules = self.rules();
        let recognise =
            |token: &str, audiences: &[String]| self.authenticator.recognise(token, audiences);
        Asking { actor, rules: &rules, recognise: &recognise }.answer(question)
    }

    /// A token of a ServiceAccount, and when it ends, in milliseconds since 1970.
    pub(crate) fn issue(&self, account: &ObjectMeta, request: &TokenRequest) -> (String, u64) {
        self.authenticator.issue(account, request)
    }

    /// Names a request.
    pub(super) fn fresh_request_id(&self) -> String {
        format!("{:x}-{}", self.life, self.requests.fetch_add(1, Relaxed))
    }

    fn rules(&self) -> RwLockReadGuard<'_, Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }
}
