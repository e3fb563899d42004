//! The hub's side of what is said with devices: who is there, and whether it is two, what was not heard, what they report, what they are
//! assigned, what they are asked to do, and frames that can't be taken; and what the hub says: `voice` signs it, with the time
//! of `known_time`, and `keys` are those that devices know it by.

pub(crate) mod assignment;
pub(crate) mod boards;
pub(crate) mod commands;
pub(crate) mod gaps;
pub(crate) mod hello;
pub(crate) mod keys;
pub(crate) mod known_time;
pub(crate) mod rejected_frames;
pub(crate) mod report;
pub(crate) mod voice;

pub use boards::Boards;
pub use gaps::ReportRequest;
pub use voice::SignedHead;
