//! The messages for microcontrollers: fixed capacities, no allocator.

#![expect(
    clippy::large_enum_variant,
    reason = "everything is in place: there is no allocator to box with"
)]

use crate::capacity::small as capacity;
pub use crate::form::fixed::{Bytes, List, Text};

#[path = "messages.rs"]
mod messages;
pub use messages::*;
