//! Finds the user and groups that an image or a manifest names, in the image's own `/etc/passwd` and `/etc/group`.
//!
//! The files are read from the unpacked layers, topmost first, the way overlayfs would show them, because the image's
//! root is mounted only inside the shim's mount namespace. They are the image's, so untrusted: reading is bounded,
//! and symlinks are not followed (an image with a linked passwd file must name users by number).
//! Source: OCI image specification `config.md` (User), and Docker's reading of the same string.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fgetxattr, openat, statat};

/// Largest passwd or group file that is read; real ones are under 100 KiB.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Most supplementary groups of a user; the kernel takes 65536.
const MAX_GROUPS: usize = 256;

/// Who runs in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserIds {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub more_gids: Vec<u32>,
}

/// Why a user is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// The image has no such user.
    #[error("user {0:?} is not in the image's /etc/passwd; name it by its number")]
    User(String),
    /// The image has no such group.
    #[error("group {0:?} is not in the image's /etc/group; name it by its number")]
    Group(String),
}

/// The contents of an image's user files; empty where the image has none.
#[derive(Debug, Clone, Default)]
pub struct UserFiles {
    /// `/etc/passwd`.
    pub passwd: String,
    /// `/etc/group`.
    pub group: String,
}

impl UserFiles {
    /// Reads the files from layers given topmost first.
    pub fn read(lowers: &[impl AsRef<Path>]) -> Self {
        Self { passwd: read_etc(lowers, "passwd"), group: read_etc(lowers, "group") }
    }
}

/// Resolves `""`, `user`, `uid`, `user:group` and `uid:gid` (or a mix).
///
/// A number needs no entry in the files; without one its group is 0. A user given without a group also gets the
/// groups that list it as a member.
pub fn look_up(text: &str, files: &UserFiles) -> Result<UserIds, UserError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, group),
        None => (text, ""),
    };
    let user = if user.is_empty() { "0" } else { user };
    let entry = passwd_entry(&files.passwd, user);
    // The largest number is no user: to the kernel it means "leave it as it is".
    let number = user.parse().ok().filter(|uid| *uid != u32::MAX);
    let (uid, name, own_gid) = match (number, entry) {
        (_, Some((name, uid, gid))) => (uid, Some(name), gid),
        (Some(uid), None) => (uid, None, 0),
        (None, None) => return Err(UserError::User(user.to_owned())),
    };
    if !group.is_empty() {
        let gid = group_id(&files.group, group);
        let gid = gid.ok_or_else(|| UserError::Group(group.to_owned()))?;
        return Ok(UserIds { uid, gid, more_gids: Vec::new() });
    }
    let more_gids = name.map(|name| memberships(&files.group, name, own_gid)).unwrap_or_default();
    Ok(UserIds { uid, gid: own_gid, more_gids })
}

/// The first entry with that name or, if it is a number, that id.
fn passwd_entry<'a>(passwd: &'a str, user: &str) -> Option<(&'a str, u32, u32)> {
    let entries = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((name, fields.nth(1)?.parse::<u32>().ok()?, fields.next()?.parse::<u32>().ok()?))
    });
    let number = user.parse::<u32>().ok();
    let mut entries = entries.filter(|(_, uid, gid)| *uid != u32::MAX && *gid != u32::MAX);
    entries.find(|(name, uid, _)| *name == user || number == Some(*uid))
}

fn group_id(groups: &str, group: &str) -> Option<u32> {
    let named = group_entries(groups).find(|(name, _, _)| *name == group).map(|(_, gid, _)| gid);
    named.or_else(|| group.parse().ok()).filter(|gid| *gid != u32::MAX)
}

fn memberships(groups: &str, user: &str, own_gid: u32) -> Vec<u32> {
    let member = group_entries(groups).filter(|(_, gid, members)| {
        *gid != own_gid && *gid != u32::MAX && members.split(',').any(|m| m == user)
    });
    let mut gids: Vec<_> = member.map(|(_, gid, _)| gid).take(MAX_GROUPS).collect();
    gids.sort_unstable();
    gids.dedup();
    gids
}

fn group_entries(groups: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    groups.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((name, fields.nth(1)?.parse().ok()?, fields.next().unwrap_or("")))
    })
}

fn read_etc(lowers: &[impl AsRef<Path>], name: &str) -> String {
    for layer in lowers {
        match read_in_layer(layer.as_ref(), name) {
            Layer::File(text) => return text,
            Layer::Hidden => break,
            Layer::Nothing => {}
        }
    }
    String::new()
}

