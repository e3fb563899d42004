//! The hub's voice: what it says, signed. No Ed25519: a hash of key and message stands for a signature, since all that the
//! core knows of one is a function that says yes or no.

use firmware_compat::{
    frame::{self, Message, Stamp},
    id::{Lineage, PublicKey},
    keys::{PinnedHub, SigningKeys},
    signed::{self, Signature},
};
use lichen_agent_core::Event;
use sha2::{Digest, Sha256};

/// The device of every test, the hub that it follows, and its connection.
pub const NAME: &str = "pi";
pub const LINEAGE: Lineage = Lineage([1; 16]);
pub const SESSION: u32 = 7;
pub const UP: Event = Event::LinkUp { session: SESSION };

/// Who signs, for whom, and for which connection.
#[derive(Clone, Copy, Debug)]
pub struct Voice {
    pub key: u8,
    pub to: &'static str,
    pub session: u32,
}

/// The hub's own.
pub const HUB: Voice = Voice { key: 1, to: NAME, session: SESSION };

pub fn key(number: u8) -> PublicKey {
    PublicKey([number; 32])
}

/// A hub that is known by these keys, newest first.
pub fn known_by(keys: &[u8]) -> PinnedHub {
    let keys: Vec<PublicKey> = keys.iter().map(|number| key(*number)).collect();
    PinnedHub { lineage: LINEAGE, keys: SigningKeys::new(&keys).expect("one or two") }
}

fn signature(key: &PublicKey, message: &[u8]) -> Signature {
    let half: [u8; 32] = Sha256::new().chain_update(key.0).chain_update(message).finalize().into();
    [half, half].concat().try_into().expect("64 bytes")
}

pub fn verify(key: &PublicKey, message: &[u8], found: &Signature) -> bool {
    signature(key, message) == *found
}

impl Voice {
    /// The device hears this.
    pub fn say<M: Message>(self, message: &M) -> Event {
        let is_command = M::KIND == frame::Kind::Command;
        let session = if is_command { self.session } else { 0 };
        let mut frame =
            frame::encode(message, Stamp { session, sequence: 1 }).expect("it fits a frame");
        if M::KIND.is_signed() {
            let by = key(self.key);
            signed::sign(&mut frame, self.to, |message| signature(&by, message))
                .expect("it has a place");
        }
        Event::Heard { to_all: false, frame }
    }
}

/// The device hears its hub say this.
pub fn say<M: Message>(message: &M) -> Event {
    HUB.say(message)
}
