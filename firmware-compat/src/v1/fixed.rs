//! The messages for microcontrollers: fixed capacities, no allocator.

#![expect(
    clippy::large_enum_variant,
    reason = "everything is in place: there is no allocator to box with"
)]

use crate::capacity::small as capacity;
pub use crate::form::fixed::{Bytes, List, Text};

#[path = "assignment.rs"]
mod assignment;
#[path = "claim.rs"]
mod claim;
#[path = "command.rs"]
mod command;
#[path = "condition.rs"]
mod condition;
#[path = "facts.rs"]
mod facts;
#[path = "hello.rs"]
mod hello;
#[path = "names.rs"]
mod names;
#[path = "pod.rs"]
mod pod;
#[path = "security.rs"]
mod security;
#[path = "status.rs"]
mod status;
#[path = "supervision.rs"]
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
