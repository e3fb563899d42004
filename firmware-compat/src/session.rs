//! The device's side of the protocol, without an allocator: what an assignment that a hub offers means, and the way from
//! a head to an assignment that is held. Boards (the agent's core) and microcontrollers decide by the same functions;
//! where bytes are kept and hashed is the caller's.

use crate::{
    frame::Stamp,
    id::{Generation, Hash, Lineage},
};

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

/// What an assignment that a hub offers means for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is held already.
    Held,
    /// It is to be fetched.
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

/// What `offered` means for a device whose newest sound assignment is `held`. `may_adopt`: the operator allows the next
/// foreign lineage.
#[must_use]
pub fn judge(held: Option<Name>, offered: Name, may_adopt: bool) -> Verdict {
    let Some(held) = held else { return Verdict::Newer };
    if held.lineage != offered.lineage {
        return if may_adopt { Verdict::Newer } else { Verdict::Foreign };
    }
    match offered.generation.cmp(&held.generation) {
        core::cmp::Ordering::Greater => Verdict::Newer,
        core::cmp::Ordering::Less => Verdict::Stale { held: held.generation },
        core::cmp::Ordering::Equal if held.hash == offered.hash => Verdict::Held,
        core::cmp::Ordering::Equal => Verdict::Conflict,
    }
}

/// Whether an assignment on its way is given up for one of a lower generation: a hub answers a Want for what it does not
/// have with the head that it has. The head that was followed can have been retained from before a hub was restored from a
/// backup; it would keep out all generations below it. `is_asked`: the hub was asked and has not answered with anything.
#[must_use]
pub fn gives_way(coming: Name, offered: Name, held: Option<Name>, is_asked: bool) -> bool {
    let is_older = coming.lineage == offered.lineage
        && coming.generation >= offered.generation
        && coming != offered;
    let is_of_use = held.is_none_or(|held| {
        held.lineage != offered.lineage || held.generation <= offered.generation
    });
    is_asked && is_older && is_of_use
}

/// A device that holds one assignment at a time and has room for one body: a microcontroller. What it holds is what the
/// caller says that it keeps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Session {
    held: Option<Name>,
    coming: Option<Coming>,
    stamp: Stamp,
}

#[derive(Clone, Copy, Debug)]
struct Coming {
    name: Name,
    length: u32,
    /// Bytes of the body so far, without a gap.
    have: u32,
}

/// What a device does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Say again what is held: the hub asks by its head.
    Report,
    /// Ask for content from this byte on.
    Want {
        /// Of the content.
        hash: Hash,
        /// First byte wanted.
        offset: u32,
    },
    /// The body is whole: look at it, keep it, then [`Session::kept`].
    Body(Name),
}

impl Session {
    /// A device that kept this assignment.
    #[must_use]
    pub fn new(held: Option<Name>) -> Self {
        Self { held, ..Self::default() }
    }

    /// What it holds, for Hello and Status.
    #[must_use]
    pub fn held(&self) -> Option<Name> {
        self.held
    }

    /// What it follows and does not hold yet.
    #[must_use]
    pub fn coming(&self) -> Option<Name> {
        self.coming.map(|coming| coming.name)
    }

    /// A new connection, with a number drawn for it: frames count from one again.
    pub fn connected(&mut self, session: u32) {
        self.stamp = Stamp { session, sequence: 0 };
    }

    /// The stamp of the next frame.
    pub fn next_stamp(&mut self) -> Stamp {
        self.stamp.sequence = self.stamp.sequence.wrapping_add(1);
        self.stamp
    }

    /// A head was heard. `room`: bytes that a body may have.
    pub fn head(&mut self, offered: Name, length: u32, room: usize) -> Step {
        if self.coming.is_some_and(|coming| gives_way(coming.name, offered, self.held, true)) {
            self.coming = None;
        }
        match judge(self.held, offered, false) {
            Verdict::Held => Step::Report,
            Verdict::Newer if length as usize <= room => {
                self.coming = Some(Coming { name: offered, length, have: 0 });
                Step::Want { hash: offered.hash, offset: 0 }
            }
            Verdict::Newer | Verdict::Stale { .. } | Verdict::Conflict | Verdict::Foreign => {
                Step::Rest
            }
        }
    }

    /// A chunk was heard; what belongs to the body goes into `body`, which has the room that [`Self::head`] was told of.
    /// `digest` is SHA-256.
    pub fn chunk(
        &mut self,
        hash: Hash,
        offset: u32,
        bytes: &[u8],
        body: &mut [u8],
        digest: impl Fn(&[u8]) -> Hash,
    ) -> Step {
        let Some(coming) = &mut self.coming else { return Step::Rest };
        let (start, end) = (offset as usize, (offset as usize).saturating_add(bytes.len()));
        if hash != coming.name.hash || offset != coming.have || end > coming.length as usize {
            return Step::Rest;
        }
        let Some(place) = body.get_mut(start..end) else { return Step::Rest };
        place.copy_from_slice(bytes);
        coming.have = u32::try_from(end).unwrap_or(u32::MAX);
        if coming.have < coming.length {
            return Step::Rest;
        }
        if body.get(..end).is_some_and(|body| digest(body) == hash) {
            return Step::Body(coming.name);
        }
        // Some chunk was not what the hub sent: it is asked for anew.
        coming.have = 0;
        Step::Want { hash, offset: 0 }
    }

    /// The body that was whole is kept and will be there after a power cut: from now on it is what is held, and said.
    pub fn kept(&mut self) {
        if let Some(coming) = self.coming.take() {
            self.held = Some(coming.name);
        }
    }
}
