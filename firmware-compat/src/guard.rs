//! What a device believes of what reaches it: frames that its hub has signed for it, and none of them twice. One rule for
//! boards and microcontrollers. It knows keys, the hub's lineage, the connection with its commands, and the newest time that
//! the hub said; that older generations move nobody is the business of [`crate::session`].

use core::{fmt, time::Duration};

use crate::{
    frame::{DecodeError, Frame},
    id::Lineage,
    keys::PinnedHub,
    signed::{Bound, Signed, Verify, is_signed_by},
    time::UnixMs,
};

/// What is no older than the newest by more than this was held up by the network, or came twice: it is dropped without a
/// word. No connection lives so long without being heard.
const LATE: Duration = Duration::from_hours(1);

/// Commands of one connection that are remembered, so that a copy is not carried out. A hub's ids rise: of those that are no
/// greater than one that was forgotten none is carried out any more.
const REMEMBERED: usize = 32;

/// Stands between the network and a device.
#[derive(Clone, Debug)]
pub struct Guard {
    verify: Verify,
    hub: Option<PinnedHub>,
    connection: Option<u32>,
    /// The connection before.
    last_connection: Option<u32>,
    commands: Commands,
    newest_ms: UnixMs,
}

/// The commands of a connection.
#[derive(Clone, Debug, Default)]
struct Commands {
    heard: heapless::Vec<u64, REMEMBERED>,
    /// The greatest that was forgotten.
    forgotten: Option<u64>,
}

/// Why a frame is not heeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It can't be read.
    Unreadable(DecodeError),
    /// The device was never told whom to believe.
    NoKey,
    /// No key of the hub has signed it for this device.
    Forged,
    /// It is of the hub's key and of another lineage.
    OtherHub {
        /// Whose it is.
        lineage: Lineage,
    },
    /// A command that was said in a connection before.
    OtherConnection,
    /// Older than what the hub has said.
    Old {
        /// By how much.
        by_ms: u64,
    },
    /// It comes for the second time, or other frames overtook it: nothing to tell anybody.
    Late,
}

impl Guard {
    /// `hub`: whom the device was told to believe. `floor_ms`: a time that the hub has said, kept from an earlier start.
    #[must_use]
    pub fn new(verify: Verify, hub: Option<PinnedHub>, floor_ms: UnixMs) -> Self {
        Self {
            verify,
            hub,
            connection: None,
            last_connection: None,
            commands: Commands::default(),
            newest_ms: floor_ms,
        }
    }

    /// Whom the device believes.
    #[must_use]
    pub fn hub(&self) -> Option<PinnedHub> {
        self.hub
    }

    /// It believes this hub from now on, and no other. One of another store owes nothing to what the former one said of the
    /// time, whose frames count no more.
    pub fn pin(&mut self, hub: PinnedHub) {
        if self.hub.is_some_and(|former| former.lineage != hub.lineage) {
            self.newest_ms = 0;
        }
        self.hub = Some(hub);
    }

    /// The newest time that the hub has said: it has certainly passed.
    #[must_use]
    pub fn known_ms(&self) -> UnixMs {
        self.newest_ms
    }

    /// A new connection, with a number drawn for it.
    pub fn connected(&mut self, session: u32) {
        self.last_connection = self.connection.replace(session);
        self.commands = Commands::default();
    }

    /// The message of a frame, if the device's hub says it, to this device, and for the first time. `to`: whom the frame's
    /// topic names. What has no business with the message's own content is checked here; nothing of a frame is decoded
    /// before its signature is known to be good.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn open<M: Signed>(&mut self, frame: &Frame<'_>, to: &str) -> Result<M, Refusal> {
        let hub = self.hub.ok_or(Refusal::NoKey)?;
        let seal = frame.seal.ok_or(Refusal::Unreadable(DecodeError::Unsigned))?;
        if !hub.keys.iter().any(|key| is_signed_by(seal, key, to, self.verify)) {
            return Err(Refusal::Forged);
        }
        let message: M = frame.message().map_err(Refusal::Unreadable)?;
        match message.bound() {
            Bound::Generation => {}
            Bound::Connection(lineage, id) => {
                is_of(lineage, hub)?;
                self.is_of_this_connection(frame.stamp.session)?;
                self.commands.take(id)?;
            }
            Bound::Time(lineage, unix_ms) => {
                is_of(lineage, hub)?;
                self.is_newest(unix_ms)?;
                self.newest_ms = unix_ms;
            }
        }
        Ok(message)
    }

    fn is_of_this_connection(&self, session: u32) -> Result<(), Refusal> {
        match Some(session) {
            session if session == self.connection => Ok(()),
            session if session == self.last_connection => Err(Refusal::Late),
            _ => Err(Refusal::OtherConnection),
        }
    }

    fn is_newest(&self, unix_ms: UnixMs) -> Result<(), Refusal> {
        let Some(by_ms) = self.newest_ms.checked_sub(unix_ms) else { return Ok(()) };
        let is_late = Duration::from_millis(by_ms) <= LATE;
        Err(if is_late { Refusal::Late } else { Refusal::Old { by_ms } })
    }
}

impl Commands {
    fn take(&mut self, id: u64) -> Result<(), Refusal> {
        let is_forgotten = self.forgotten.is_some_and(|forgotten| id <= forgotten);
        if is_forgotten || self.heard.contains(&id) {
            return Err(Refusal::Late);
        }
        let Err(id) = self.heard.push(id) else { return Ok(()) };
        // Of all that are known the smallest is forgotten.
        let smallest = self.heard.iter_mut().min().filter(|smallest| **smallest < id);
        self.forgotten = Some(smallest.map_or(id, |smallest| core::mem::replace(smallest, id)));
        Ok(())
    }
}

fn is_of(lineage: Lineage, hub: PinnedHub) -> Result<(), Refusal> {
    if lineage == hub.lineage { Ok(()) } else { Err(Refusal::OtherHub { lineage }) }
}

impl Refusal {
    /// CamelCase, for the event that tells of it. `None`: not worth one.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Unreadable(_) => Some("UnreadableFrame"),
            Self::NoKey => Some("NoSigningKey"),
            Self::Forged => Some("ForgedFrame"),
            Self::OtherHub { .. } => Some("ForeignHub"),
            Self::OtherConnection | Self::Old { .. } => Some("ReplayedFrame"),
            Self::Late => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "{error}"),
            Self::NoKey => f.write_str(
                "this device has not been told by which key it knows its hub, so it believes nobody",
            ),
            Self::Forged => f.write_str(
                "the hub that this device follows has not signed it for this device: it was made up or changed on the way, or another hub speaks",
            ),
            Self::OtherHub { lineage } => {
                write!(f, "it is of a hub of lineage {lineage}, which this device does not follow")
            }
            Self::OtherConnection => f.write_str(
                "the hub said it in an earlier connection of this device: somebody on the way repeats it",
            ),
            Self::Old { by_ms } => write!(
                f,
                "the hub said it {} hours before what it said last: somebody on the way repeats it, or the hub's clock went back while the hub was down",
                by_ms / 3_600_000
            ),
            Self::Late => f.write_str("it came twice, or was overtaken"),
        }
    }
}

impl core::error::Error for Refusal {}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::Unreadable(error)
    }
}
