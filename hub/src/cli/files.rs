//! The manifests that `-f` names: files, directories, stdin. All are read before anything is done with one.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use lichen_hub_core::api::{FieldError, Key};

use super::{
    args::{FileArgs, NamespaceArg},
    error::CliError,
};
use crate::manifest::{
    Problem, Problems, Source,
    check::check,
    read::{MAX_BYTES, Manifest, load, read, text_of},
};

/// Files that a directory may hold; more is most likely the wrong directory.
const MAX_FILES: usize = 10_000;

/// Reads every object of every manifest, in the order of the command line; each is in a namespace afterwards, `usual` if
/// nothing else is said.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn read_all(
    args: &FileArgs,
    namespace: &NamespaceArg,
    usual: &str,
) -> Result<Vec<Manifest>, CliError> {
    let mut manifests = Vec::new();
    let mut problems = Vec::new();
    for source in sources(args)? {
        match read(&source) {
            Ok(read) => manifests.extend(read),
            Err(Problems(found)) => problems.extend(found),
        }
    }
    for manifest in &mut manifests {
        problems.extend(settle(manifest, namespace.namespace.as_deref(), usual));
    }
    problems.extend(repeated(&manifests));
    Problems(problems).into_result().map_err(CliError::Manifests)?;
    if manifests.is_empty() {
        return Err(CliError::Failed("the manifests hold no objects".to_owned()));
    }
    Ok(manifests)
}

/// Checks every object as the hub will.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn check_all(manifests: &[Manifest]) -> Result<(), CliError> {
    let mut problems = Vec::new();
    for manifest in manifests {
        if let Err(errors) = check(&manifest.object) {
            let mut found: Vec<Problem> =
                errors.iter().map(|error| manifest.problem(error)).collect();
            found.sort_by_key(|problem| problem.at);
            problems.extend(found);
        }
    }
    Problems(problems).into_result().map_err(CliError::Manifests)
}

/// Puts an object into the namespace that the command line says, or the usual one, if its manifest doesn't.
pub(super) fn settle(
    manifest: &mut Manifest,
    namespace: Option<&str>,
    usual: &str,
) -> Option<Problem> {
    let namespaced = manifest.object.kind().namespaced();
    let meta = manifest.object.meta_mut();
    match (namespaced, meta.namespace.as_str(), namespace) {
        (false, _, _) => meta.namespace.clear(),
        (true, "", wanted) => wanted.unwrap_or(usual).clone_into(&mut meta.namespace),
        (true, own, Some(wanted)) if own != wanted => {
            let cause = format!("it is in {own}, but the command line says --namespace {wanted}");
            return Some(manifest.problem(&FieldError::new("metadata.namespace", cause)));
        }
        (true, _, _) => {}
    }
    None
}

/// An object that is declared twice: nobody could say which one was meant.
fn repeated(manifests: &[Manifest]) -> Vec<Problem> {
    let mut first: BTreeMap<Key, &Manifest> = BTreeMap::new();
    let mut problems = Vec::new();
    for manifest in manifests {
        if let Some(other) = first.get(&manifest.key()) {
            let place = format!("{}:{}", other.source.name, other.node.at.line);
            let cause = format!("{} is declared before, at {place}", manifest.key());
            problems.push(manifest.problem(&FieldError::new("metadata.name", cause)));
        } else {
            first.insert(manifest.key(), manifest);
        }
    }
    problems
}

/// What others need comes first, as each kind says; otherwise as they stand.
pub fn sort(manifests: &mut [Manifest]) {
    manifests.sort_by_key(|manifest| manifest.object.kind().names().apply_order);
}

fn sources(args: &FileArgs) -> Result<Vec<Arc<Source>>, CliError> {
    let mut sources = Vec::new();
    for path in &args.files {
        if path == Path::new("-") {
            sources.push(stdin()?);
            continue;
        }
        let file = |source| CliError::File { path: path.clone(), source };
        if fs::metadata(path).map_err(file)?.is_dir() {
            let mut files = Vec::new();
            walk(path, args.recursive, &mut files)?;
            if files.is_empty() {
                let below = if args.recursive { "" } else { " (look below it with -R)" };
                return Err(CliError::Failed(format!(
                    "{} has no .yaml, .yml or .json files{below}",
                    path.display()
                )));
            }
            for path in files {
                sources.push(load(&path).map_err(|source| CliError::File { path, source })?);
            }
        } else {
            sources.push(load(path).map_err(file)?);
        }
    }
    if sources.is_empty() {
        return Err(CliError::Usage(
            "name a manifest with -f FILE, -f DIR, or -f - for stdin".to_owned(),
        ));
    }
    Ok(sources)
}

fn stdin() -> Result<Arc<Source>, CliError> {
    let file = |source| CliError::File { path: PathBuf::from("stdin"), source };
    let mut bytes = Vec::new();
    io::stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(file)?;
    if bytes.len() as u64 > MAX_BYTES {
        let cause = format!("it has more than {MAX_BYTES} bytes");
        return Err(file(io::Error::new(io::ErrorKind::InvalidData, cause)));
    }
    let text = text_of(bytes).map_err(file)?;
    Ok(Arc::new(Source { name: "stdin".to_owned(), text }))
}

/// The manifests of a directory, by name. Hidden files and links to directories are passed over.
fn walk(dir: &Path, recursive: bool, files: &mut Vec<PathBuf>) -> Result<(), CliError> {
    let failed = |source| CliError::File { path: dir.to_owned(), source };
    let mut entries: Vec<fs::DirEntry> =
        fs::read_dir(dir).and_then(Iterator::collect).map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let is_manifest = path.extension().is_some_and(|extension| {
            ["yaml", "yml", "json"].iter().any(|known| extension == *known)
        });
        if entry.file_type().map_err(failed)?.is_dir() {
            if recursive && !hidden {
                walk(&path, recursive, files)?;
            }
        } else if is_manifest && !hidden {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            return Err(CliError::Failed(format!(
                "{} has more than {MAX_FILES} manifests; name a smaller directory",
                dir.display()
            )));
        }
    }
    Ok(())
}
