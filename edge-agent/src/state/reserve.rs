//! Room on the disk that is kept for saving an assignment: what fills a disk may be the very Pod that the next assignment
//! takes away, and that one must find room.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// The file that holds it.
pub const FILE: &str = "reserve";
/// As much as an assignment may be, with its parts.
const BYTES: u64 = 4 << 20;
/// On a small disk it is no more than this part of it.
const PART: u64 = 64;
/// And no less than this.
const LEAST_BYTES: u64 = 1 << 20;
/// It is made, and made again, only where so much more is left beside it.
const BESIDE: u64 = 4;

/// Makes it, unless it is there or there is no room for it to speak of.
///
/// # Errors
/// Those of the system.
pub fn keep(dir: &Path) -> std::io::Result<()> {
    let disk = statvfs(dir)?;
    let [free, total] =
        [disk.f_bavail, disk.f_blocks].map(|blocks| blocks.saturating_mul(disk.f_frsize));
    let bytes = BYTES.min(total / PART).max(LEAST_BYTES);
    let path = dir.join(FILE);
    let is_there = fs::metadata(&path).is_ok_and(|file| file.blocks().saturating_mul(512) >= bytes);
    if is_there || free < bytes.saturating_mul(1 + BESIDE) {
        return Ok(());
    }
    let file = File::create(&path)?;
    let made = match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        // Where blocks can't be had without writing them.
        Err(_) => fill(&file, bytes),
    };
    made.inspect_err(|_| release(dir))
}

fn fill(mut file: &File, bytes: u64) -> std::io::Result<()> {
    let block = [0; 64 * 1024];
    for _ in 0..bytes.div_ceil(block.len() as u64) {
        file.write_all(&block)?;
    }
    Ok(())
}

/// Gives it up. One that is not there has been given up already.
pub fn release(dir: &Path) {
    let _ = fs::remove_file(dir.join(FILE));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_blocks_and_can_be_given_up_and_made_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let blocks = || fs::metadata(dir.path().join(FILE)).map(|file| file.blocks() * 512).ok();
        keep(dir.path()).expect("there is room");
        assert!(blocks().is_some_and(|bytes| bytes >= LEAST_BYTES));
        keep(dir.path()).expect("it is there");
        release(dir.path());
        assert_eq!(blocks(), None);
        release(dir.path());
        keep(dir.path()).expect("there is room");
        assert!(blocks().is_some());
    }
}
