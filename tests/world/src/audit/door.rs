//! Checks at the hub's door: who is kept out stays out, who may come back does, of two boards with one card one has the name
//! and both are told of; and that keys which change are handed over, or told to be unknown.

use std::collections::BTreeMap;

use lichen_hub_core::{
    admission::boards::BOOTS,
    api::{Kind, Object},
};

use crate::{
    World,
    audit::Audit,
    declared::{Spec, Thing},
    trust,
};

/// Within so long a device that is there has been handed new keys: a hub that comes back has asked it by then.
const HANDED_OVER_WITHIN_MS: u64 = 15 * 60_000;
/// Within so long after it has connected, the hub knows by which keys a device knows it.
const TOLD_WITHIN_MS: u64 = 5 * 60_000;

/// What was seen of boards under one name, in one life of the hub.
#[derive(Debug, Default)]
pub struct Names {
    /// Boards and their boots that had the name.
    held: BTreeMap<String, Vec<(usize, u32)>>,
    /// Places of two boards of one name, and when they were noticed.
    two: BTreeMap<String, (u64, [String; 2])>,
}

impl Audit {
    /// The hub has started, and its endpoint knows nothing of boards.
    pub fn forget_boards(&mut self, hub: usize) {
        if hub == 0 {
            self.names = Names::default();
        }
    }

    /// The endpoint knows nothing of the boards of a name any more.
    pub fn forget_boards_of(&mut self, name: &str) {
        self.names.held.remove(name);
    }

    /// The endpoint has noticed two boards.
    pub fn note_two_boards(&mut self, name: &str, places: [String; 2], now: u64) {
        self.names.two.insert(name.to_owned(), (now, places));
    }
}

impl World {
    /// A board gets the session of its name, which another one may have.
    pub(crate) fn judge_takeover(&mut self, name: &str, older: Option<usize>, board: usize) {
        if self.broker.external || self.boards[board].firmware.is_some() {
            return;
        }
        let own = (board, self.boards[board].boots);
        let held = self.audit.names.held.entry(name.to_owned()).or_default();
        let had_it = held.contains(&own);
        let few = held.len() <= BOOTS;
        if !had_it {
            held.push(own);
        }
        if let Some(older) = older.filter(|older| *older != board && had_it && few) {
            let (label, older) = (&self.boards[board].label, &self.boards[older].label);
            let what = format!("{label} takes the name back from {older}, which is connected");
            self.fail("one-board-has-the-name", &what);
        }
    }

    /// The hub does not take a certificate for a new one.
    pub(crate) fn judge_renewal(&mut self, board: usize, end_s: u64, known_s: u64) {
        let grace_s = self.certificates.map_or(0, |lifetimes| lifetimes.grace_s);
        if known_s.saturating_sub(end_s) <= grace_s {
            let label = &self.boards[board].label;
            let what = format!(
                "{label} gets no new certificate {} s after the end of its own, with {grace_s} s of grace",
                known_s.saturating_sub(end_s)
            );
            self.fail("expired-renews-and-returns", &what);
        }
    }

    /// After a step: nobody is in who was revoked, and copies are told of.
    pub(crate) fn look_at_the_door(&mut self) {
        if !self.has_certificates() && self.audit.names.two.is_empty() {
            return;
        }
        let is_revoked = |name: &String| {
            let possible = self.declared.possible(&Thing::Enrolment(name.clone()));
            possible.iter().all(|spec| *spec == Some(Spec::Enrolment { revoked: true }))
        };
        let inside = self
            .broker
            .holders()
            .find(|(name, board)| self.boards[*board].firmware.is_none() && is_revoked(name));
        if let Some(name) = inside.map(|(name, _)| name.clone()).filter(|_| self.has_certificates())
        {
            let what = format!("{name} has a session and was revoked");
            return self.fail("revoked-stays-out", &what);
        }
        self.look_for_copies();
    }

    fn look_for_copies(&mut self) {
        let due = self.audit.names.two.iter().find(|(_, (at, _))| at + 1000 <= self.now);
        let Some((name, places)) = due.map(|(name, (_, places))| (name.clone(), places.clone()))
        else {
            return;
        };
        if self.hubs[0].engine.is_none() {
            return;
        }
        self.audit.names.two.remove(&name);
        let is_told = self.list(Kind::Event).iter().any(|object| match object.as_ref() {
            Object::Event(event) => {
                event.reason == "TwoBoards"
                    && event.involved_object.name == name
                    && places.iter().all(|place| event.message.contains(place.as_str()))
            }
            _ => false,
        });
        if !is_told {
            let what = format!(
                "two boards are {name}, at {}, and nothing says so",
                places.join(" and at ")
            );
            self.fail("two-boards-are-told", &what);
        }
    }

    /// An operator lets the hub's old key go: every device that was there for long keeps the new one.
    pub(crate) fn judge_handing_over(&mut self) {
        let hub = &self.hubs[0];
        let (Some(since), [_, _]) = (hub.linked_since(), hub.keys.as_slice()) else { return };
        if self.was_lossy {
            return;
        }
        let keys = trust::keys(&hub.keys);
        let since = since.max(hub.keys_since);
        let left_out = self.boards.iter().find(|board| {
            let link = board.link.up_since().filter(|_| board.is_on_the_network());
            let stands = board.link.conn.is_some_and(|conn| self.broker.knows(&board.name, conn));
            let is_calm = link.is_some_and(|up| {
                up.max(since).max(board.calm_since) + HANDED_OVER_WITHIN_MS <= self.now
            });
            let pinned = board.pinned();
            let believes =
                pinned.is_some_and(|hub| hub.keys.iter().any(|key| *key == keys.oldest()));
            let can = board.facts.protocol == firmware_compat::frame::VERSION && !board.disk.full;
            stands && is_calm && can && believes && pinned.is_some_and(|hub| hub.keys != keys)
        });
        if let Some(left_out) = left_out {
            let what = format!("{} was there and does not know the hub's new key", left_out.label);
            self.fail("new-keys-are-handed-over", &what);
        }
    }

    /// While everything is well: a device that does not know the hub's key is shown to be one.
    pub(crate) fn judge_deafness(&mut self) {
        let hub = &self.hubs[0];
        let Some(since) = hub.linked_since().filter(|_| !self.was_lossy) else { return };
        let since = since.max(hub.keys_changed);
        let key = trust::keys(&hub.keys).oldest();
        let deaf = self.deaf();
        let silent = self.boards.iter().find(|board| {
            let up = board.link.up_since().filter(|_| !board.is_clone());
            let is_long = up.is_some_and(|up| up.max(since) + TOLD_WITHIN_MS <= self.now);
            let stands = board.link.conn.is_some_and(|conn| self.broker.knows(&board.name, conn));
            let understands = board.facts.protocol == firmware_compat::frame::VERSION;
            let knows = board.pinned().is_none_or(|hub| hub.keys.iter().any(|of| *of == key));
            is_long && stands && understands && !knows && !deaf.contains(&board.name)
        });
        if let Some(silent) = silent {
            let what =
                format!("{} does not know the hub's key, and its Node says nothing", silent.label);
            self.fail("unknown-key-is-told", &what);
        }
    }
}
