//! What one shim is told to run: `Spec`, stored as `shim.spec` before the shim is spawned.
//!
//! This file owns the types and their validation. Where the file lives is in [`crate::run_dir`]; what the
//! shim does with it is in `supervise`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::beneath::is_inner;

/// Most layers of one image, the number that container tools have settled on. It also keeps the mount
/// options, 18 bytes a layer, inside the one page that `mount(2)` takes.
pub const MAX_LAYERS: usize = 128;

/// Smallest bound of one log file: the longest line with its header must fit.
pub const MIN_LOG_BYTES: u64 = 32 * 1024;

/// Most log files of one container; a bound on the work of one rotation.
pub const MAX_LOG_FILES: u32 = 64;

/// Everything a shim needs to know about the run that it supervises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// What to run.
    pub kind: Kind,
    /// Bounds of the stored output.
    pub log: LogLimits,
    /// What humans call the container (`namespace/name`); shown in the process list, never interpreted.
    pub label: String,
}

/// The two ways in which a shim runs a container of a Pod. Variants are appended, never reordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A program that is a direct child of the shim.
    Process(Process),
    /// A container that an OCI runtime creates.
    Container(Container),
}

/// A program run without a container, such as the Wasm host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The program and its arguments; never passed through a shell.
    pub argv: Vec<String>,
    /// The whole environment: nothing is inherited.
    pub env: Vec<(String, String)>,
    /// Absolute working directory.
    pub cwd: PathBuf,
    /// Whether its standard input is what the run was given in [`crate::Private`]; otherwise it has none.
    pub private: bool,
    /// The cgroup that it is to be in, with all that it starts. As for a container, nobody else's has this path.
    pub group: Option<Group>,
}

/// A control group, and what those in it may use together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its path in every hierarchy, such as `lichen/<Pod>/<container>`.
    pub path: String,
    /// What they may use.
    pub limits: Limits,
}

/// What processes may use together. 0 for no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Their share of the CPU under contention, in thousandths of a core.
    pub cpu_request_milli: u64,
    /// Most CPU, in thousandths of a core.
    pub cpu_limit_milli: u64,
    /// Most memory, in bytes.
    pub memory_bytes: u64,
    /// Most processes and threads.
    pub pids: u64,
}

/// A container, described by an OCI bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Absolute path of `crun`, `runc` or `youki`.
    pub runtime: PathBuf,
    /// Global arguments of the runtime, before the verb (`--cgroup-manager=disabled`).
    pub runtime_args: Vec<String>,
    /// The container's id for the runtime: letters, digits, `_`, `.`, `-`.
    pub id: String,
    /// Absolute directory with `config.json`.
    pub bundle: PathBuf,
    /// Root file system to mount first; `None` when the bundle brings a plain directory.
    pub overlay: Option<Overlay>,
    /// Its cgroup in every hierarchy, such as `lichen/<Pod>/<container>`; `None` if the runtime makes none. Nobody else's
    /// group has this path: whoever is in it at the end is killed.
    pub cgroup: Option<String>,
    /// Mount a fresh cgroup2 over `/sys/fs/cgroup` for the runtime. For machines whose cgroups are mixed
    /// v1 and v2, which crun refuses; limits are not enforced then.
    pub private_cgroup2: bool,
    /// Parts of volumes that the bundle's mounts name by their targets.
    pub sub_paths: Vec<SubPath>,
    /// Whether `config.json` is what the run was given in [`crate::Private`]. Then it is on no disk, and neither is what the
    /// runtime writes of it.
    pub private: bool,
}

/// A part of a volume, shown at a place of the shim's own before the runtime mounts it from there. By the volume's path, the
/// runtime could be led elsewhere: see [`crate::beneath`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubPath {
    /// Absolute directory that containers may write to.
    pub volume: PathBuf,
    /// The way down from there.
    pub inner: PathBuf,
    /// Absolute path that nobody else writes to; made if it is missing.
    pub target: PathBuf,
}

/// An overlay mount, made in the shim's own mount namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Absolute layer directories, topmost first.
    pub lower: Vec<PathBuf>,
    /// Absolute directory that takes the writes.
    pub upper: PathBuf,
    /// Absolute empty directory on the same file system as `upper`.
    pub work: PathBuf,
    /// Absolute directory to mount on; made if it is missing.
    pub target: PathBuf,
}

/// Bounds of the log: `log`, `log.1` … `log.<files - 1>`, each at most `bytes_per_file`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// Bytes of one file, at least [`MIN_LOG_BYTES`].
    pub bytes_per_file: u64,
    /// Number of files, `log` included; 1 to [`MAX_LOG_FILES`].
    pub files: u32,
}

impl Default for LogLimits {
    /// Two files of 1 MiB: small boards have little flash.
    fn default() -> Self {
        Self { bytes_per_file: 1024 * 1024, files: 2 }
    }
}

