//! From what an operator wrote to an object of the API: strict about fields, silent about values. Whether values make
//! sense is the engine's to say.
//!
//! - [`decode()`]: JSON to an object, for the API and for files alike.
//! - [`read`] and [`check`]: files to objects, with line and column for everything that is wrong ([`report`]).

pub mod check;
pub mod decode;
mod harmless;
pub mod node;
pub mod read;
pub mod report;
mod scalar;
mod strict;
mod yaml;

pub use decode::decode;
pub use report::{Problem, Problems, Source};
pub(crate) use strict::nearest;
