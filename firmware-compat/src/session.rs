//! The device's side of the protocol, without an allocator: what an assignment that a hub offers means, and the way from
//! a head to an assignment that is held. Boards (the agent's core) and microcontrollers decide by the same [`Standing`] and
//! believe what the same [`Guard`] lets through; where bytes are kept and hashed, and how signatures are checked, is the
//! caller's.

mod offer;

use crate::{
    frame::{Frame, Stamp},
    guard::{Guard, Refusal},
    id::Hash,
    keys::PinnedHub,
    signed::Signed,
    v1::fixed::Head,
};

pub use offer::{Name, Standing, Verdict};

/// A device that holds one assignment at a time and has room for one body: a microcontroller. What it holds is what the
/// caller says that it keeps. It needs no clock: the hub reminds a device that lags by its head.
#[derive(Clone, Debug)]
pub struct Session {
    guard: Guard,
    held: Option<Name>,
    coming: Option<Coming>,
    refused: Option<Name>,
    stamp: Stamp,
}

#[derive(Clone, Copy, Debug)]
struct Coming {
    name: Name,
    length: u32,
    /// Bytes of the body so far, without a gap.
    have: u32,
    /// An older head was heard since the last byte, which may have been late, and the hub was asked once more. Another
    /// one is its answer.
    is_doubted: bool,
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
    /// The body is whole: look at it, keep it, then [`Session::kept`], or [`Session::refuse`] it.
    Body(Name),
    /// Say that it can't be taken: its body is empty or has no room. It is not offered to the caller again.
    Refuse {
        /// Which one.
        name: Name,
        /// Bytes of its body.
        length: u32,
        /// Bytes that a body may have.
        room: usize,
    },
}

impl Session {
    /// A device that kept this assignment.
    #[must_use]
    pub fn new(guard: Guard, held: Option<Name>) -> Self {
        Self { guard, held, coming: None, refused: None, stamp: Stamp::default() }
    }

    /// Whom it believes, and the newest time that it has heard.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Other keys of its hub, which are kept: it believes who has them.
    pub fn pin(&mut self, hub: PinnedHub) {
        self.guard.pin(hub);
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
        self.guard.connected(session);
    }

    /// The stamp of the next frame.
    pub fn next_stamp(&mut self) -> Stamp {
        self.stamp.sequence = self.stamp.sequence.wrapping_add(1);
        self.stamp
    }

    /// A command, a time or whatever else the hub signs was heard, in the form of the caller's choice. `to`: whom the
    /// frame's topic names.
    ///
    /// # Errors
    /// It is not to be heeded.
    pub fn open<M: Signed>(&mut self, frame: &Frame<'_>, to: &str) -> Result<M, Refusal> {
        self.guard.open(frame, to)
    }

    /// A head was heard. `name`: the device's. `room`: bytes that a body may have.
    ///
    /// # Errors
    /// It is not to be heeded.
    pub fn head(&mut self, frame: &Frame<'_>, name: &str, room: usize) -> Result<Step, Refusal> {
        let head: Head = self.guard.open(frame, name)?;
        Ok(self.follow(head.assignment.into(), head.length, room))
    }

    /// What a head that is believed leads to.
    fn follow(&mut self, offered: Name, length: u32, room: usize) -> Step {
        if self.standing().gives_up(offered) {
            if self.ask_once_more() {
                return self.go_on();
            }
            self.coming = None;
        }
        match self.standing().judge(offered) {
            Verdict::Held => Step::Report,
            Verdict::Coming => self.go_on(),
            Verdict::Newer => self.begin(offered, length, room),
            Verdict::Refused | Verdict::Stale { .. } | Verdict::Conflict | Verdict::Foreign => {
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
        let is_next = hash == coming.name.hash && offset == coming.have && !bytes.is_empty();
        if !is_next || end > coming.length as usize {
            return Step::Rest;
        }
        let Some(place) = body.get_mut(start..end) else { return Step::Rest };
        place.copy_from_slice(bytes);
        coming.have = u32::try_from(end).unwrap_or(u32::MAX);
        coming.is_doubted = false;
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

    /// The body that was whole can't be followed: what is held stays, and this one is not asked for again.
    pub fn refuse(&mut self) {
        if let Some(coming) = self.coming.take() {
            self.refused = Some(coming.name);
        }
    }

    /// What is coming was always asked for; whether that was long enough ago is what [`Self::ask_once_more`] finds out.
    fn standing(&self) -> Standing {
        let (held, coming, refused) = (self.held, self.coming(), self.refused);
        let hub = self.guard.hub().map(|hub| hub.lineage);
        Standing { held, coming, is_unanswered: true, refused, may_adopt: false, hub }
    }

    /// Without a clock, a late head and the hub's answer look alike the first time. Returns whether this is it.
    fn ask_once_more(&mut self) -> bool {
        let coming = self.coming.as_mut().filter(|coming| !coming.is_doubted);
        coming.map(|coming| coming.is_doubted = true).is_some()
    }

    /// From where it is.
    fn go_on(&self) -> Step {
        match self.coming {
            None => Step::Rest,
            Some(coming) if coming.have == coming.length => Step::Body(coming.name),
            Some(coming) => Step::Want { hash: coming.name.hash, offset: coming.have },
        }
    }

    fn begin(&mut self, name: Name, length: u32, room: usize) -> Step {
        if length == 0 || length as usize > room {
            self.refused = Some(name);
            return Step::Refuse { name, length, room };
        }
        self.coming = Some(Coming { name, length, have: 0, is_doubted: false });
        self.go_on()
    }
}
