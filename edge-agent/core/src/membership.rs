//! The device as a member of one hub: when its certificate is to be replaced, and when the hub is called for that. Pure
//! functions of two clocks: one that only counts, and known time, which the hub's word alone raises. What calls the hub is
//! the shell.
//!
//! - [`due`] says when a certificate is to be replaced. - [`upkeep`] says when to renew it, and when to ask the hub what has
//!   changed. - [`known_time`] is the time that has certainly passed.

pub mod due;
pub mod known_time;
pub mod upkeep;
