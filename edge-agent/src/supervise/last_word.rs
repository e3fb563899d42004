//! The last word of a container: a file that it finds at its `terminationMessagePath`, and that is read when it has ended.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use firmware_compat::capacity::full as capacity;

/// Lines of a log that stand for a last word. Kubernetes' bound.
pub const LINES_OF_LOG: usize = 80;
/// Bytes of a log that stand for a last word. Kubernetes' bound.
pub const BYTES_OF_LOG: usize = 2048;
/// Where it is in the container, where nothing else is said.
pub const USUAL_PATH: &str = "/dev/termination-log";
/// Its name in the run directory.
const FILE: &str = "termination-log";

/// Makes the file of a run, for whoever the container runs as.
///
/// # Errors
/// Those of the system.
pub fn make(run: &Path) -> io::Result<PathBuf> {
    let path = run.join(FILE);
    fs::write(&path, "")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    Ok(path)
}

/// What a run has left, as far as it counts. Empty if there is nothing.
#[must_use]
pub fn of(run: &Path) -> String {
    // The container can't put anything else in its place; who can is trusted, and still no link is followed.
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = fs::File::options();
    let file = options.read(true).custom_flags(nofollow).open(run.join(FILE));
    let mut bytes = Vec::new();
    let most = capacity::EXIT_MESSAGE as u64;
    match file.map(|file| file.take(most).read_to_end(&mut bytes)) {
        Ok(Ok(_)) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_word_is_bounded_and_links_lead_nowhere() {
        let run = tempfile::tempdir().expect("a directory");
        assert_eq!(of(run.path()), "");
        let path = make(run.path()).expect("makeable");
        assert_eq!(of(run.path()), "");
        fs::write(&path, "x".repeat(5000)).expect("writable");
        assert_eq!(of(run.path()).len(), 4096);
        fs::remove_file(&path).expect("there");
        std::os::unix::fs::symlink("/etc/hostname", &path).expect("makeable");
        assert_eq!(of(run.path()), "");
    }
}