/// What one layer says about a file in `/etc`.
enum Layer {
    File(String),
    /// The file, or all of `/etc`, is replaced here: lower layers do not show.
    Hidden,
    Nothing,
}

fn read_in_layer(layer: &Path, name: &str) -> Layer {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(root) = openat(CWD, layer, flags | OFlags::DIRECTORY, Mode::empty()) else {
        return Layer::Hidden;
    };
    match statat(&root, "etc", AtFlags::SYMLINK_NOFOLLOW) {
        Err(_) => return Layer::Nothing,
        Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::Directory => {
            return Layer::Hidden;
        }
        Ok(_) => {}
    }
    let Ok(etc) = openat(&root, "etc", flags | OFlags::DIRECTORY, Mode::empty()) else {
        return Layer::Hidden;
    };
    let below = if is_opaque(&etc) { Layer::Hidden } else { Layer::Nothing };
    match statat(&etc, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(_) => return below,
        Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile => {
            return Layer::Hidden;
        }
        Ok(_) => {}
    }
    let Ok(file) = openat(&etc, name, flags | OFlags::NONBLOCK, Mode::empty()) else {
        return Layer::Hidden;
    };
    let mut bytes = Vec::new();
    let read = std::fs::File::from(file).take(MAX_FILE_BYTES).read_to_end(&mut bytes);
    match read {
        Ok(_) => Layer::File(String::from_utf8_lossy(&bytes).into_owned()),
        Err(_) => Layer::Hidden,
    }
}

fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0; 1];
    let read = fgetxattr(directory.as_fd(), "trusted.overlay.opaque", &mut value);
    read.is_ok_and(|length| length == 1 && value == *b"y")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> UserFiles {
        UserFiles {
            passwd: "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:100::/:\n7:x:8:9::/:\n"
                .into(),
            group: "root:x:0:\nusers:x:100:app\nvideo:x:44:other,app\ndialout:x:20:app\n".into(),
        }
    }

    #[test]
    fn users_resolve_by_name_and_number() {
        let ids = |text| look_up(text, &files()).map(|ids| (ids.uid, ids.gid, ids.more_gids));
        assert_eq!(ids(""), Ok((0, 0, vec![])));
        assert_eq!(ids("app"), Ok((1000, 100, vec![20, 44])));
        assert_eq!(ids("1000"), Ok((1000, 100, vec![20, 44])));
        assert_eq!(ids("1234"), Ok((1234, 0, vec![])));
        assert_eq!(ids("1234:55"), Ok((1234, 55, vec![])));
        assert_eq!(ids("app:video"), Ok((1000, 44, vec![])));
        assert_eq!(ids(":video"), Ok((0, 44, vec![])));
        assert_eq!(ids("nobody"), Err(UserError::User("nobody".into())));
        assert_eq!(ids("app:none"), Err(UserError::Group("none".into())));
        for number in ["4294967295", "4294967296"] {
            assert_eq!(ids(number), Err(UserError::User(number.into())));
        }
    }

    #[test]
    fn the_topmost_layer_with_the_file_counts() {
        let scratch = tempfile::tempdir().expect("scratch");
        let layer = |name: &str| scratch.path().join(name);
        std::fs::create_dir_all(layer("low/etc")).expect("low");
        std::fs::create_dir_all(layer("high/etc")).expect("high");
        std::fs::create_dir(layer("empty")).expect("empty");
        std::fs::write(layer("low/etc/passwd"), "low:x:1:1::/:").expect("passwd");
        std::fs::write(layer("low/etc/group"), "low:x:1:").expect("group");
        std::fs::write(layer("high/etc/passwd"), "high:x:2:2::/:").expect("passwd");
        let lowers = [layer("empty"), layer("high"), layer("low")];
        let files = UserFiles::read(&lowers);
        assert_eq!((files.passwd.as_str(), files.group.as_str()), ("high:x:2:2::/:", "low:x:1:"));
        std::fs::remove_file(layer("high/etc/passwd")).expect("remove");
        std::os::unix::fs::symlink("/etc/passwd", layer("high/etc/passwd")).expect("link");
        assert_eq!(UserFiles::read(&lowers).passwd, "", "a link neither leaves nor falls through");
    }

    proptest::proptest! {
        #[test]
        fn random_files_never_panic(passwd: String, group: String, user: String) {
            let _ = look_up(&user, &UserFiles { passwd, group });
        }
    }
}
