//! What happened, line by line with its time, as a person would tell it. Printed when a check fails, recorded by scenarios.

use crate::step::show_time;

/// Lines that are kept: a story of a failure is its end, and a run must not grow without bound.
const KEPT: usize = 4000;

/// The lines so far.
#[derive(Debug, Default)]
pub struct Story {
    lines: std::collections::VecDeque<String>,
    /// Lines that were dropped from the front.
    dropped: usize,
}

impl Story {
    /// Adds a line.
    pub fn tell(&mut self, now: u64, line: &str) {
        if self.lines.len() == KEPT {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back(format!("{:>16}  {line}", show_time(now)));
    }

    /// Takes the lines out.
    pub fn take(&mut self) -> Vec<String> {
        self.lines.drain(..).collect()
    }
}

impl std::fmt::Display for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.dropped > 0 {
            writeln!(f, "({} lines before are left out)", self.dropped)?;
        }
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
