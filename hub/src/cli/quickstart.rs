//! Stub.
use super::{Context, args::QuickstartArgs, error::CliError};
pub fn run(_: &mut Context, _: QuickstartArgs) -> Result<(), CliError> { Ok(()) }
