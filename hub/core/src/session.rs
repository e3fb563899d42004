//! The hub's side of what is said with devices: who is there, what was not heard, what they report, what they are
//! assigned, what they are asked to do, and frames that can't be taken.

pub(crate) mod assignment;
pub(crate) mod commands;
pub(crate) mod gaps;
pub(crate) mod hello;
pub(crate) mod rejected_frames;
pub(crate) mod report;

pub use gaps::ReportRequest;