/// Why a spec cannot be run. Found before anything is spawned.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A path would depend on somebody's working directory.
    #[error("{field} is `{}`: it must be an absolute path", path.display())]
    Relative {
        /// Name of the field.
        field: &'static str,
        /// What was given.
        path: PathBuf,
    },
    /// There is no program to run.
    #[error("argv is empty: name the program to run")]
    NoProgram,
    /// A string that the kernel would cut short.
    #[error("{field} contains a NUL byte, which no argument, variable or path can carry")]
    Nul {
        /// Name of the field.
        field: &'static str,
    },
    /// A path that cannot be stored.
    #[error("{field} is `{}`: paths must be UTF-8", path.display())]
    NotText {
        /// Name of the field.
        field: &'static str,
        /// What was given.
        path: PathBuf,
    },
    /// A variable name that `environ` cannot express.
    #[error("environment variable `{name}`: a name is not empty and has no `=`")]
    Variable {
        /// The name.
        name: String,
    },
    /// An id that a runtime would refuse or read as an option.
    #[error(
        "container id `{id}`: use 1 to 128 letters, digits, `_`, `.`, `-`, starting with a letter or digit"
    )]
    Id {
        /// What was given.
        id: String,
    },
    /// A cgroup that could be another's.
    #[error("cgroup `{path}`: use relative paths whose parts are like container ids")]
    Cgroup {
        /// What was given.
        path: String,
    },
    /// A way that could lead out of a volume.
    #[error("sub path `{}`: it must be relative and have no `.` or `..`", path.display())]
    Inner {
        /// What was given.
        path: PathBuf,
    },
    /// No layer, or more than overlayfs takes.
    #[error("overlay with {count} layers: 1 to {MAX_LAYERS} are possible")]
    Layers {
        /// How many were given.
        count: usize,
    },
    /// Log limits outside their bounds.
    #[error(
        "log of {files} files of {bytes} bytes: 1 to {MAX_LOG_FILES} files of at least {MIN_LOG_BYTES} bytes are possible"
    )]
    Log {
        /// Files asked for.
        files: u32,
        /// Bytes per file asked for.
        bytes: u64,
    },
}

impl Kind {
    /// Whether a part of it is in [`crate::Private`].
    #[must_use]
    pub fn is_private(&self) -> bool {
        match self {
            Self::Process(process) => process.private,
            Self::Container(container) => container.private,
        }
    }
}

impl Spec {
    /// Checks everything that can be checked without touching the machine.
    pub fn validate(&self) -> Result<(), SpecError> {
        let LogLimits { bytes_per_file: bytes, files } = self.log;
        if bytes < MIN_LOG_BYTES || files == 0 || files > MAX_LOG_FILES {
            return Err(SpecError::Log { files, bytes });
        }
        match &self.kind {
            Kind::Process(process) => process.validate(),
            Kind::Container(container) => container.validate(),
        }
    }
}

impl Process {
    fn validate(&self) -> Result<(), SpecError> {
        if self.argv.first().is_none_or(String::is_empty) {
            return Err(SpecError::NoProgram);
        }
        for word in &self.argv {
            without_nul("argv", word)?;
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains('=') {
                return Err(SpecError::Variable { name: name.clone() });
            }
            without_nul("env", name)?;
            without_nul("env", value)?;
        }
        if let Some(group) = self.group.as_ref().filter(|group| !is_cgroup(&group.path)) {
            return Err(SpecError::Cgroup { path: group.path.clone() });
        }
        absolute("cwd", &self.cwd)
    }
}

impl Container {
    fn validate(&self) -> Result<(), SpecError> {
        absolute("runtime", &self.runtime)?;
        absolute("bundle", &self.bundle)?;
        for word in &self.runtime_args {
            without_nul("runtime_args", word)?;
        }
        if !is_container_id(&self.id) {
            return Err(SpecError::Id { id: self.id.clone() });
        }
        if let Some(cgroup) = self.cgroup.as_ref().filter(|path| !is_cgroup(path)) {
            return Err(SpecError::Cgroup { path: cgroup.clone() });
        }
        self.sub_paths.iter().try_for_each(SubPath::validate)?;
        self.overlay.as_ref().map_or(Ok(()), Overlay::validate)
    }
}

impl SubPath {
    fn validate(&self) -> Result<(), SpecError> {
        absolute("sub_paths.volume", &self.volume)?;
        absolute("sub_paths.target", &self.target)?;
        match is_inner(&self.inner) && self.inner.to_str().is_some() {
            true => Ok(()),
            false => Err(SpecError::Inner { path: self.inner.clone() }),
        }
    }
}

