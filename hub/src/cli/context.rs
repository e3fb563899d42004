//! What every command is given: the hub, and where output goes.

use lichen_hub_core::api::{Key, Object};
use serde_json::Value;

use super::{
    client::{Client, object_of},
    error::CliError,
    kinds,
    ui::Ui,
};

/// What every command is given.
pub struct Context {
    /// The hub.
    pub client: Client,
    /// Where output goes.
    pub ui: Ui,
}

impl Context {
    /// Reads an object that must be there.
    ///
    /// # Errors
    /// It isn't, or the hub can't be reached.
    pub fn must_read(&self, key: &Key) -> Result<(Value, Object), CliError> {
        let value = self.client.read(key)?.ok_or_else(|| kinds::not_found(key))?;
        let object = object_of(key.kind, &value)?;
        Ok((value, object))
    }
}
