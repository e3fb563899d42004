//! How a device watches over a container while it runs. Compiled once per form, see [`crate::v1`].

use serde::{Deserialize, Serialize};

/// What is asked of a container, and done at its start and end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervision {}
