//! The hub's HTTP interface as a client meets it: a whole hub in this process, on loopback, with a store in memory or on
//! disk. Nothing here needs root or a network.

mod access;
mod audit;
mod backup;
mod durability;
mod jobs;
#[path = "../common/joined.rs"]
mod joined;
mod kinds;
mod kubectl;
mod limits;
mod lists;
mod logs;
mod objects;
mod registry;
mod reviews;
mod support;
mod tokens;
mod watch;
