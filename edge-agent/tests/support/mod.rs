//! What the tests of the agent's shell share.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a failing test should panic")]

pub mod authority;
pub mod endpoint;
pub mod http;
pub mod hub;
pub mod image;
pub mod machine;
pub mod world;
