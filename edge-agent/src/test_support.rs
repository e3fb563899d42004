//! A device that has joined, for unit tests.

use std::sync::Arc;

use firmware_compat::{
    enrolment::{Address, HubFacts, Text},
    id::{Lineage, PublicKey},
};

use crate::{
    identity::{HubFile, Identity, IdentityDir, Keys, key_files::KeyFiles},
    known_time::KnownTime,
    membership::Membership,
    state::StateDir,
};

#[allow(dead_code, clippy::unwrap_used, reason = "each kind of test uses its part, and may panic")]
#[path = "../tests/support/authority.rs"]
mod authority;

pub use authority::{Authority, NO_END};

/// What a hub with this authority says of itself.
pub fn facts(authority: &Authority) -> HubFacts {
    HubFacts {
        ca: Text::cut(&authority.pem()),
        signing_keys: vec![PublicKey([1; 32])].try_into().expect("one"),
        lineage: Lineage([7; 16]),
        addresses: vec![Address::parse("127.0.0.1:9").expect("sound")].try_into().expect("one"),
        broker: None,
        unix_ms: 1_700_000_000_000,
        renewal: None,
    }
}

/// An identity in a directory, saved.
pub fn identity(dir: &IdentityDir, authority: &Authority, name: &str) -> Identity {
    let keys: Arc<dyn Keys> = Arc::new(KeyFiles::load_or_make(dir).expect("keys"));
    let request = keys.request().expect("a request");
    let certificate = authority.device(&request, name, NO_END);
    let name = name.try_into().expect("short");
    let (issued_ms, dialled, facts) = (1_700_000_000_000, Default::default(), facts(authority));
    let hub = HubFile { name, issued_ms, dialled, facts };
    let identity = Identity::new(keys, &certificate, hub).expect("it fits together");
    dir.save(&certificate, &identity.hub).expect("writable");
    identity
}

/// A member of a hub that nobody can reach, without a disk.
pub fn member(name: &str) -> Membership {
    let dir = tempfile::tempdir().expect("a directory");
    let state = StateDir::open(dir.path()).expect("a state directory");
    let dir = IdentityDir::of(&state);
    let identity = identity(&dir, &Authority::new(), name);
    Membership::new(identity, dir, KnownTime::from(0), false).expect("TLS")
}
