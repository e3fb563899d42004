//! The pages of `docs/`: what they show is run. A fenced block marked `console` holds commands behind `$ ` and what they
//! print; one marked with a language and a file's name (`yaml web.yaml`) is that file.
//!
//! - `...` stands for whatever changes: within a line for any text, alone on a line for any lines. Columns may be wider or
//!   narrower than on the page ([`compare`]).
//! - What only looks is looked at until it shows what the page says, since devices take their time.
//! - A command whose output ends with `^C` is ended when it has printed the rest.
//! - A command whose line ends with a backslash goes on in the next line.
//! - `lichen` and kubectl fail exactly if the page shows a line that begins with `error:` or `Error`, or with the name of an
//!   object that is invalid.
//! - Pages speak of a hub at its usual addresses; where they do, the hub of the test is meant.

pub mod compare;
mod page;
mod run;

pub use page::{Block, Page, Step};
pub use run::Desk;
