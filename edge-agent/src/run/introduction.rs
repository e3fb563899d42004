//! Whom a device believes is the hub that it has its first contact with; another one only if its operator says so, once.

use firmware_compat::keys::PinnedHub;

/// Who was pinned, and whether another may be.
#[derive(Debug)]
pub(super) struct Introduction {
    pinned: Option<PinnedHub>,
    /// The operator lets another hub take the device over.
    may_adopt: bool,
    /// Whom the log has said to be another hub.
    stranger: Option<PinnedHub>,
}

impl Introduction {
    pub(super) fn new(pinned: Option<PinnedHub>, may_adopt: bool) -> Self {
        Self { pinned, may_adopt, stranger: None }
    }

    /// Whether the hub that answered is to be believed from now on. One that is not, and is not the one that is believed,
    /// is connected to all the same: everything that it says is refused, and it sees that.
    pub(super) fn is_due(&mut self, hub: PinnedHub) -> bool {
        let Some(pinned) = self.pinned else { return true };
        if self.may_adopt && pinned != hub {
            return true;
        }
        if !is_known(pinned, hub) && self.stranger.replace(hub) != Some(hub) {
            tracing::warn!(
                lineage = %hub.lineage,
                pinned = %pinned.lineage,
                "the hub that answers is not the one that this device follows, or has another signing key: what it \
                 says is refused and everything runs on; start the agent once with --adopt-hub to follow it"
            );
        }
        false
    }

    /// This one is kept.
    pub(super) fn done(&mut self, hub: PinnedHub) {
        let before = self.pinned.replace(hub);
        if before.is_none_or(|before| !is_known(before, hub)) {
            self.may_adopt = false;
        }
    }
}

/// Whether it is the one that is believed: while it changes its key, it hands the new one over by itself.
fn is_known(pinned: PinnedHub, hub: PinnedHub) -> bool {
    pinned.lineage == hub.lineage
        && hub.keys.iter().any(|key| pinned.keys.iter().any(|known| known == key))
}

#[cfg(test)]
mod tests {
    use firmware_compat::{
        id::{Lineage, PublicKey},
        keys::SigningKeys,
    };

    use super::*;

    fn hub(lineage: u8, keys: &[u8]) -> PinnedHub {
        let keys: Vec<PublicKey> = keys.iter().map(|byte| PublicKey([*byte; 32])).collect();
        let keys = SigningKeys::new(&keys).expect("one or two");
        PinnedHub { lineage: Lineage([lineage; 16]), keys }
    }

    #[test]
    fn the_first_hub_is_believed_and_another_only_once_and_on_the_operators_word() {
        let mut fresh = Introduction::new(None, false);
        assert!(fresh.is_due(hub(1, &[1])));
        fresh.done(hub(1, &[1]));
        for other in [hub(1, &[1]), hub(1, &[2, 1]), hub(1, &[2]), hub(2, &[1])] {
            assert!(!fresh.is_due(other), "{other:?}");
        }
        let mut adopting = Introduction::new(Some(hub(1, &[1])), true);
        assert!(!adopting.is_due(hub(1, &[1])));
        assert!(adopting.is_due(hub(2, &[2])));
        adopting.done(hub(2, &[2]));
        assert!(!adopting.is_due(hub(3, &[3])));
    }

    #[test]
    fn a_hub_that_changes_its_key_is_no_stranger() {
        assert!(is_known(hub(1, &[1]), hub(1, &[2, 1])));
        assert!(is_known(hub(1, &[2, 1]), hub(1, &[2])));
        assert!(!is_known(hub(1, &[1]), hub(1, &[2])));
        assert!(!is_known(hub(1, &[1]), hub(2, &[1])));
    }
}
