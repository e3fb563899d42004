//! Who may do what, as far as the engine has a part in it: the default roles are brought up to date when it starts, and
//! nobody stores a role or a binding that gives away what they do not have. All else is decided before a request gets
//! here.

use firmware_compat::id::PodId;
use sha2::{Digest, Sha256};

use super::Engine;
use crate::{
    actor::Actor,
    api::{ApiError, Key, Object, scheduling::priority_class, time::rfc3339},
    authorizer::{check_grant, defaults},
    effect::Action,
    recorder::uuid,
};

impl Engine {
    /// Whether somebody may store an object with this content.
    pub(super) fn check_grant(&self, actor: &Actor, object: &Object) -> Result<(), ApiError> {
        check_grant(self.state.objects.rules(), actor, object)
    }

    /// Adds what is missing of the default roles and bindings.
    pub(crate) fn update_default_access(&mut self) {
        for class in priority_class::defaults() {
            if !self.state.objects.contains(&class.key()) {
                self.create_default(class);
            }
        }
        for default in defaults::all() {
            let there = self.state.objects.get(&default.key()).map(|stored| stored.object.clone());
            match there {
                None => self.create_default(default),
                Some(there) => {
                    if let Some(mut updated) = defaults::updated(&there, &default) {
                        updated.meta_mut().generation += 1;
                        self.put(updated, None, Action::Modified);
                    }
                }
            }
        }
    }

    pub(crate) fn create_default(&mut self, mut default: Object) {
        let uid = uuid(self.id_of_default(&default.key()));
        let meta = default.meta_mut();
        meta.uid = uid;
        meta.creation_timestamp = Some(rfc3339(self.unix_ms));
        self.put(default, None, Action::Added);
    }

    /// An id that this hub gives to no other object. It is no throw of the dice: those decide what runs where, and a hub
    /// with one more default goes on as it would have.
    fn id_of_default(&self, key: &Key) -> PodId {
        let hash: [u8; 32] = Sha256::new()
            .chain_update(self.lineage.0)
            .chain_update(key.kind.as_str())
            .chain_update([0])
            .chain_update(&key.name)
            .finalize()
            .into();
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        // A UUID of the maker's own rules (RFC 9562, version 8).
        id[6] = id[6] & 0x0f | 0x80;
        id[8] = id[8] & 0x3f | 0x80;
        PodId(id)
    }
}
