//! Decisions of the hub: objects, fleet, scheduling, assignments. No clock, no IO.
//!
//! The shell hands [`engine::Engine`] one [`event::Event`] after another and carries out the [`effect::Effect`]s that
//! it drains, in order: what must be durable comes first, what leaves the process after.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod api;
pub mod device;
pub mod effect;
pub mod engine;
pub mod event;
pub mod parts;
pub mod pod;
pub mod record;
pub mod registry;
pub mod resolve;
pub mod rng;
pub mod schedule;
