//! The command line as an operator meets it: commands in, text out, against a hub in this process. Nothing here needs
//! root, a device or a network.

mod commands;
mod examples;
mod images;
mod problems;
mod support;
