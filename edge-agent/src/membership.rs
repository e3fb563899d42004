//! The device as a member of one hub: the identity in force, and what follows from it for every connection. A renewed
//! certificate, or a hub that has moved, counts from the next connection on; those that stand go on.
//!
//! When to renew, and when to ask the hub what has changed, is decided in `lichen-agent-core`'s membership; [`keeper`] does it.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use firmware_compat::{
    enrolment::{Address, Broker, Enrolled, HubFacts},
    keys::PinnedHub,
};
use lichen_link::client::{Place, Route, Tls, Way};

use crate::{
    hub::HubClient,
    identity::{HubFile, Identity, IdentityDir, IdentityError, certificate::Unusable},
    known_time::KnownTime,
    tls::Configs,
};

pub mod keeper;

/// Why what a hub says of itself, or issues, does not count.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// It does not fit together.
    #[error("what the hub issued can't be used: {0}")]
    Unusable(#[from] Unusable),
    /// For a device of another name.
    #[error("the hub issued a certificate for {issued:?}, and this device is {own:?}")]
    OtherName {
        /// In the certificate.
        issued: String,
        /// This device's.
        own: String,
    },
    /// It could not be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The TLS library refuses it.
    #[error("could not prepare TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// The identity in force. Shared by everything that connects.
#[derive(Debug)]
pub struct Membership {
    dir: IdentityDir,
    time: KnownTime,
    may_adopt: AtomicBool,
    current: RwLock<Current>,
    /// Held from reading what is in force until another takes its place: several threads change it.
    changing: Mutex<()>,
    /// Whether the hub has shown a CA that this device has not been told of.
    news: Arc<AtomicBool>,
}

#[derive(Clone, Debug)]
struct Current {
    identity: Arc<Identity>,
    configs: Configs,
    hub: HubClient,
}

impl Current {
    fn new(
        identity: Identity,
        time: &KnownTime,
        news: &Arc<AtomicBool>,
    ) -> Result<Self, rustls::Error> {
        let configs = Configs::new(&identity, time, news)?;
        let hub = HubClient::new(configs.http.clone(), identity.hub.addresses());
        Ok(Self { identity: Arc::new(identity), configs, hub })
    }
}

impl Membership {
    /// Puts an identity in force. `may_adopt`: the operator allows another hub to take the device over, once.
    ///
    /// # Errors
    /// The TLS library refuses it.
    pub fn new(
        identity: Identity,
        dir: IdentityDir,
        time: KnownTime,
        may_adopt: bool,
    ) -> Result<Self, rustls::Error> {
        let news = Arc::default();
        let current = RwLock::new(Current::new(identity, &time, &news)?);
        let (may_adopt, changing) = (AtomicBool::new(may_adopt), Mutex::default());
        Ok(Self { dir, time, may_adopt, current, changing, news })
    }

    /// The device's name. It never changes.
    #[must_use]
    pub fn name(&self) -> String {
        self.current().identity.name().to_owned()
    }

    /// The identity in force.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        self.current().identity
    }

    /// Whose word counts.
    #[must_use]
    pub fn pinned(&self) -> PinnedHub {
        self.current().identity.pinned
    }

    /// Whether another hub may take the device over.
    #[must_use]
    pub fn may_adopt(&self) -> bool {
        self.may_adopt.load(Relaxed)
    }

    /// Whether the hub has shown, since this was last asked, a CA that this device has not been told of.
    #[must_use]
    pub fn takes_news(&self) -> bool {
        self.news.swap(false, Relaxed)
    }

    /// The hub's HTTP side.
    #[must_use]
    pub fn hub(&self) -> HubClient {
        self.current().hub
    }

    /// The time by which certificates are judged.
    #[must_use]
    pub fn time(&self) -> &KnownTime {
        &self.time
    }

    /// How the next MQTT connection is made, whenever that is.
    #[must_use]
    pub fn route(self: &Arc<Self>) -> Route {
        let membership = self.clone();
        Route::new(move || membership.way())
    }

    fn way(&self) -> Way {
        let Current { identity, configs, .. } = self.current();
        let facts = &identity.hub.facts;
        let (places, config) = match &facts.broker {
            None => (identity.hub.addresses().iter().map(place).collect(), Some(configs.mqtt)),
            Some(Broker::Tls(address)) => (vec![place(address)], Some(configs.broker)),
            Some(Broker::Plain(address)) => (vec![place(address)], None),
            Some(Broker::Unix(path)) => (vec![Place::Unix(path.into())], None),
        };
        // The dialled name is said aloud, for who passes connections on by it; what counts is the verifier's.
        Way { places, tls: config.map(|config| Tls { config, name: None }) }
    }

    /// Keeps a new certificate, durably, and uses it from then on.
    ///
    /// # Errors
    /// See [`MembershipError`]; what was in force stays.
    pub fn renewed(&self, enrolled: &Enrolled) -> Result<(), MembershipError> {
        let _turn = self.turn();
        let Current { identity, .. } = self.current();
        if *enrolled.name != *identity.name() {
            let (issued, own) = (enrolled.name.to_string(), identity.name().to_owned());
            return Err(MembershipError::OtherName { issued, own });
        }
        let known = &identity.hub;
        let mut hub =
            known.updated(&enrolled.hub, self.may_adopt()).unwrap_or_else(|| known.clone());
        hub.issued_ms = enrolled.hub.unix_ms;
        let renewed = Identity::new(identity.keys.clone(), &enrolled.certificate, hub)?;
        self.replace(renewed, |dir, hub| dir.save(&enrolled.certificate, hub))
    }

    /// Keeps what the hub says of itself, durably, and uses it from then on. True if it was something new.
    ///
    /// # Errors
    /// See [`MembershipError`]; what was in force stays.
    pub fn learned(&self, said: &HubFacts) -> Result<bool, MembershipError> {
        let _turn = self.turn();
        let Current { identity, .. } = self.current();
        let Some(hub) = identity.hub.updated(said, self.may_adopt()) else { return Ok(false) };
        let identity = identity.with(hub)?;
        self.replace(identity, IdentityDir::save_hub)?;
        Ok(true)
    }

    /// Keeps whose word counts from now on, durably: the hub itself has handed it over.
    ///
    /// # Errors
    /// See [`MembershipError`]; what was in force stays.
    pub fn pin(&self, hub: PinnedHub) -> Result<(), MembershipError> {
        let _turn = self.turn();
        let Current { identity, .. } = self.current();
        if identity.pinned == hub {
            return Ok(());
        }
        self.replace(identity.with(identity.hub.with_pinned(hub))?, IdentityDir::save_hub)
    }

    /// Whether this is said by another hub, which may not take over.
    #[must_use]
    pub fn is_foreign(&self, said: &HubFacts) -> bool {
        !self.may_adopt() && self.current().identity.hub.is_foreign(said)
    }

    fn replace(
        &self,
        identity: Identity,
        save: impl FnOnce(&IdentityDir, &HubFile) -> Result<(), IdentityError>,
    ) -> Result<(), MembershipError> {
        let is_another = self.current().identity.hub.is_foreign(&identity.hub.facts);
        let has_another_store = self.pinned().lineage != identity.pinned.lineage;
        let next = Current::new(identity, &self.time, &self.news)?;
        save(&self.dir, &next.identity.hub)?;
        if has_another_store {
            self.time.begin_anew(next.identity.hub.facts.unix_ms);
        }
        if is_another {
            self.may_adopt.store(false, Relaxed);
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Current {
        // No code panics while it holds the lock.
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn place(address: &Address) -> Place {
    Place::Tcp { host: address.host().to_owned(), port: address.port() }
}
