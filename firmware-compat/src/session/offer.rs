//! What an assignment that a hub offers by a head means for a device: one rule for boards and microcontrollers.

use crate::id::{Generation, Hash, Lineage};

/// Which assignment: what both forms of the messages say of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    /// Of the hub's store that wrote it.
    pub lineage: Lineage,
    /// Rises with every change.
    pub generation: Generation,
    /// Of the body.
    pub hash: Hash,
}

macro_rules! named_by {
    ($form:ident) => {
        impl From<crate::v1::$form::AssignmentId> for Name {
            fn from(id: crate::v1::$form::AssignmentId) -> Self {
                Self { lineage: id.lineage, generation: id.generation, hash: id.hash }
            }
        }

        impl From<Name> for crate::v1::$form::AssignmentId {
            fn from(name: Name) -> Self {
                Self { lineage: name.lineage, generation: name.generation, hash: name.hash }
            }
        }
    };
}

named_by!(fixed);
#[cfg(feature = "alloc")]
named_by!(owned);

/// Where a device stands when it hears a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The newest assignment that it has and that is sound.
    pub held: Option<Name>,
    /// The one that it fetches.
    pub coming: Option<Name>,
    /// The hub was asked for `coming` and has not answered with anything of it.
    pub is_unanswered: bool,
    /// One that was fetched, or looked at, and cannot be followed.
    pub refused: Option<Name>,
    /// The operator allows the next foreign lineage.
    pub may_adopt: bool,
    /// Of the hub that it follows. It counts while nothing is held.
    pub hub: Option<Lineage>,
}

/// What an assignment that a hub offers means for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is held already.
    Held,
    /// It, or a newer one, is being fetched already.
    Coming,
    /// It was refused already.
    Refused,
    /// It is to be fetched, and nothing else.
    Newer,
    /// It is older than what the device has: refused, whoever sends it.
    Stale {
        /// What the device has.
        held: Generation,
    },
    /// Two contents of one generation: the hub was restored from a backup, perhaps.
    Conflict,
    /// Of a hub that did not write what the device holds, and that nobody allowed to take it over.
    Foreign,
}

impl Standing {
    /// What `offered` means. Ask [`Self::gives_up`] first: what is given up is not coming any more.
    #[must_use]
    pub fn judge(&self, offered: Name) -> Verdict {
        if self.refused == Some(offered) {
            return Verdict::Refused;
        }
        match self.beside_held(offered) {
            Verdict::Newer if self.is_outrun(offered) => Verdict::Coming,
            verdict => verdict,
        }
    }

    /// Whether the assignment on its way is given up: a hub answers a Want for what it does not have with the head that it
    /// has. The head that was followed can have been retained from before a hub was restored from a backup; it would keep
    /// out all generations below it. Should the answer be an older head that was late instead, the hub's reminder brings
    /// the newest back.
    #[must_use]
    pub fn gives_up(&self, offered: Name) -> bool {
        let is_of_use = self.held.is_none_or(|held| {
            held.lineage != offered.lineage || held.generation <= offered.generation
        });
        self.is_unanswered && is_of_use && self.coming != Some(offered) && self.is_outrun(offered)
    }

    /// Whether what is coming is not older.
    fn is_outrun(&self, offered: Name) -> bool {
        self.coming.is_some_and(|coming| {
            coming.lineage == offered.lineage && coming.generation >= offered.generation
        })
    }

    fn beside_held(&self, offered: Name) -> Verdict {
        let Some(held) = self.held else {
            let is_foreign = self.hub.is_some_and(|hub| hub != offered.lineage) && !self.may_adopt;
            return if is_foreign { Verdict::Foreign } else { Verdict::Newer };
        };
        if held.lineage != offered.lineage {
            return if self.may_adopt { Verdict::Newer } else { Verdict::Foreign };
        }
        match offered.generation.cmp(&held.generation) {
            core::cmp::Ordering::Greater => Verdict::Newer,
            core::cmp::Ordering::Less => Verdict::Stale { held: held.generation },
            core::cmp::Ordering::Equal if held.hash == offered.hash => Verdict::Held,
            core::cmp::Ordering::Equal => Verdict::Conflict,
        }
    }
}
