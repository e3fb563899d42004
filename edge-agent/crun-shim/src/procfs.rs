//! What `/proc` knows about processes: start times, parents, sessions, the boot.

use std::fs;
use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::state::BootId;

/// The fields of `/proc/PID/stat` that identify a process and its relations (see proc(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    /// `Z` or `X` once the process has ended.
    pub(crate) state: u8,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    /// Clock ticks since boot.
    pub(crate) start_ticks: u64,
}

impl Stat {
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X')
    }
}

/// The running boot.
pub(crate) fn boot_id() -> io::Result<BootId> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    BootId::parse(&text).ok_or_else(|| io::Error::other("boot_id is not 32 hexadecimal digits"))
}

/// `None` if there is no such process.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&bytes)
}

/// Every process that can be seen. Costs a walk over `/proc`, so it is for rare moments only.
pub(crate) fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(stat)
        .collect()
}

/// Every process that has `word` as one of its arguments.
pub(crate) fn with_argument(word: &[u8]) -> Vec<Stat> {
    let has_word = |stat: &Stat| {
        let words = fs::read(format!("/proc/{}/cmdline", stat.pid)).unwrap_or_default();
        words.split(|&b| b == 0).any(|other| other == word)
    };
    all().into_iter().filter(Stat::is_alive).filter(has_word).collect()
}

/// Kills the recorded process if it still lives, without ever hitting another one: the descriptor is opened
/// first and the start time compared after, so the pid cannot change hands in between.
/// The descriptor, if any, becomes readable when the process is gone.
pub(crate) fn kill_exactly(pid: i32, start_ticks: u64) -> Option<rustix::fd::OwnedFd> {
    let descriptor = open_exactly(pid, start_ticks)?;
    pidfd_send_signal(&descriptor, Signal::KILL).ok()?;
    Some(descriptor)
}

/// A descriptor of the recorded process and no other; `None` if it has gone.
pub(crate) fn open_exactly(pid: i32, start_ticks: u64) -> Option<rustix::fd::OwnedFd> {
    let descriptor = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    let stat = stat(pid)?;
    (stat.start_ticks == start_ticks && stat.is_alive()).then_some(descriptor)
}

/// The name in parentheses may contain anything, so fields are counted from the last parenthesis.
fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let open = bytes.iter().position(|&b| b == b'(')?;
    let close = bytes.iter().rposition(|&b| b == b')')?;
    let pid = core::str::from_utf8(bytes.get(..open)?).ok()?.trim().parse().ok()?;
    let mut fields = core::str::from_utf8(bytes.get(close + 1..)?).ok()?.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let start_ticks = fields.nth(15)?.parse().ok()?;
    Some(Stat { pid, state, parent, session, start_ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_process_name_does_not_shift_the_fields() {
        let line =
            b"42 (a) R 1 (b) S 7 40 41 0 -1 4194304 1 0 0 0 1 2 0 0 20 0 1 0 987654 100 200\n";
        let expected = Stat { pid: 42, state: b'S', parent: 7, session: 41, start_ticks: 987_654 };
        assert_eq!(parse_stat(line), Some(expected));
    }

    #[test]
    fn a_cut_line_is_no_process() {
        assert_eq!(parse_stat(b""), None);
        assert_eq!(parse_stat(b"42 (a"), None);
        assert_eq!(parse_stat(b"42 (a) S 7"), None);
        assert_eq!(parse_stat(b")("), None);
    }

    #[test]
    fn this_process_is_found_and_alive() {
        let me = i32::try_from(std::process::id()).expect("a pid");
        let stat = stat(me).expect("this process");
        assert!(stat.is_alive());
        assert!(all().iter().any(|other| other.pid == me && other.start_ticks == stat.start_ticks));
        assert!(boot_id().is_ok());
    }

    #[test]
    fn a_process_with_another_start_time_is_not_killed() {
        let me = i32::try_from(std::process::id()).expect("a pid");
        assert!(kill_exactly(me, 1).is_none());
    }
}
