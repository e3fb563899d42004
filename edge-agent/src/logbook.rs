//! The device's logbook: what happened on it, in a chain of lines ([`firmware_compat::logbook`]) that is kept in the state
//! directory and handed over to the hub when it is there.
//!
//! - [`book`] is the files. - [`repeats`] keeps what happens again and again from filling them. - [`pace`] decides when
//!   the hub is called. - [`keeper`] does it all, in a task of its own.
//!
//! Nothing waits for it: a logbook that can't be written costs a warning. It is no part of the link either: a hub that takes
//! no logbook is told everything else as before.

pub mod book;
pub mod keeper;
pub mod pace;
pub mod repeats;
