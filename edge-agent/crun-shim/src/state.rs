//! The words shared by the protocol and the files: states, exits, boots.
//!
//! These types are stored and sent in postcard. An older shim keeps running while the agent is upgraded, so
//! variants are appended and never reordered, and a changed struct needs a new [`crate::protocol::VERSION`].

use core::fmt;

use serde::{Deserialize, Serialize};

/// Longest message kept in an exit record, in bytes; it travels in one frame and in a status report.
pub const MAX_MESSAGE: usize = 4096;

/// Where a container is in its life, and what the shim has counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Where the container is in its life.
    pub phase: Phase,
    /// The boot during which the shim started.
    pub boot_id: BootId,
    /// Process id of the shim.
    pub shim_pid: i32,
    /// Lines lost because the log could not be written (a full disk).
    pub dropped_log_lines: u64,
    /// Bytes written to the log files in this run.
    pub log_bytes: u64,
}

/// The phases of one run, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The runtime prepares the container.
    Starting,
    /// The container runs.
    Running(Started),
    /// The container was told to stop and has not ended yet.
    Stopping(Started),
    /// The container has ended; the shim leaves as soon as this is told.
    Exited(Exit),
}

/// The running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Process id of the container's first process, as the machine sees it.
    pub pid: i32,
    /// When it started, in milliseconds since 1970 by the machine's clock.
    pub at_ms: u64,
}

/// How a run ended. Stored as the file `exit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How it ended.
    pub outcome: Outcome,
    /// True when the kernel killed a process of the container for want of memory. False when unknown.
    pub oom_killed: bool,
    /// When the container started; `None` if it never did or nobody saw it.
    pub started_at_ms: Option<u64>,
    /// When it ended, in milliseconds since 1970 by the machine's clock.
    pub finished_at_ms: u64,
    /// The boot during which it ended; zeros if nobody can tell.
    pub boot_id: BootId,
    /// Reason for humans; empty when the outcome says it all. At most [`MAX_MESSAGE`] bytes.
    pub message: String,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It returned this exit code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It could not be started; the message says why.
    StartError,
    /// It was stopped before it had started.
    NeverStarted,
    /// Its shim vanished (power loss, `kill -9`), so nobody saw how it ended.
    Lost,
}

impl Outcome {
    /// The number that shells and Kubernetes use: the exit code, or 128 plus the signal.
    /// Outcomes without a process read as 128, as container runtimes report them.
    #[must_use]
    pub fn exit_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            // Any number may stand in a damaged record.
            Self::Signal(signal) => signal.saturating_add(128),
            Self::StartError | Self::NeverStarted | Self::Lost => 128,
        }
    }
}

/// Identity of one boot of the machine, from `/proc/sys/kernel/random/boot_id`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootId(pub [u8; 16]);

impl BootId {
    /// Reads the usual text form: 32 hexadecimal digits, hyphens ignored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let mut digits = text.trim().chars().filter(|&c| c != '-');
        for byte in &mut bytes {
            let high = digits.next()?.to_digit(16)?;
            let low = digits.next()?.to_digit(16)?;
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        digits.next().is_none().then_some(Self(bytes))
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Cuts a message to [`MAX_MESSAGE`] bytes at a character boundary.
#[must_use]
pub fn bounded_message(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_MESSAGE)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_reads_back_as_it_was_printed() {
        let text = "d7f1c2de-0a4e-4e8f-9a53-0123456789ab";
        let boot = BootId::parse(&format!("{text}\n")).expect("a boot id");
        assert_eq!(boot.to_string(), text);
    }

    #[test]
    fn a_boot_id_of_the_wrong_length_is_refused() {
        assert_eq!(BootId::parse(""), None);
        assert_eq!(BootId::parse("d7f1"), None);
        assert_eq!(BootId::parse(&"0".repeat(33)), None);
        assert_eq!(BootId::parse(&"g".repeat(32)), None);
    }

    #[test]
    fn exit_codes_follow_the_shell() {
        assert_eq!(Outcome::Code(3).exit_code(), 3);
        assert_eq!(Outcome::Signal(9).exit_code(), 137);
        assert_eq!(Outcome::StartError.exit_code(), 128);
        assert_eq!(Outcome::Signal(i32::MAX).exit_code(), i32::MAX);
    }

    #[test]
    fn messages_are_cut_between_characters() {
        let long = "ä".repeat(MAX_MESSAGE);
        let cut = bounded_message(&long);
        assert_eq!(cut.len(), MAX_MESSAGE);
        assert_eq!(bounded_message("short"), "short");
        assert!(bounded_message(&format!("x{long}")).len() < MAX_MESSAGE);
    }
}
