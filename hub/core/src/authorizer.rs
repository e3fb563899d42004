//! Who may do what: Kubernetes' role-based access control, as a pure function from rules and a request to a decision.
//!
//! - [`Attributes`] is a request in the terms of rules; [`Rules`] holds the roles and bindings that there are.
//! - [`Rules::decide`] allows what some rule allows, and nothing else; [`MASTERS`](crate::actor::MASTERS) may do
//!   everything.
//! - [`Rules::held`] is everything that somebody has in a namespace.
//! - [`check_grant`] keeps whoever writes roles and bindings from giving away what they do not have themselves.
//!
//! [`defaults`] are the roles that every hub has. The hub's server asks before a request goes to any handler, against rules that it keeps in step with its watch cache.
//! The engine asks itself only what nobody else can know in time: whether a role or a binding may be stored.

mod attributes;
pub mod defaults;
mod escalation;
mod index;
mod matching;

pub use attributes::{Attributes, ResourceTarget, Target};
pub use escalation::check_grant;
pub use index::{Decision, Grant, Rules};

#[cfg(test)]
mod tests;
