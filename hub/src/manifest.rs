//! From what an operator wrote to an object of the API: strict about fields, silent about values. Whether values make
//! sense is the engine's to say.
//!
//! - [`decode()`]: JSON to an object, for the API and for files alike. [`remarks()`]: what may not be what was meant.
//! - [`read`] and [`check`]: files to objects, with line and column for everything that is wrong ([`report`]).

pub mod check;
pub mod decode;

pub mod read;
pub mod remarks;
pub mod report;
mod scalar;
mod strict;
pub mod yaml;

pub use decode::decode;
pub use read::Manifest;
pub use remarks::remarks;
pub use report::{Problem, Problems, Source};
pub(crate) use strict::{nearest, read as read_fields};

/// The one document of a YAML text, as a plain value: for the API's bodies, which need no positions.
///
/// # Errors
/// What is wrong, with line and column.
pub(crate) fn value(text: &str) -> Result<serde_json::Value, String> {
    let documents = yaml::parse(text).map_err(|error| {
        format!("line {}, column {}: {}", error.at.line, error.at.column, error.cause)
    })?;
    match documents.as_slice() {
        [document] => Ok(document.to_value()),
        documents => Err(format!("it has {} documents; send one at a time", documents.len())),
    }
}
