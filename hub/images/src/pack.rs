//! `lichen image pack`: an OCI image of a static binary or of a directory, without a Dockerfile and reproducible.
//!
//! The layer is made by [`crate::tree`]; the result is written by [`crate::write`] or pushed as it is.

mod config;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::blobs::{Blob, Blobs, Memory};
use crate::document::Manifest;
use crate::elf::{self, ElfError, Program};
use crate::rootfs;
use crate::source::Pushable;
use crate::tree::{Layer, LayerWriter, TreeError};
use crate::{Descriptor, Digest, Platform, media};

/// What to make an image of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A static program, which becomes `/<name>` and the entry point.
    Binary(PathBuf),
    /// A directory, whose contents become the root file system.
    Directory(PathBuf),
}

impl Source {
    /// A directory or else a program, by what the path is.
    pub fn at(path: &Path) -> Self {
        match path.is_dir() {
            true => Self::Directory(path.to_owned()),
            false => Self::Binary(path.to_owned()),
        }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        match self {
            Self::Binary(path) | Self::Directory(path) => path,
        }
    }
}

/// How the image runs. Everything may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The program and its fixed arguments. A binary is its own entry point.
    pub entrypoint: Vec<String>,
    /// Default arguments, which a workload's `args` replace.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Working directory, absolute.
    pub workdir: Option<String>,
    /// User, as `uid`, `uid:gid`, or names that the image's own `/etc/passwd` has.
    pub user: Option<String>,
    /// The platform; read from the program if it is left out.
    pub platform: Option<Platform>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
}

/// Why an image can't be made.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The program's file can't be used.
    #[error("could not pack {}", .0.display())]
    Program(PathBuf, #[source] ElfError),
    /// A dynamically linked program alone can't run.
    #[error("{} is dynamically linked: it needs {interpreter} and libraries, which the image would not have; build it static (for Rust: --target <arch>-unknown-linux-musl; for C: -static) or pack a directory that has them", path.display())]
    Dynamic {
        /// The program.
        path: PathBuf,
        /// Its loader.
        interpreter: String,
    },
    /// The entry point needs a loader that the directory doesn't have.
    #[error("entry point {entrypoint} is dynamically linked and needs {interpreter}, which is not in {}; add it with the libraries or build the program static", root.display())]
    NoInterpreter {
        /// The program in the image.
        entrypoint: String,
        /// Its loader.
        interpreter: String,
        /// The directory.
        root: PathBuf,
    },
    /// The entry point is not in the directory.
    #[error("entry point {entrypoint} is not a file in {}", root.display())]
    NoEntrypoint {
        /// The program in the image.
        entrypoint: String,
        /// The directory.
        root: PathBuf,
    },
    /// Nothing in the directory tells the platform.
    #[error("{} has no program that tells the platform; name it with --platform, for example arm64", .0.display())]
    NoPlatform(PathBuf),
    /// The program is for another platform than was said.
    #[error("the program is built for {found}, not for {wanted}")]
    Platform {
        /// What was said.
        wanted: Box<Platform>,
        /// What the program's header says.
        found: Box<Platform>,
    },
    /// A name or option that an image can't have.
    #[error("{what} {value:?} is not valid: {rule}")]
    Option {
        /// Which option.
        what: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
    /// The layer can't be made.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The temporary file can't be written.
    #[error("could not write the layer to a temporary file")]
    Temporary(#[source] io::Error),
}

/// A finished image, in memory but for its layer, which is a temporary file.
#[derive(Debug)]
pub struct Packed {
    /// Its manifest.
    pub root: Descriptor,
    /// The platform that it is for.
    pub platform: Platform,
    blobs: PackedBlobs,
}

impl Packed {
    /// The image as a push wants it.
    ///
    /// # Errors
    /// The temporary file was damaged.
    pub fn into_pushable(self) -> Result<Pushable, crate::walk::WalkError> {
        Pushable::new(self.root, Box::new(self.blobs))
    }

    /// The image's blobs.
    pub fn blobs(&self) -> &dyn Blobs {
        &self.blobs
    }
}

#[derive(Debug)]
struct PackedBlobs {
    documents: Memory,
    layer: Arc<File>,
    digest: Digest,
    size: u64,
}

impl Blobs for PackedBlobs {
    fn open(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        if *digest != self.digest {
            return self.documents.open(digest);
        }
        let reader = At { file: Arc::clone(&self.layer), at: 0 };
        Ok(Some(Blob { len: self.size, reader: Box::new(reader) }))
    }
}

/// Makes the image.
///
/// # Errors
/// The source can't run as an image, or an option is not valid; the message says what to change.
pub fn pack(source: &Source, options: &Options) -> Result<Packed, PackError> {
    check(options, matches!(source, Source::Binary(_)))?;
    let mut writer = LayerWriter::new().map_err(PackError::Temporary)?;
    let (platform, entrypoint) = match source {
        Source::Binary(path) => {
            let name = binary_name(path)?;
            let program = static_program(path)?;
            writer.add_file(path, Path::new(&name), 0o755)?;
            (agree(options, Some(&program), path)?, vec![format!("/{name}")])
        }
        Source::Directory(path) => {
            let program = directory_program(path, options)?;
            writer.add_tree(path)?;
            (agree(options, program.as_ref(), path)?, options.entrypoint.clone())
        }
    };
    let entrypoint =
        if options.entrypoint.is_empty() { entrypoint } else { options.entrypoint.clone() };
    let layer = writer.finish().map_err(PackError::Temporary)?;
    Ok(assemble(layer, platform, &entrypoint, options))
}

/// A static program, or the reason why it isn't one.
fn static_program(path: &Path) -> Result<Program, PackError> {
    match program(path)? {
        Program { interpreter: Some(interpreter), .. } => {
            Err(PackError::Dynamic { path: path.to_owned(), interpreter })
        }
        program => Ok(program),
    }
}

fn program(path: &Path) -> Result<Program, PackError> {
    let error = |error| PackError::Program(path.to_owned(), error);
    let mut file = File::open(path).map_err(|io| error(io.into()))?;
    elf::read(&mut file).map_err(error)
}

/// The program that tells a directory's platform: the entry point, or else the first one there is.
fn directory_program(root: &Path, options: &Options) -> Result<Option<Program>, PackError> {
    let Some(entrypoint) = options.entrypoint.first().filter(|path| path.starts_with('/')) else {
        return Ok(rootfs::first_program(root));
    };
    let named = || (entrypoint.clone(), root.to_owned());
    let Some(file) = rootfs::find(root, Path::new(entrypoint)) else {
        let (entrypoint, root) = named();
        return Err(PackError::NoEntrypoint { entrypoint, root });
    };
    let program = match program(&file) {
        Ok(program) => program,
        // A script: its interpreter is one of the programs.
        Err(PackError::Program(_, ElfError::NotElf)) => return Ok(rootfs::first_program(root)),
        Err(error) => return Err(error),
    };
    match &program.interpreter {
        Some(interpreter) if rootfs::find(root, Path::new(interpreter)).is_none() => {
            let (entrypoint, root) = named();
            Err(PackError::NoInterpreter { entrypoint, interpreter: interpreter.clone(), root })
        }
        _ => Ok(Some(program)),
    }
}

/// The platform, from what was said and what the program's header says. Only the variant may differ.
fn agree(options: &Options, program: Option<&Program>, path: &Path) -> Result<Platform, PackError> {
    match (&options.platform, program) {
        (Some(wanted), Some(Program { platform: found, .. }))
            if wanted.architecture != found.architecture =>
        {
            let (wanted, found) = (Box::new(wanted.clone()), Box::new(found.clone()));
            Err(PackError::Platform { wanted, found })
        }
        (Some(wanted), _) => Ok(wanted.clone().normalised()),
        (None, Some(program)) => Ok(program.platform.clone()),
        (None, None) => Err(PackError::NoPlatform(path.to_owned())),
    }
}

fn binary_name(path: &Path) -> Result<String, PackError> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| PackError::Option {
        what: "file name",
        value: path.to_string_lossy().into_owned(),
        rule: "it must be UTF-8, because it becomes the entry point",
    })
}

