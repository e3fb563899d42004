//! The messages for the hub and boards: String and Vec, bounded.

use crate::capacity::full as capacity;
pub use crate::form::owned::{Bytes, List, Text, TooLong};

#[path = "messages.rs"]
#[expect(clippy::duplicate_mod, reason = "one definition of the messages, two forms of them")]
mod messages;
pub use messages::*;
