//! The container image of a quickstart, made of programs that this machine has: a static busybox if there is one, else the
//! shell and a few tools with the libraries that they need.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use lichen_images::{
    elf,
    pack::{Options, Source, pack},
    source::Pushable,
};

use crate::cli::error::CliError;

/// Programs that the manifest's script uses.
const TOOLS: [&str; 4] = ["sh", "sleep", "date", "uname"];
/// Where programs are.
const PLACES: [&str; 3] = ["/bin", "/usr/bin", "/usr/local/bin"];

/// Makes the image; `root` becomes its root file system.
///
/// # Errors
/// The machine has no shell that can be copied.
pub fn build(root: &Path) -> Result<Pushable, CliError> {
    let failed = |source| CliError::File { path: root.to_owned(), source };
    if root.exists() {
        fs::remove_dir_all(root).map_err(failed)?;
    }
    fs::create_dir_all(root.join("bin")).map_err(failed)?;
    match find("busybox").filter(|path| is_static(path)) {
        Some(busybox) => from_busybox(root, &busybox).map_err(failed)?,
        None => from_shell(root)?,
    }
    let entrypoint = vec!["/bin/sh".to_owned()];
    let packed =
        pack(&Source::Directory(root.to_owned()), &Options { entrypoint, ..Options::default() })?;
    packed
        .into_pushable()
        .map_err(|error| CliError::Failed(format!("could not make an image: {error}")))
}

fn find(name: &str) -> Option<PathBuf> {
    PLACES.iter().map(|place| Path::new(place).join(name)).find(|path| path.is_file())
}

/// The loader that a program asks for; `None` for a static one. `Err` if it is no program.
fn loader(path: &Path) -> io::Result<Option<PathBuf>> {
    let program = elf::read(&mut File::open(path)?).map_err(io::Error::other)?;
    Ok(program.interpreter.map(PathBuf::from))
}

fn is_static(path: &Path) -> bool {
    matches!(loader(path), Ok(None))
}

fn from_busybox(root: &Path, busybox: &Path) -> io::Result<()> {
    fs::copy(busybox, root.join("bin/busybox"))?;
    TOOLS.iter().try_for_each(|tool| symlink("busybox", root.join("bin").join(tool)))
}

fn from_shell(root: &Path) -> Result<(), CliError> {
    for tool in TOOLS {
        let program = find(tool).ok_or_else(|| {
            CliError::Failed(format!(
                "could not make an image: this machine has no {tool}; install busybox-static"
            ))
        })?;
        let copied = copy_with_libraries(root, &program, tool);
        copied.map_err(|error| {
            CliError::Failed(format!(
                "could not make an image of {}: {error}; install busybox-static",
                program.display()
            ))
        })?;
    }
    Ok(())
}

/// Copies a program to `/bin`, and everything that its loader would load to where it would find it.
fn copy_with_libraries(root: &Path, program: &Path, name: &str) -> io::Result<()> {
    fs::copy(program, root.join("bin").join(name))?;
    let Some(loader) = loader(program)? else { return Ok(()) };
    copy_in(root, &loader)?;
    let list = Command::new(&loader).arg("--list").arg(program).output()?;
    if !list.status.success() {
        return Err(io::Error::other(format!("{} could not list its libraries", loader.display())));
    }
    for library in libraries(&String::from_utf8_lossy(&list.stdout)) {
        copy_in(root, Path::new(&library))?;
    }
    Ok(())
}

/// The paths in a loader's list: `libc.so.6 => /lib/libc.so.6 (0x7f…)`.
fn libraries(list: &str) -> Vec<String> {
    let paths = list.lines().filter_map(|line| {
        let path = line.split_once("=> ").map_or(line, |(_, path)| path).trim();
        path.split(" (").next().filter(|path| path.starts_with('/'))
    });
    paths.map(str::to_owned).collect()
}

fn copy_in(root: &Path, path: &Path) -> io::Result<()> {
    let inside = root.join(path.strip_prefix("/").unwrap_or(path));
    if let Some(dir) = inside.parent() {
        fs::create_dir_all(dir)?;
    }
    // The target of a link, under the link's name: what the loader asks for.
    fs::copy(path, inside).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_of_loaders_are_understood() {
        let glibc = "\tlinux-vdso.so.1 (0x00007fff)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(
            libraries(glibc),
            ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]
        );
        let musl = "\t/lib/ld-musl-x86_64.so.1 (0x7f)\n\tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x7f)\n";
        assert_eq!(libraries(musl), ["/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-x86_64.so.1"]);
    }

    #[test]
    fn an_image_of_this_machines_shell_has_what_the_script_needs() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("bin")).expect("a directory");
        from_shell(&root).expect("this machine has a shell");
        assert!(TOOLS.iter().all(|tool| root.join("bin").join(tool).is_file()));
        let image = build(&dir.path().join("image")).expect("an image");
        assert_eq!(image.pieces().len(), 3, "a layer, a configuration and a manifest");
    }
}
