//! The messages for the hub and boards: String and Vec, bounded.

use crate::capacity::full as capacity;
pub use crate::form::owned::{Bytes, List, Text, TooLong};

#[path = "assignment.rs"]
#[expect(clippy::duplicate_mod, reason = "one definition of the messages, two forms of them")]
mod assignment;
#[path = "claim.rs"]
#[expect(clippy::duplicate_mod, reason = "one definition of the messages, two forms of them")]
mod claim;
#[path = "command.rs"]
#[expect(clippy::duplicate_mod, reason = "one definition of the messages, two forms of them")]
mod command;
#[path = "condition.rs"]
#[expect(clippy::duplicate_mod, reason = "one definition of the messages, two forms of them")]
mod condition;
#[path = "facts.rs"]
#[expect(clippy::duplicate_mod, reason = "one definition of the messages, two forms of them")]
mod facts;
#[path = "hello.rs"]
#[expect(clippy::duplicate_mod, reason = "one definition of the messages, two forms of them")]
mod hello;
#[path = "names.rs"]
#[expect(clippy::duplicate_mod, reason = "one definition of the messages, two forms of them")]
mod names;
#[path = "pod.rs"]
#[expect(clippy::duplicate_mod, reason = "one definition of the messages, two forms of them")]
mod pod;
#[path = "security.rs"]
#[expect(clippy::duplicate_mod, reason = "one definition of the messages, two forms of them")]
mod security;
#[path = "status.rs"]
#[expect(clippy::duplicate_mod, reason = "one definition of the messages, two forms of them")]
mod status;
#[path = "supervision.rs"]
#[expect(clippy::duplicate_mod, reason = "one definition of the messages, two forms of them")]
mod supervision;

pub use assignment::*;
pub use claim::*;
pub use command::*;
pub use condition::*;
pub use facts::*;
pub use hello::*;
pub use names::*;
pub use pod::*;
pub use security::*;
pub use status::*;
pub use supervision::*;
