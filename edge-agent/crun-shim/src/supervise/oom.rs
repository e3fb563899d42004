//! Whether the kernel killed a process of the container for want of memory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The counter of processes that the kernel killed for want of memory in the container's cgroup.
/// Opened while the container lives; readable until its cgroup is deleted.
#[derive(Debug)]
pub(crate) struct OomCounter(File);

impl OomCounter {
    /// `None` where it cannot be known: no memory controller, or the container shares the shim's cgroup.
    pub(crate) fn open(pid: i32) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let theirs = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let path = oom_file(&own, &theirs)?;
        File::open(path).ok().map(Self)
    }

    pub(crate) fn has_counted(&self) -> bool {
        let mut bytes = [0; 1024];
        let length = rustix::io::pread(&self.0, &mut bytes, 0).unwrap_or(0);
        let text = core::str::from_utf8(&bytes[..length]).unwrap_or("");
        text.lines()
            .filter_map(|line| line.strip_prefix("oom_kill "))
            .any(|count| count.trim().parse::<u64>().is_ok_and(|count| count > 0))
    }
}

/// Lines are `ID:CONTROLLERS:PATH`; cgroup v2 is the line `0::PATH` (see cgroups(7)).
fn oom_file(own: &str, theirs: &str) -> Option<PathBuf> {
    let path_in = |text: &'_ str, wanted: &dyn Fn(&str) -> bool| {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            wanted(controllers).then(|| path.to_owned())
        })
    };
    let is_v1 = |controllers: &str| controllers.split(',').any(|name| name == "memory");
    let (path, base, file) = match path_in(theirs, &is_v1) {
        Some(path) if path_in(own, &is_v1).as_ref() != Some(&path) => {
            (path, "/sys/fs/cgroup/memory", "memory.oom_control")
        }
        Some(_) => return None,
        None => {
            let path = path_in(theirs, &str::is_empty)?;
            if path_in(own, &str::is_empty).as_ref() == Some(&path) {
                return None;
            }
            (path, "/sys/fs/cgroup", "memory.events")
        }
    };
    Some(Path::new(base).join(path.trim_start_matches('/')).join(file))
}

#[cfg(test)]
mod tests {
    use super::oom_file;

    #[test]
    fn the_counter_is_found_in_either_version_of_cgroups() {
        let v2 = oom_file("0::/agent\n", "0::/lichen/web-0\n");
        assert_eq!(v2, Some("/sys/fs/cgroup/lichen/web-0/memory.events".into()));
        let own = "4:memory:/agent\n1:name=systemd:/\n0::/\n";
        let v1 = oom_file(own, "4:memory,hugetlb:/lichen/web-0\n0::/\n");
        assert_eq!(v1, Some("/sys/fs/cgroup/memory/lichen/web-0/memory.oom_control".into()));
    }

    #[test]
    fn a_shared_cgroup_tells_nothing_about_one_instance() {
        assert_eq!(oom_file("0::/agent\n", "0::/agent\n"), None);
        assert_eq!(oom_file("4:memory:/a\n0::/\n", "4:memory:/a\n0::/\n"), None);
        assert_eq!(oom_file("", ""), None);
    }
}
