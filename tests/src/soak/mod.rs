//! A soak: the real programs, changed without pause and killed at random, and an auditor that knows what must be true
//! afterwards.
//!
//! A run starts a hub, a broker (embedded, or a Mosquitto beside it) and several devices on this machine, each with an
//! agent and a state directory of its own, which run containers (crun on one, runc on the others) and WebAssembly. For a
//! bounded time three threads work at once:
//!
//! - [`operator`] changes objects through the API, one request after another, and keeps every answer;
//! - [`chaos`] ends hub, agents, broker, shims, clean-ups and the workloads' own processes with `kill -9`, some of them at
//!   the moments that are hardest to survive, lets hub and agents stand still, and starts programs again after a random
//!   short pause;
//! - [`watcher`] reads the API and notes Pods that do not run and have no reason for it.
//!
//! Then the faults stop, [`fleet`] waits until the devices run what the API declares, and [`judge`] compares what was found
//! with the [`history`]:
//!
//! | what must be true | judged by |
//! |---|---|
//! | nothing that the API accepted is missing or older; nothing that it deleted is back | [`ledger`] |
//! | every start of a Pod has a cause: an accepted change, or the end of the run before by the test's own hand | [`judge::starts`] |
//! | no start runs a program twice | [`judge::marks`] |
//! | every Pod that does not run has a reason | [`judge::reasons`] |
//! | what runs is what is declared, and nothing else | [`converge`] |
//! | once all is deleted and the agents are stopped: no process, mount, cgroup, socket or run directory | [`leftovers`] |
//! | the hub's store opens again; no program has panicked | [`converge`] |
//!
//! Where the history comes from: the operator and the chaos write down what they do *before* they do it and what came of it
//! after; starts are written down by [`recorder`], a few lines of shell that every agent has in place of its shim and that
//! become the shim; programs leave a line in a file each time that they begin ([`workloads`]).
//!
//! Choices come from the seed; when they take effect is up to the machine, so a seed gives the same kind of run and not the
//! same run. A failure prints the seed and the history as a story. Each judge is a function of what was recorded and has a
//! canary: a doctored history, or a real orphan, that it must notice.
//!
//! `make soak MINUTES=10 SEED=7` runs both variants for ten minutes each; `make test` runs them for half a minute.

pub mod chaos;
pub mod converge;
pub mod dice;
pub mod fleet;
pub mod history;
pub mod judge;
pub mod ledger;
pub mod leftovers;
pub mod operator;
pub mod recorder;
pub mod watcher;
pub mod workloads;

mod run;

pub use run::{Broker, Settings, run};
