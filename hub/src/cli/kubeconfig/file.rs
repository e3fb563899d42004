//! Kubeconfigs on disk. They hold keys: only their owner reads what is written here, and after a power cut there is the old
//! file or the new one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, fchown},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::{Document, KubeconfigError};

/// Largest kubeconfig, and largest file that one names. Some hold a few hundred clusters with their certificates.
const MAX_BYTES: u64 = 4 << 20;

/// Reads a kubeconfig; `None` if there is no such file.
///
/// # Errors
/// It is none, or can't be read.
pub fn read(path: &Path) -> Result<Option<Document>, KubeconfigError> {
    let Some(bytes) = read_bytes(path)? else { return Ok(None) };
    let text = String::from_utf8(bytes)
        .map_err(|_| KubeconfigError::shape(path, "it is not text in UTF-8"))?;
    Document::parse(&text, path).map(Some)
}

/// Reads a file; `None` if there is no such file.
pub(super) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, KubeconfigError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(KubeconfigError::file("open", path)(error)),
    };
    let mut bytes = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(KubeconfigError::file("read", path))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(KubeconfigError::shape(path, format!("it has more than {MAX_BYTES} bytes")));
    }
    Ok(Some(bytes))
}

/// Changes a kubeconfig, which is made if it is not there. kubectl waits for nobody either: who comes second is told.
///
/// # Errors
/// What is there is no kubeconfig, another program changes it, or the disk refuses.
pub fn edit<T>(
    path: &Path,
    change: impl FnOnce(&mut Document) -> Result<T, KubeconfigError>,
) -> Result<T, KubeconfigError> {
    make_directory(path)?;
    let _lock = Lock::take(path)?;
    let mut document = read(path)?.unwrap_or_else(Document::new);
    let before = document.clone();
    let result = change(&mut document)?;
    if document != before {
        replace(path, &document.to_text())?;
    }
    Ok(result)
}

/// Puts a text in the place of a file, or of what a link points to.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), KubeconfigError> {
    make_directory(path)?;
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = directory(&target);
    let write = || -> io::Result<()> {
        // Made with mode 0600.
        let mut file = NamedTempFile::with_prefix_in(".kubeconfig-", dir)?;
        file.write_all(text.as_bytes())?;
        // Whose file it was, keeps it: `sudo lichen login` would take it away.
        if let Ok(old) = fs::metadata(&target)
            && rustix::process::geteuid().is_root()
        {
            fchown(file.as_file(), Some(old.uid()), Some(old.gid()))?;
        }
        file.as_file().sync_all()?;
        file.persist(&target)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(KubeconfigError::file("write", path))
}

fn make_directory(path: &Path) -> Result<(), KubeconfigError> {
    let dir = directory(path);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(KubeconfigError::file("create the directory", dir))
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// kubectl's own lock: a file beside the kubeconfig, while it is being changed.
struct Lock(PathBuf);

impl Lock {
    fn take(path: &Path) -> Result<Self, KubeconfigError> {
        let mut lock = path.as_os_str().to_owned();
        lock.push(".lock");
        let lock = PathBuf::from(lock);
        match OpenOptions::new().write(true).create_new(true).open(&lock) {
            Ok(_) => Ok(Self(lock)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(KubeconfigError::Locked { path: path.to_owned(), lock })
            }
            Err(error) => Err(KubeconfigError::file("write beside", path)(error)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // If it can't be removed, whoever comes next is told of it.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    fn set_current(path: &Path, name: &str) -> Result<(), KubeconfigError> {
        edit(path, |document| {
            document.set_current(name);
            Ok(())
        })
    }

    #[test]
    fn only_the_owner_reads_what_is_written_also_through_a_link() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a/b/kubeconfig");
        set_current(&path, "one").expect("written");
        assert_eq!((mode(&path), mode(&dir.path().join("a/b"))), (0o600, 0o700));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("open to all");
        let link = dir.path().join("link");
        symlink(&path, &link).expect("a link");
        set_current(&link, "two").expect("written");
        assert_eq!(mode(&path), 0o600);
        assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
        let read = read(&path).expect("readable").expect("there");
        assert_eq!(read.current(), Some("two"));
        let left: Vec<_> = fs::read_dir(dir.path().join("a/b")).expect("listed").collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn a_change_that_fails_or_is_locked_out_leaves_the_file_as_it_was() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("kubeconfig");
        set_current(&path, "one").expect("written");
        let failed = edit(&path, |document| {
            document.set_current("two");
            Err::<(), _>(KubeconfigError::shape(Path::new("x"), "no"))
        });
        assert!(failed.is_err());
        let lock = dir.path().join("kubeconfig.lock");
        fs::write(&lock, b"").expect("a lock");
        let locked = set_current(&path, "three").expect_err("locked").to_string();
        assert!(locked.contains("try again") && locked.contains("kubeconfig.lock"), "{locked}");
        assert_eq!(read(&path).expect("readable").expect("there").current(), Some("one"));
        fs::remove_file(&lock).expect("removed");
        set_current(&path, "four").expect("free again");
    }

    #[test]
    fn a_file_that_is_too_large_or_no_text_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("kubeconfig");
        assert_eq!(read(&path).expect("no error"), None);
        fs::write(&path, b"\xff\xfe").expect("written");
        assert!(read(&path).is_err());
        let size = usize::try_from(MAX_BYTES).expect("it fits") + 1;
        fs::write(&path, vec![b'#'; size]).expect("written");
        assert!(read(&path).expect_err("too large").to_string().contains("more than"));
    }
}
