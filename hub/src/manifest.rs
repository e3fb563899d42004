//! From what an operator wrote to an object of the API: strict about fields, silent about values. Whether values make
//! sense is the engine's to say.

pub mod decode;
mod harmless;
mod strict;

pub use decode::decode;
