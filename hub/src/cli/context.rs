//! What every command is given: the hub, its kinds, and where output goes.

use std::cell::OnceCell;

use serde_json::Value;

use super::{
    args::NamespaceArg,
    client::Client,
    discovery::{Discovery, ObjectRef},
    error::CliError,
    kinds::{self, DEFAULT_NAMESPACE},
    ui::Ui,
};

/// What every command is given.
pub struct Context {
    /// The hub.
    pub client: Client,
    /// Where output goes.
    pub ui: Ui,
    discovery: OnceCell<Discovery>,
}

impl Context {
    /// For one command.
    #[must_use]
    pub fn new(client: Client, ui: Ui) -> Self {
        Self { client, ui, discovery: OnceCell::new() }
    }

    /// The hub's kinds; it is asked once.
    ///
    /// # Errors
    /// The hub can't be reached.
    pub fn discovery(&self) -> Result<&Discovery, CliError> {
        if let Some(known) = self.discovery.get() {
            return Ok(known);
        }
        let read = Discovery::read(&self.client)?;
        Ok(self.discovery.get_or_init(|| read))
    }

    /// Where objects are: where the command line says, or the context of the hub.
    #[must_use]
    pub fn namespace(&self, given: &NamespaceArg) -> String {
        let usual = || {
            // Why the hub is not known is told by what is asked of it.
            let connection = self.client.connection().ok();
            connection.and_then(|connection| connection.namespace.clone())
        };
        given.namespace.clone().or_else(usual).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
    }

    /// Objects by `KIND NAME…` or `KIND/NAME…`.
    ///
    /// # Errors
    /// An unknown kind, no name, or the hub can't be reached.
    pub fn objects(
        &self,
        words: &[String],
        namespace: &str,
        verb: &str,
    ) -> Result<Vec<ObjectRef>, CliError> {
        kinds::objects(self.discovery()?, words, namespace, verb)
    }

    /// Reads an object that must be there.
    ///
    /// # Errors
    /// It isn't, or the hub can't be reached.
    pub fn must_read(&self, object: &ObjectRef) -> Result<Value, CliError> {
        self.client.read(object)?.ok_or_else(|| object.not_found())
    }
}
