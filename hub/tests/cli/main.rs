//! The command line as an operator meets it: commands in, text out, against a hub in this process. Nothing here needs
//! root, a device or a network.

#[path = "../../../tests/src/docs/compare.rs"]
mod compare;

mod access;
#[path = "../common/joined.rs"]
mod joined;

mod backup;
mod commands;
mod contexts;
mod devices;
mod examples;
mod exported;
mod images;
mod kubectl;
mod login;
mod machine;
mod problems;
mod rollout;
mod rotation;
mod script;
mod shown;
mod support;
mod trust;
