//! Who comes in at the devices' door. The engine says who is a device ([`crate::effect::Effect::Admit`] and its
//! counterparts); here it is decided, for each connection, whether it is that device's, by three questions in this order:
//!
//! - [`validity`]: is the certificate still good, and for what?
//! - [`roster`]: has the engine let this device in, with this key?
//! - [`boards`]: is it the board that has the name, or one with a copy of its card?
//!
//! The sockets are the endpoint's (`hub/link`), which calls this under its one lock.

pub mod boards;
pub mod roster;
pub mod validity;
