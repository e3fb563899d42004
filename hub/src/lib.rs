//! The hub's shell and the operator's command line.
