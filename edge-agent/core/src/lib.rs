//! Decisions of the agent: what to fetch, start, stop and report. No clock, no IO.
//!
//! One state machine, [`Agent`], is told what happened ([`Event`]) and when, and says what is to be done ([`Effect`]).
//! The shell around it owns the one loop:
//!
//! ```text
//! agent = Agent::new(config, what was loaded, seed)
//! agent.handle(Event::Clock { .. }, now); agent.handle(Event::Found(..), now)
//! loop {
//!     for effect in agent.drain() { carry it out, in order; slow work goes to tasks that answer with one Event }
//!     wait for an Event -> agent.handle(event, now), or for agent.poll_timeout() -> agent.handle_timeout(now)
//! }
//! ```
//!
//! - [`event`] and [`effect`] are the two closed enums between this crate and the shell.
//! - [`spec`] is a Pod with the files that it mounts, and the ids of its containers.
//! - [`config`] is what the shell says once; the tuning constants live beside the code that they steer.
//! - [`saved`] is the assignment on disk: its format, and the order of steps that survives a power cut.
//! - `assignment` takes heads and bodies to a saved assignment, and refuses what could not run.
//! - `pod` is the life of one Pod and of its containers, `artefacts` brings what they run, `backoff` paces retries.
//! - `pressure` is what the device is short of, and whom that costs.
//! - [`membership`] stands beside it: when a device renews its certificate and asks after its hub, by what time.
//! - `report` tells the hub, `journal` keeps events for it, `commands` answers it, `complaints` bounds what strangers on the
//!   network can have it told.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod agent;
pub mod config;
pub mod effect;
pub mod event;
pub mod membership;
pub mod spec;

mod artefacts;
mod assignment;
mod backoff;
mod commands;
mod complaints;
mod journal;
mod out;
mod pod;
mod pressure;
mod report;
#[cfg(test)]
mod test_support;

pub use agent::{Agent, LocalPod, Pause, ToMeasure};
pub use assignment::saved::{self, Loaded};
pub use config::{Config, SavedAssignment};
pub use effect::{Effect, Up, WakeReason};
pub use event::Event;
pub use spec::{ContainerId, PodSpec};
