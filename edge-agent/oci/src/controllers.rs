//! Which limits a device can set at all: a controller may be off while the others work, as memory is on a stock Raspberry Pi.

use std::{fs, path::Path};

use serde_json::Value;

use crate::config::CgroupVersion;

/// Controllers that are not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lacks {
    /// Of memory.
    pub memory: bool,
    /// Of processor time.
    pub cpu: bool,
    /// Of processes.
    pub pids: bool,
}

impl Lacks {
    /// Reads what is mounted at `root`, usually `/sys/fs/cgroup`.
    pub(crate) fn below(root: &Path, version: CgroupVersion) -> Self {
        let there: Box<dyn Fn(&str) -> bool> = match version {
            CgroupVersion::V2 => {
                let all = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
                Box::new(move |name| all.split_whitespace().any(|there| there == name))
            }
            CgroupVersion::V1 => Box::new(|name| root.join(name).is_dir()),
            CgroupVersion::None => Box::new(|_| false),
        };
        Self { memory: !there("memory"), cpu: !there("cpu"), pids: !there("pids") }
    }

    /// Whether none is there, so that no limit can be set.
    #[must_use]
    pub fn all(self) -> bool {
        self.memory && self.cpu && self.pids
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [("memory", self.memory), ("cpu", self.cpu), ("pids", self.pids)];
        all.into_iter().filter_map(|(name, lacks)| lacks.then_some(name))
    }

    /// Takes out of the resources of a `config.json` what nobody could set: a runtime refuses all of it otherwise.
    pub(crate) fn without(self, mut resources: Value) -> Value {
        if let Some(section) = resources.as_object_mut() {
            for name in self.names() {
                section.remove(name);
            }
        }
        resources
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_controller_that_is_off_is_named_and_left_out() {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("cgroup.controllers"), "cpuset cpu io pids\n")
            .expect("writable");
        let lacks = Lacks::below(root.path(), CgroupVersion::V2);
        assert_eq!(lacks.names().collect::<Vec<_>>(), ["memory"]);
        let resources =
            json!({ "cpu": { "shares": 2 }, "pids": { "limit": 1 }, "memory": { "limit": 1 } });
        assert_eq!(
            lacks.without(resources),
            json!({ "cpu": { "shares": 2 }, "pids": { "limit": 1 } })
        );
        fs::create_dir(root.path().join("memory")).expect("writable");
        let lacks = Lacks::below(root.path(), CgroupVersion::V1);
        assert_eq!(lacks.names().collect::<Vec<_>>(), ["cpu", "pids"]);
        assert!(Lacks::below(root.path(), CgroupVersion::None).all());
    }
}
