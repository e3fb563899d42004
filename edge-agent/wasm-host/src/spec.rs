//! What to run: the file that the agent writes and this process reads.
//!
//! A spec that holds what must be on no disk is handed over in memory instead, as this process's standard input.
//!
//! The file is one version byte and a postcard body. It is written and read by the same program on
//! the same machine, but an upgrade may fall between the two, so the version is checked.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Raised when [`Run`] changes shape.
const VERSION: u8 = 2;

/// A spec is a few paths and variables. Kernel limits on arguments and environment are in the same
/// range, so nothing sensible is larger.
pub const MAX_SPEC_BYTES: u64 = 4 << 20;

/// In the place of a file's path: the spec is this process's standard input.
pub const STANDARD_INPUT: &str = "-";

/// One run of a precompiled artefact.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The precompiled module or component. Its digest has been checked.
    pub artefact: PathBuf,
    /// The guest's arguments, the program's name first.
    pub args: Vec<String>,
    /// The guest's environment. Nothing is inherited from this process.
    pub env: Vec<(String, String)>,
    /// The directories that the guest sees. Without any it has no file system.
    pub preopens: Vec<Preopen>,
    /// The most that all linear memories and tables together may hold, in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Whether the guest may use sockets and resolve names.
    pub network: bool,
    /// The user and group that this process becomes, if it is root. Absent, it stays who it is, without privileges.
    pub user: Option<(u32, u32)>,
    /// With a user: the groups that it is in besides.
    pub groups: Vec<u32>,
}

/// One directory of the host that the guest sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preopen {
    /// A directory on the host, which others may write to.
    pub host: PathBuf,
    /// The way down from there, as [`lichen_shim::beneath`] takes it; empty for the directory itself.
    pub inner: PathBuf,
    /// Where the guest sees it.
    pub guest: String,
    /// Whether writes are refused.
    pub read_only: bool,
}

/// Why a spec could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The file could not be read.
    #[error("could not read run spec {path}")]
    Unreadable {
        /// The spec file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a spec.
    #[error("run spec {path} is damaged: {cause}")]
    Damaged {
        /// The spec file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// A path in the spec cannot be written down.
    #[error("could not encode a run spec: paths must be UTF-8")]
    Unencodable,
}

impl Run {
    /// The bytes of the spec file.
    ///
    /// # Errors
    /// [`SpecError::Unencodable`] when a path is not UTF-8.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SpecError> {
        let mut bytes = vec![VERSION];
        let body = postcard::to_allocvec(self).map_err(|_| SpecError::Unencodable)?;
        bytes.extend(body);
        Ok(bytes)
    }

    /// Reads a spec file, or standard input in the place of [`STANDARD_INPUT`], which is empty from then on.
    ///
    /// # Errors
    /// [`SpecError::Unreadable`] and [`SpecError::Damaged`] name the file.
    pub fn from_file(path: &Path) -> Result<Run, SpecError> {
        use std::io::Read;
        let unreadable = |source| SpecError::Unreadable { path: path.to_owned(), source };
        if path == Path::new(STANDARD_INPUT) {
            let bytes = lichen_shim::take_input(MAX_SPEC_BYTES).map_err(unreadable)?;
            return decode(&bytes)
                .map_err(|cause| SpecError::Damaged { path: path.to_owned(), cause });
        }
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(MAX_SPEC_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        decode(&bytes).map_err(|cause| SpecError::Damaged { path: path.to_owned(), cause })
    }
}

fn decode(bytes: &[u8]) -> Result<Run, String> {
    if bytes.len() as u64 > MAX_SPEC_BYTES {
        return Err(format!("it is larger than {MAX_SPEC_BYTES} bytes"));
    }
    match bytes.split_first() {
        Some((&VERSION, body)) => match postcard::take_from_bytes(body) {
            Ok((run, [])) => Ok(run),
            Ok((_, rest)) => Err(format!("{} bytes are left over", rest.len())),
            Err(error) => Err(error.to_string()),
        },
        Some((version, _)) => {
            Err(format!("it has version {version}, this program reads version {VERSION}"))
        }
        None => Err("it is empty".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Run {
        Run {
            artefact: "/var/lib/lichen/a.cwasm".into(),
            args: vec!["hello".into(), "--loud".into()],
            env: vec![("NAME".into(), "moss".into())],
            preopens: vec![Preopen {
                host: "/srv".into(),
                inner: "part".into(),
                guest: "/data".into(),
                read_only: true,
            }],
            memory_limit_bytes: Some(16 << 20),
            network: false,
            user: Some((1000, 1000)),
            groups: vec![20],
        }
    }

    #[test]
    fn a_spec_is_read_back_as_it_was_written() {
        let bytes = sample().to_bytes().expect("paths are UTF-8");
        assert_eq!(decode(&bytes), Ok(sample()));
    }

    #[test]
    fn a_spec_of_another_version_is_refused_by_number() {
        let mut bytes = sample().to_bytes().expect("paths are UTF-8");
        bytes[0] = 9;
        assert!(decode(&bytes).expect_err("version 9 is unknown").contains("version 9"));
    }

    proptest! {
        #[test]
        fn random_bytes_are_never_a_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }

        #[test]
        fn a_truncated_spec_is_refused(keep in 0usize..60) {
            let bytes = sample().to_bytes().expect("paths are UTF-8");
            prop_assume!(keep < bytes.len());
            prop_assert!(decode(&bytes[..keep]).is_err());
        }
    }
}
