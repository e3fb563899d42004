//! The fields of an entry, read one by one: what is not known is refused by its name, and paths are the file's own.

use std::path::PathBuf;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value};

use super::{Entry, KubeconfigError, file};

/// The fields of one entry.
pub(super) struct Fields<'a> {
    entry: &'a Entry<'a>,
    fields: Option<&'a Map<String, Value>>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(entry: &'a Entry<'a>) -> Self {
        Self { entry, fields: entry.value.as_object() }
    }

    /// Refuses every field that is not known; for some it is said what to do instead.
    pub(super) fn only(
        self,
        known: &[&str],
        refused: &[(&str, &str)],
    ) -> Result<Self, KubeconfigError> {
        let Self { entry, fields } = &self;
        for (name, value) in fields.iter().copied().flatten() {
            let is_set = !matches!(value, Value::Null | Value::Bool(false)) && value != "";
            if !is_set || known.contains(&name.as_str()) {
                continue;
            }
            let why = refused.iter().find(|(refused, _)| refused == name);
            let why = why.map_or("is not known here; remove it", |(_, why)| why);
            return Err(entry.wrong(name, why));
        }
        Ok(self)
    }

    /// A text, if it is there and not empty.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, KubeconfigError> {
        match self.fields.and_then(|fields| fields.get(name)) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(self.entry.wrong(name, "must be a text")),
        }
    }

    /// A path, as seen from the kubeconfig.
    fn path(&self, name: &str) -> Result<Option<PathBuf>, KubeconfigError> {
        let base = self.entry.path.parent();
        let text = self.text(name)?;
        Ok(text.map(|text| base.map_or_else(|| PathBuf::from(text), |base| base.join(text))))
    }

    /// Bytes that stand in the kubeconfig (`NAME-data`) or in a file that it names. The first counts, as in kubectl.
    pub(super) fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, KubeconfigError> {
        let data = format!("{name}-data");
        if let Some(text) = self.text(&data)? {
            let bytes = BASE64.decode(text.trim());
            return bytes.map(Some).map_err(|_| self.entry.wrong(&data, "is not base64"));
        }
        self.file(name)
    }

    /// The content of a file that the kubeconfig names.
    pub(super) fn file(&self, name: &str) -> Result<Option<Vec<u8>>, KubeconfigError> {
        let Some(path) = self.path(name)? else { return Ok(None) };
        match file::read_bytes(&path)? {
            Some(bytes) => Ok(Some(bytes)),
            None => {
                let cause = format!("there is no file {}", path.display());
                Err(self.entry.wrong(name, &cause))
            }
        }
    }

    /// Which of the two fields for some bytes is there, for messages.
    pub(super) fn said(&self, name: &str) -> String {
        let data = format!("{name}-data");
        let is_there = self.fields.is_some_and(|fields| fields.contains_key(&data));
        if is_there { data } else { name.to_owned() }
    }
}
