//! Linux capabilities as a set of bits: bit `n` is capability `n` of the kernel's `linux/capability.h`.

/// Their names without `CAP_`, by number.
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The word `ALL`: every capability that the device's kernel has, those without a name here included.
pub const ALL: u64 = 1 << 63;

/// The bit of a capability by its name, with or without `CAP_`; of `ALL`, too.
#[must_use]
pub fn bit(name: &str) -> Option<u64> {
    let name = name.strip_prefix("CAP_").unwrap_or(name);
    match NAMES.iter().position(|known| *known == name) {
        Some(number) => Some(1 << number),
        None => (name == "ALL").then_some(ALL),
    }
}

/// The names in a set, without `ALL`.
pub fn names(set: u64) -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().enumerate().filter(move |(number, _)| set >> number & 1 == 1).map(|(_, n)| n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers_of_the_kernel() {
        // linux/capability.h: CAP_NET_ADMIN 12, CAP_SYS_ADMIN 21, CAP_MKNOD 27, CAP_CHECKPOINT_RESTORE 40.
        for (name, number) in
            [("NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21), ("MKNOD", 27), ("CHECKPOINT_RESTORE", 40)]
        {
            assert_eq!(bit(name), Some(1 << number), "{name}");
        }
        assert_eq!((bit("ALL"), bit("CAP_ALL")), (Some(ALL), Some(ALL)));
        assert!([bit("net_admin"), bit("CAP_CAP_CHOWN"), bit("")].iter().all(Option::is_none));
        let set = ALL | 1 << 12 | 1;
        assert!(names(set).eq(["CHOWN", "NET_ADMIN"]));
    }
}
