//! Which of the hub's keys devices know it by, and handing over others while the hub changes its key. A device says in its
//! hello which ones it keeps. Where they are not the hub's, it is told them, signed with the oldest, and says hello again
//! once it has saved them. One that does not know even that one believes nothing, and says so here.

use alloc::{borrow::ToOwned, format, string::String, sync::Arc, vec::Vec};

use firmware_compat::v1::owned::{Action, Severity};

use crate::{
    api::{Key, Kind},
    engine::Engine,
    signing::Sign,
};

/// Devices that are told of other keys in one turn: each costs two signatures, 20 ms for all.
const MOST_TOLD: usize = 512;

impl Engine {
    /// The hub has other keys from now on: every device is told, in as many turns as it takes, and what brokers retain is
    /// signed anew.
    pub(crate) fn change_keys(&mut self, signer: Arc<dyn Sign>) {
        self.signer = signer;
        for device in self.state.fleet.iter_mut() {
            device.desired.head = None;
        }
        self.sessions.untold = self.state.fleet.names().cloned().collect();
    }

    /// Carries on with [`Self::change_keys`].
    pub(crate) fn tell_of_keys(&mut self) {
        for _ in 0..MOST_TOLD {
            let Some(name) = self.sessions.untold.pop_first() else { return };
            self.publish_head(&name);
            self.hand_over_keys(&name);
            if self.connection(&name).is_some() {
                // One that is not there says at its next hello what it knows.
                self.note_keys(&name);
            }
            self.touch_node(&name);
            // Those that do not run there may have another reason now.
            self.touch_pods_on(&name);
        }
    }

    /// Tells a device that is there the hub's keys, if it keeps others and would believe it.
    pub(crate) fn hand_over_keys(&mut self, name: &str) {
        let keys = self.signer.keys();
        let Some(device) = self.state.fleet.get(name) else { return };
        let believes = device.facts.keys.contains(&keys.oldest().id());
        let has_them = device.facts.keys.iter().copied().eq(keys.ids());
        let Some(session) = self.connection(name).filter(|_| believes && !has_them) else { return };
        // At most as many as a message holds.
        let Ok(keys) = keys.iter().copied().collect::<Vec<_>>().try_into() else { return };
        self.command(session, name, Action::Keys { keys });
    }

    /// A device has connected: if it does not believe this hub, someone should know.
    pub(super) fn note_keys(&mut self, name: &str) {
        if let Some(message) = self.unknown_key(name) {
            let key = Key::new(Kind::Node, "", name);
            self.record(&key, Severity::Warning, "SigningKeyUnknown", message);
        }
    }

    /// Why a device does not heed this hub, if it does not know its key.
    pub(crate) fn unknown_key(&self, name: &str) -> Option<String> {
        let device = self.state.fleet.get(name)?;
        let (known, ours) = (&device.facts.keys, self.signer.keys().oldest().id());
        if known.contains(&ours) {
            return None;
        }
        let what = match known.first() {
            None => "has not been told by which key it knows its hub".to_owned(),
            Some(other) => {
                format!("knows its hub by another key ({other}) than this hub signs with ({ours})")
            }
        };
        Some(format!(
            "{name} {what}, so it refuses what this hub says and goes on with what it has; if it is to follow this hub, restart its agent once with --adopt-hub"
        ))
    }

    /// Devices that were heard of and do not keep the newest key.
    pub(crate) fn without_newest_key(&self) -> usize {
        let newest = self.signer.keys().ids().next();
        self.state
            .fleet
            .iter()
            .filter(|device| device.facts.keys.first().copied() != newest)
            .count()
    }
}