impl Overlay {
    fn validate(&self) -> Result<(), SpecError> {
        let count = self.lower.len();
        if count == 0 || count > MAX_LAYERS {
            return Err(SpecError::Layers { count });
        }
        for layer in &self.lower {
            absolute("overlay.lower", layer)?;
        }
        absolute("overlay.upper", &self.upper)?;
        absolute("overlay.work", &self.work)?;
        absolute("overlay.target", &self.target)
    }
}

/// A path whose removal reaches nothing else: each part is named like a container.
fn is_cgroup(path: &str) -> bool {
    path.split('/').all(is_container_id)
}

fn is_container_id(id: &str) -> bool {
    id.len() <= 128
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn without_nul(field: &'static str, text: &str) -> Result<(), SpecError> {
    if text.contains('\0') { Err(SpecError::Nul { field }) } else { Ok(()) }
}

fn absolute(field: &'static str, path: &Path) -> Result<(), SpecError> {
    if !path.is_absolute() {
        return Err(SpecError::Relative { field, path: path.to_owned() });
    }
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(SpecError::Nul { field });
    }
    if path.to_str().is_none() {
        return Err(SpecError::NotText { field, path: path.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(argv: &[&str]) -> Spec {
        Spec {
            kind: Kind::Process(Process {
                argv: argv.iter().map(|&word| word.to_owned()).collect(),
                env: Vec::new(),
                cwd: "/".into(),
                private: false,
                group: None,
            }),
            log: LogLimits::default(),
            label: "default/test".into(),
        }
    }

    fn container(id: &str, layers: usize) -> Spec {
        let layer = |index| PathBuf::from(format!("/layers/{index}"));
        Spec {
            kind: Kind::Container(Container {
                runtime: "/usr/bin/crun".into(),
                runtime_args: Vec::new(),
                id: id.into(),
                bundle: "/bundle".into(),
                overlay: Some(Overlay {
                    lower: (0..layers).map(layer).collect(),
                    upper: "/upper".into(),
                    work: "/work".into(),
                    target: "/bundle/rootfs".into(),
                }),
                cgroup: Some("lichen/a".into()),
                private_cgroup2: false,
                sub_paths: Vec::new(),
                private: false,
            }),
            ..process(&["x"])
        }
    }

    #[test]
    fn sound_specs_are_accepted() {
        assert_eq!(process(&["/bin/true"]).validate(), Ok(()));
        assert_eq!(container("web-0.1_a", MAX_LAYERS).validate(), Ok(()));
    }

    #[test]
    fn an_empty_command_is_refused() {
        assert_eq!(process(&[]).validate(), Err(SpecError::NoProgram));
        assert_eq!(process(&[""]).validate(), Err(SpecError::NoProgram));
    }

    #[test]
    fn ids_that_a_runtime_would_misread_are_refused() {
        for id in ["", "-rf", "a/b", "..", "a b", "ü"] {
            assert!(matches!(container(id, 1).validate(), Err(SpecError::Id { .. })), "{id}");
        }
    }

    #[test]
    fn cgroups_that_could_be_anothers_are_refused() {
        for path in ["", "/", "/lichen", "a/", "../x", "a/../b", "a//b"] {
            let mut spec = container("a", 1);
            if let Kind::Container(container) = &mut spec.kind {
                container.cgroup = Some(path.into());
            }
            assert_eq!(spec.validate(), Err(SpecError::Cgroup { path: path.into() }), "{path}");
        }
    }

    #[test]
    fn a_sub_path_that_could_lead_out_is_refused() {
        for inner in ["..", "/etc", "a/../..", "a\0b"] {
            let mut spec = container("a", 1);
            if let Kind::Container(container) = &mut spec.kind {
                container.sub_paths = vec![SubPath {
                    volume: "/volume".into(),
                    inner: inner.into(),
                    target: "/target".into(),
                }];
            }
            assert!(matches!(spec.validate(), Err(SpecError::Inner { .. })), "{inner}");
        }
    }

    #[test]
    fn layer_counts_outside_the_bound_are_refused() {
        for count in [0, MAX_LAYERS + 1] {
            assert_eq!(container("a", count).validate(), Err(SpecError::Layers { count }));
        }
    }

    #[test]
    fn relative_paths_and_nul_bytes_are_refused() {
        let mut spec = process(&["a\0b"]);
        assert_eq!(spec.validate(), Err(SpecError::Nul { field: "argv" }));
        spec = process(&["a"]);
        if let Kind::Process(process) = &mut spec.kind {
            process.cwd = "here".into();
        }
        assert!(matches!(spec.validate(), Err(SpecError::Relative { field: "cwd", .. })));
    }

    #[test]
    fn a_log_that_cannot_hold_a_line_is_refused() {
        let mut spec = process(&["a"]);
        spec.log.bytes_per_file = 100;
        assert!(matches!(spec.validate(), Err(SpecError::Log { .. })));
    }
}
