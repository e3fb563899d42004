//! Where the key of the Secrets in the store is from: a file beside the hub's other keys, or one that is kept elsewhere.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use lichen_trust::{SECRETS_KEY, SecretsKeys};
use zeroize::Zeroizing;

use super::StoreError;

/// The variable that may hold the key.
pub const VARIABLE: &str = "LICHEN_SECRETS_KEY";
/// Where systemd puts what a service's `LoadCredential=` names.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// The credential.
const CREDENTIAL: &str = "lichen-secrets-key";

/// Where the key of Secrets is from.
#[derive(Clone, Default)]
pub enum KeySource {
    /// A file in the state directory, which the hub makes.
    #[default]
    Own,
    /// A file of the operator's.
    File(PathBuf),
    /// A text of the operator's.
    Text {
        /// What the file would hold.
        text: Zeroizing<String>,
        /// Where it is from, for people.
        from: String,
    },
}

impl KeySource {
    /// The file that was given, the variable, the credential of a service, or the hub's own, in this order.
    #[must_use]
    pub fn find(file: Option<PathBuf>, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        if let Some(file) = file {
            return Self::File(file);
        }
        if let Some(text) = variable(VARIABLE).filter(|text| !text.is_empty()) {
            let text = text.to_string_lossy().into_owned().into();
            return Self::Text { text, from: VARIABLE.to_owned() };
        }
        let credential = variable(CREDENTIALS).map(|dir| PathBuf::from(dir).join(CREDENTIAL));
        match credential.filter(|path| path.exists()) {
            Some(path) => Self::File(path),
            None => Self::Own,
        }
    }

    /// The hub's own file.
    #[must_use]
    pub fn own_path(state: &Path) -> PathBuf {
        state.join("trust").join(SECRETS_KEY)
    }

    /// Reads the keys. `None` if the hub's own are not there.
    pub(super) fn read(&self, state: &Path) -> Result<Option<SecretsKeys>, StoreError> {
        Ok(match self {
            Self::Own => SecretsKeys::read(&Self::own_path(state))?,
            Self::File(path) => {
                let keys = SecretsKeys::read(path)?;
                Some(keys.ok_or_else(|| StoreError::NoKeyFile(path.clone()))?)
            }
            Self::Text { text, from } => Some(SecretsKeys::parse(text, from.clone())?),
        })
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("Own"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text { from, .. } => f.debug_tuple("Text").field(from).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_before_a_variable_and_a_credential_before_the_hubs_own() {
        let dir = tempfile::tempdir().expect("a directory");
        let found = |file: Option<&str>, text: &str, with_credential: bool| {
            let path = dir.path().join(CREDENTIAL);
            match with_credential {
                true => std::fs::write(path, "key").expect("writable"),
                false => drop(std::fs::remove_file(path)),
            }
            let variable = |name: &str| match name {
                VARIABLE => Some(text.into()),
                CREDENTIALS => Some(dir.path().into()),
                _ => None,
            };
            format!("{:?}", KeySource::find(file.map(PathBuf::from), variable))
        };
        assert_eq!(found(Some("/key"), "hunter2", true), "File(\"/key\")");
        assert_eq!(found(None, "hunter2", true), "Text(\"LICHEN_SECRETS_KEY\")");
        assert!(found(None, "", true).ends_with("lichen-secrets-key\")"));
        assert_eq!(found(None, "", false), "Own");
    }
}
