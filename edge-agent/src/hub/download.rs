//! Fetches an artefact: resumes where an earlier try ended, checks the digest, and only then gives it its name.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use firmware_compat::{id::Hash, v1::owned::Blob};
use sha2::{Digest, Sha256};
use ureq::{Body, http::Response};

use super::{HubClient, HubError, Request, artefact_path};
use crate::state::Written;

const BLOCK_BYTES: usize = 16 * 1024;
/// Of an answer that says why there is no artefact.
const MAX_REFUSAL: u64 = 4096;

/// Fetches `blob` into `dir/<hex>`, by way of `dir/<hex>.partial`, and returns its path. What an interrupted try has
/// left is continued. Never stores more than the blob's size. Does nothing if the artefact is there. Ends early, and
/// keeps what has arrived, once `may_go_on` says no.
///
/// # Errors
/// See [`HubError`]. A partial file is kept unless its content was wrong.
pub fn download(
    hub: &HubClient,
    blob: Blob,
    dir: &Path,
    written: &Written,
    may_go_on: &dyn Fn() -> bool,
) -> Result<PathBuf, HubError> {
    let path = dir.join(blob.digest.to_string());
    if path.is_file() {
        return Ok(path);
    }
    let mut partial = Partial::open(dir, blob)?;
    if partial.length < blob.size {
        fetch(hub, &mut partial, written, may_go_on)?;
    }
    partial.finish(&path, &artefact_path(&blob.digest))?;
    Ok(path)
}

fn fetch(
    hub: &HubClient,
    partial: &mut Partial,
    written: &Written,
    may_go_on: &dyn Fn() -> bool,
) -> Result<(), HubError> {
    let what = artefact_path(&partial.blob.digest);
    let request = Request { offset: partial.length, deadline: None, ..Request::get(&what) };
    let mut response = hub.call(request)?;
    match response.status().as_u16() {
        206 if starts_at(&response) == Some(partial.length) => {}
        // No ranges here, or another file by now: from the start.
        200 => partial.restart()?,
        206 | 416 => {
            partial.restart()?;
            response = hub.call(Request { offset: 0, ..request })?;
            refuse_all_but(200, &mut response, &what)?;
        }
        _ => refuse_all_but(200, &mut response, &what)?,
    }
    let mut reader = response.body_mut().as_reader();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        if !may_go_on() {
            return Err(HubError::Cancelled);
        }
        let length = match reader.read(&mut block) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(HubError::Unreachable { what, cause: error.to_string() });
            }
        };
        if partial.length + length as u64 > partial.blob.size {
            partial.discard();
            let cause = format!("it is longer than {} bytes", partial.blob.size);
            return Err(HubError::Corrupt { what, cause });
        }
        partial.append(&block[..length])?;
        written.add(length as u64);
    }
    if partial.length < partial.blob.size {
        let cause =
            format!("the connection ended after {} of {} bytes", partial.length, partial.blob.size);
        return Err(HubError::Unreachable { what, cause });
    }
    Ok(())
}

/// An answer with another status is none, and says why.
fn refuse_all_but(good: u16, response: &mut Response<Body>, what: &str) -> Result<(), HubError> {
    let status = response.status().as_u16();
    if status == good {
        return Ok(());
    }
    let mut said = Vec::new();
    // What can't be read is not said.
    let _ = response.body_mut().as_reader().take(MAX_REFUSAL).read_to_end(&mut said);
    Err(HubError::refused(what, status, super::refusal(&said)))
}

/// The first byte's position, from `content-range: bytes 5-9/10`.
fn starts_at(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get("content-range")?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// A file that is not whole yet, and the hash of what it holds.
struct Partial {
    blob: Blob,
    path: PathBuf,
    file: File,
    length: u64,
    hash: Sha256,
}

impl Partial {
    fn open(dir: &Path, blob: Blob) -> Result<Self, HubError> {
        let path = dir.join(format!("{}.partial", blob.digest));
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(disk(&path))?;
        let mut partial = Self { blob, path, file, length: 0, hash: Sha256::new() };
        if partial.read_what_is_there().is_err() {
            // Damaged by the disk: what is written anew is written elsewhere on it.
            partial.discard();
            partial.file = options.open(&partial.path).map_err(disk(&partial.path))?;
            partial.restart()?;
        }
        if partial.length > blob.size {
            partial.restart()?;
        }
        Ok(partial)
    }

    fn read_what_is_there(&mut self) -> Result<(), HubError> {
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            match self.file.read(&mut block).map_err(disk(&self.path))? {
                0 => return Ok(()),
                length => {
                    self.hash.update(&block[..length]);
                    self.length += length as u64;
                }
            }
        }
    }

    fn restart(&mut self) -> Result<(), HubError> {
        self.file.set_len(0).map_err(disk(&self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(disk(&self.path))?;
        self.length = 0;
        self.hash = Sha256::new();
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes).map_err(disk(&self.path))?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn discard(&self) {
        // A file that cannot be removed is found again, checked again and refused again.
        let _ = fs::remove_file(&self.path);
    }

    fn finish(mut self, path: &Path, what: &str) -> Result<(), HubError> {
        let found = Hash(std::mem::take(&mut self.hash).finalize().into());
        if found != self.blob.digest {
            self.discard();
            let cause = format!("its bytes have the digest sha256:{found}");
            return Err(HubError::Corrupt { what: what.to_owned(), cause });
        }
        self.file.sync_all().map_err(disk(&self.path))?;
        fs::rename(&self.path, path).map_err(disk(path))?;
        let dir = path.parent().unwrap_or(Path::new("/"));
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(disk(dir))
    }
}

fn disk(path: &Path) -> impl Fn(io::Error) -> HubError {
    move |source| HubError::Disk { what: path.display().to_string(), source }
}
