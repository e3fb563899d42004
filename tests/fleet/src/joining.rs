//! How hollow devices join: each as a real one does, with keys of its own, which are in memory.

use std::{sync::Arc, thread};

use firmware_compat::{
    enrolment::{EnrolRequest, SealingKey, Text},
    v1::owned::{Hello, Sealed},
};
use lichen_agent::{
    hub::{HubClient, Joined},
    identity::{HubFile, Identity, IdentityDir, KeyError, Keys, keys},
    join::Invitation,
    known_time::KnownTime,
    membership::Membership,
    tls::{self, first_contact::FirstContact},
};
use rcgen::KeyPair;
use rustls::{
    crypto::ring::sign::any_ecdsa_type,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::SigningKey,
};

use crate::fleet;

/// Devices that join at a time.
const AT_ONCE: usize = 8;

/// Devices that have no identity yet.
pub struct Newcomers<'a> {
    /// To which hub.
    pub invitation: &'a Invitation,
    /// By which they all judge certificates.
    pub time: KnownTime,
    /// Where a renewed certificate would be kept.
    pub dir: IdentityDir,
}

impl Newcomers<'_> {
    /// Lets all of them join; the first is number 0.
    ///
    /// # Errors
    /// What the first one says that could not.
    pub fn join(&self, hellos: &[Hello]) -> Result<Vec<Membership>, String> {
        let share = hellos.len().div_ceil(AT_ONCE).max(1);
        thread::scope(|scope| {
            let groups = hellos.chunks(share).enumerate();
            let started: Vec<_> = groups
                .map(|(group, hellos)| {
                    scope.spawn(move || {
                        let numbered = hellos.iter().enumerate();
                        numbered.map(|(own, hello)| self.one(group * share + own, hello)).collect()
                    })
                })
                .collect();
            let mut all = Vec::with_capacity(hellos.len());
            for group in started {
                let group: Result<Vec<_>, String> =
                    group.join().map_err(|_| "a thread panicked")?;
                all.extend(group?);
            }
            Ok(all)
        })
    }

    fn one(&self, number: usize, hello: &Hello) -> Result<Membership, String> {
        let name = fleet::name(number);
        let told = |error: &dyn std::error::Error| format!("{name} could not join: {error}");
        let keys = Arc::new(InMemory::make().map_err(|error| told(&error))?);
        let request = EnrolRequest {
            token: self.invitation.secret.clone(),
            csr: Text::cut(&keys.request().map_err(|error| told(&error))?),
            sealing_key: keys.sealing_key(),
            name: Some(Text::cut(&name)),
            agent: hello.agent,
            boot: hello.boot,
            serial: None,
            model: None,
        };
        let contact = Arc::new(FirstContact::new(self.invitation.fingerprint));
        let tls = tls::first_contact(contact, &self.time).map_err(|error| told(&error))?;
        let hub = HubClient::new(tls, self.invitation.addresses.clone());
        let enrolled = match hub.enrol(&request).map_err(|error| told(&error))? {
            Joined::Enrolled(enrolled) => enrolled,
            Joined::Pending(pending) => {
                return Err(format!("{name} has to wait: {}", pending.message));
            }
        };
        let identity =
            Identity::new(keys, &enrolled.certificate, HubFile::of(&enrolled, Default::default()));
        let identity = identity.map_err(|error| told(&error))?;
        Membership::new(identity, self.dir.clone(), self.time.clone(), false)
            .map_err(|error| told(&error))
    }
}

/// Keys that end with the fleet. Nothing is ever sealed to them.
struct InMemory {
    pair: KeyPair,
    signer: Arc<dyn SigningKey>,
}

impl InMemory {
    fn make() -> Result<Self, KeyError> {
        let pair = KeyPair::generate()?;
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialized_der()));
        let signer = any_ecdsa_type(&der)?;
        Ok(Self { pair, signer })
    }
}

impl Keys for InMemory {
    fn request(&self) -> Result<String, KeyError> {
        keys::request(&self.pair)
    }

    fn signer(&self) -> Arc<dyn SigningKey> {
        self.signer.clone()
    }

    fn sealing_key(&self) -> SealingKey {
        SealingKey([9; 32])
    }

    fn open(&self, _: &[u8], _: &Sealed) -> Result<keys::Plain, keys::OpenError> {
        Err(keys::OpenError)
    }
}

impl std::fmt::Debug for InMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InMemory")
    }
}
