//! By which keys a device knows its hub: one, or two while the hub changes its key. A device keeps them with the lineage of
//! the hub that they belong to, from its first contact on, and changes them only on the word of one of them.

use crate::{
    capacity::full::SIGNING_KEYS,
    id::{KeyId, Lineage, PublicKey},
};

/// The public keys of one hub, newest first: one, or two while it changes its key. It signs with the oldest, which every
/// device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningKeys {
    newest: PublicKey,
    older: Option<PublicKey>,
}

impl SigningKeys {
    /// Only this one.
    #[must_use]
    pub fn one(key: PublicKey) -> Self {
        Self { newest: key, older: None }
    }

    /// One or two different keys, newest first. `None` for anything else.
    #[must_use]
    pub fn new(keys: &[PublicKey]) -> Option<Self> {
        match *keys {
            [newest] => Some(Self::one(newest)),
            [newest, older] if newest != older => Some(Self { newest, older: Some(older) }),
            _ => None,
        }
    }

    /// Newest first.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        core::iter::once(&self.newest).chain(&self.older)
    }

    /// What tells them apart, newest first, as a device says it in its Hello.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.iter().map(PublicKey::id)
    }

    /// The one that the hub signs with.
    #[must_use]
    pub fn oldest(&self) -> PublicKey {
        self.older.unwrap_or(self.newest)
    }
}

/// The hub that a device follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinnedHub {
    /// Of its store.
    pub lineage: Lineage,
    /// Whom it is known by.
    pub keys: SigningKeys,
}

const _: () = assert!(SIGNING_KEYS == 2, "a newest and an older one");
