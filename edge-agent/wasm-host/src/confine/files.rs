//! Which files can be opened: those below the guest's directories, by Landlock. Kernels from 5.13 on have it, if it is
//! built in and not switched off.

use std::os::fd::OwnedFd;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};

/// The newest version of Landlock whose rights are known here. What an older kernel does not know is left out.
const ABI_KNOWN: ABI = ABI::V6;

/// What the C library reads to find names in a network, and the parts of itself that it loads for that.
const NAME_SERVICE: [&str; 9] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ld.so.cache",
    "/lib",
    "/usr/lib",
];

/// From now on nothing can be opened but what is below these directories; written to only where that is allowed.
pub(super) fn allow_only(dirs: &[(OwnedFd, bool)], network: bool) -> Result<(), RulesetError> {
    let all = AccessFs::from_all(ABI_KNOWN);
    let read = AccessFs::from_read(ABI_KNOWN);
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(all)?;
    if !network {
        ruleset = ruleset.handle_access(AccessNet::from_all(ABI_KNOWN))?;
    }
    let mut ruleset = ruleset.scope(Scope::from_all(ABI_KNOWN))?.create()?;
    for (dir, read_only) in dirs {
        let access = if *read_only { read } else { all };
        ruleset = ruleset.add_rule(PathBeneath::new(dir, access))?;
    }
    for path in NAME_SERVICE.iter().filter(|_| network) {
        // One that is missing is needed by nobody.
        if let Ok(found) = PathFd::new(path) {
            let is_dir = std::path::Path::new(path).is_dir();
            let access = if is_dir { read } else { read & AccessFs::from_file(ABI_KNOWN) };
            ruleset = ruleset.add_rule(PathBeneath::new(found, access))?;
        }
    }
    ruleset.restrict_self().map(drop)
}

/// Whether this kernel has Landlock.
#[cfg(test)]
pub(super) fn is_known() -> bool {
    let status = std::thread::spawn(|| {
        let ruleset = Ruleset::default().handle_access(AccessFs::Execute)?.create()?;
        ruleset.restrict_self()
    });
    let status = status.join().expect("it ends").expect("best effort");
    status.ruleset != landlock::RulesetStatus::NotEnforced
}
