//! What was compiled before: one small file per module, device class and engine, which holds the digest of the code.
//! Losing one costs a compilation, so nothing here is synced.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use firmware_compat::v1::owned::WasmSupport;
use lichen_images::Digest;

/// The directory of those files.
#[derive(Debug)]
pub(super) struct Cache {
    dir: PathBuf,
}

impl Cache {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    pub(super) fn get(&self, name: &str) -> Option<Digest> {
        let text = fs::read_to_string(self.dir.join(name)).ok()?;
        Digest::parse(text.trim()).ok()
    }

    pub(super) fn put(&self, name: &str, digest: &Digest) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        writeln!(file, "{digest}")?;
        file.persist(self.dir.join(name))?;
        Ok(())
    }
}

/// The name of one compilation's result. `None` if a device's words are not fit for a file name: they come from the
/// wire.
pub(super) fn name(module: &Digest, support: &WasmSupport) -> Option<String> {
    let (class, compatibility) = (support.class.as_str(), support.compatibility.as_str());
    let fit = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    (fit(class) && fit(compatibility)).then(|| format!("{}-{class}-{compatibility}", module.hex()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn support(class: &str, compatibility: &str) -> WasmSupport {
        WasmSupport {
            class: class.try_into().expect("short"),
            compatibility: compatibility.try_into().expect("short"),
        }
    }

    #[test]
    fn what_was_put_is_found_and_a_damaged_file_is_not() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::open(dir.path()).expect("open");
        let digest = Digest::of(b"code");
        let name = name(&Digest::of(b"module"), &support("x86_64", "0a1b")).expect("fit");
        assert_eq!(cache.get(&name), None);
        cache.put(&name, &digest).expect("put");
        assert_eq!(cache.get(&name), Some(digest));
        fs::write(dir.path().join(&name), "sha256:12").expect("damage");
        assert_eq!(cache.get(&name), None);
    }

    #[test]
    fn words_of_a_device_never_become_a_path() {
        let module = Digest::of(b"");
        for word in ["", "..", "a/b", "../x", "a b", "ä", "a\0"] {
            assert_eq!(name(&module, &support(word, "ok")), None, "{word}");
            assert_eq!(name(&module, &support("ok", word)), None, "{word}");
        }
    }
}
