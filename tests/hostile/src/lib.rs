//! What must hold whatever bytes arrive. Each public function of this crate takes any bytes, hands them to one family
//! of parsers or to a whole core, and panics if a property is broken: that is all a fuzz target needs.
//!
//! The targets in `tests/fuzz` call these functions; `tests/replay.rs` calls them with every file of their corpora.
//! What the bytes mean differs from target to target and stands at the head of each file.

mod agent;
mod backups;
mod endpoint;
mod frames;
mod hub;
mod hub_key;
mod images;
mod layers;
mod manifests;
pub mod meter;
mod records;
mod requests;
mod script;
mod sealed;
pub mod seeds;
mod state;

pub use agent::agent;
pub use backups::backups;
pub use endpoint::endpoint;
pub use frames::frames;
pub use hub::hub;
pub use images::images;
pub use layers::layers;
pub use manifests::manifests;
pub use records::records;
pub use requests::requests;
pub use sealed::sealed;
pub use state::state;

/// A target: its name, which is also the name of its corpus' folder, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, by name.
pub const TARGETS: &[Target] = &[
    ("agent", agent),
    ("backups", backups),
    ("endpoint", endpoint),
    ("frames", frames),
    ("hub", hub),
    ("images", images),
    ("layers", layers),
    ("manifests", manifests),
    ("records", records),
    ("requests", requests),
    ("sealed", sealed),
    ("state", state),
];
