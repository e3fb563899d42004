//! Decisions of the hub: objects, fleet, scheduling, assignments. No clock, no IO.
//!
//! The shell hands [`engine::Engine`] one [`event::Event`] after another and carries out the [`effect::Effect`]s that
//! it drains, in order: what must be durable comes first, what leaves the process after.
//!
//! [`state`] is what is known, [`controller`] and [`scheduler`] decide as pure functions, `apply` carries plans out,
//! `session` speaks with devices, in words that [`signing`] lets them know as the hub's; `view` and `explain` show.
//! [`admission`] says who comes in at the devices' door, [`authorizer`] who may do what, [`review`] answers questions about it.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod actor;
pub mod admission;
pub mod api;
mod apply;
pub mod authorizer;
mod claims;
pub mod controller;
pub mod device;
pub mod effect;
pub mod engine;
mod enrolment;
pub mod event;
mod explain;
pub mod hidden;
pub mod limits;
mod load;
pub mod parts;
pub mod pod;
pub mod pod_security;
mod provisioning;
pub mod record;
mod recorder;
pub mod registry;
pub mod resolve;
pub mod review;
pub mod rng;
pub mod scheduler;
pub mod sealing;
mod session;
pub mod signing;
pub mod state;
mod view;
