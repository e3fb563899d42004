//! Another user, and no privileges: neither kept nor to be had again.

use rustix::{
    io,
    process::{Signal, getppid, parent_process_death_signal, set_parent_process_death_signal},
    thread::{
        CapabilitySet, CapabilitySets, Gid, Uid, set_capabilities, set_no_new_privs,
        set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

/// Becomes a user and group, if this process may, and gives up every capability.
pub(super) fn change(user: Option<(u32, u32)>, groups: &[u32]) -> io::Result<()> {
    // No program that is started from here gets more, even by a set-uid bit.
    set_no_new_privs(true)?;
    if let Some((uid, gid)) = user.filter(|_| rustix::process::geteuid().is_root()) {
        // The kernel forgets it with a change of user.
        let signal = parent_process_death_signal()?;
        let parent = getppid();
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let groups: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
        die_with_parent(signal, parent)?;
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

fn die_with_parent(signal: Option<Signal>, parent: Option<rustix::process::Pid>) -> io::Result<()> {
    if signal.is_none() {
        return Ok(());
    }
    set_parent_process_death_signal(signal)?;
    // It may have died in between.
    if getppid() == parent { Ok(()) } else { Err(io::Errno::SRCH) }
}