fn check(options: &Options, binary: bool) -> Result<(), PackError> {
    let refuse =
        |what, value: &str, rule| Err(PackError::Option { what, value: value.to_owned(), rule });
    for (key, value) in &options.env {
        if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
            return refuse("environment variable", key, "write it as NAME=value");
        }
    }
    if let Some(dir) = options.workdir.as_deref().filter(|dir| !dir.starts_with('/')) {
        return refuse("working directory", dir, "it must be absolute, like /data");
    }
    if let Some(user) = &options.user {
        let number = |part: &str| part.parse::<u32>().is_ok();
        let word = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        let part = |part: &str| number(part) || (!binary && word(part));
        if user.split(':').count() > 2 || !user.split(':').all(part) {
            let rule = match binary {
                true => "a single program has no /etc/passwd, so write it as uid or uid:gid",
                false => "write it as uid, uid:gid, user or user:group",
            };
            return refuse("user", user, rule);
        }
    }
    let words = options.entrypoint.iter().chain(&options.args);
    match words.into_iter().find(|word| word.contains('\0')) {
        Some(word) => refuse("argument", word, "it has a zero byte"),
        None => Ok(()),
    }
}

/// Puts the documents around the layer.
fn assemble(layer: Layer, platform: Platform, entrypoint: &[String], options: &Options) -> Packed {
    let mut documents = Memory::default();
    let config = config::render(&platform, layer.diff_id, entrypoint, options);
    let config = documents.add(media::OCI_CONFIG, config);
    let (digest, size) = (layer.digest, layer.size);
    let described = Descriptor::new(media::OCI_LAYER_GZIP, digest, size);
    let manifest = serde_json::to_vec(&Manifest::new(config, vec![described]));
    let manifest = manifest.expect("a plain structure is always JSON");
    let mut root = documents.add(media::OCI_MANIFEST, manifest);
    root.platform = Some(platform.clone());
    let blobs = PackedBlobs { documents, layer: Arc::new(layer.file), digest, size };
    Packed { root, platform, blobs }
}

/// A reader of a shared file with a position of its own.
struct At {
    file: Arc<File>,
    at: u64,
}

impl io::Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read_at(buffer, self.at)?;
        self.at += got as u64;
        Ok(got)
    }
}

#[cfg(test)]
mod tests;
