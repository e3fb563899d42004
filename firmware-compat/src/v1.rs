//! Messages of protocol version 1. One definition, `v1/messages.rs`, is compiled twice: with fixed capacities and,
//! with the feature `alloc`, owned. Both write and read the same bytes.

pub mod fixed;
#[cfg(feature = "alloc")]
pub mod owned;
