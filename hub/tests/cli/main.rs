//! The command line as an operator meets it: commands in, text out, against a hub in this process. Nothing here needs
//! root, a device or a network.

#[path = "../../../tests/src/docs/compare.rs"]
mod compare;

mod access;
mod commands;
mod examples;
mod images;
mod problems;
mod rollout;
mod shown;
mod support;
