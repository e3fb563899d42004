//! The group `lichen.dev/v1`: what only the edge needs. Who may be a device of this hub.

pub mod enrolment;
pub mod join_token;

pub use enrolment::Enrolment;
pub use join_token::JoinToken;

use super::resource::Names;

impl Names {
    /// A kind of this group, of the whole hub.
    pub const LICHEN: Self = Self {
        api_version: "lichen.dev/v1",
        namespaced: false,
        categories: &["lichen"],
        longest_name: 63,
        ..Self::CORE
    };
}
