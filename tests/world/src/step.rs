//! What can be done to the world: one line of text per step, the same in scenarios, in drawn histories and in what a
//! failure prints, so that a failure can be kept as a scenario by copying it.

use std::fmt;

/// One thing that happens: the words of a line, and the seed of the chances that follow from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// A verb and its arguments.
    pub words: Vec<String>,
    /// Seeds every chance until the next step: taking other steps out of a history changes little in this one.
    pub salt: u64,
}

/// A line that is not a step.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAStep {
    /// The line.
    pub line: String,
    /// What is wrong with it.
    pub cause: String,
}

impl fmt::Display for NotAStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a step: {}", self.line, self.cause)
    }
}

impl Step {
    /// A step with its chances.
    #[must_use]
    pub fn new(line: &str, salt: u64) -> Self {
        Self { words: line.split_whitespace().map(str::to_owned).collect(), salt }
    }

    /// Reads a line: `verb arguments… [@salt]`. Without a salt, `default` is it.
    #[must_use]
    pub fn parse(line: &str, default: u64) -> Self {
        let mut step = Self::new(line, default);
        let salt = step.words.last().and_then(|word| word.strip_prefix('@'));
        if let Some(salt) = salt.and_then(|salt| u64::from_str_radix(salt, 16).ok()) {
            step.words.pop();
            step.salt = salt;
        }
        step
    }

    /// The first word.
    #[must_use]
    pub fn verb(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The argument at a place, counted from 1.
    ///
    /// # Errors
    /// There is none.
    pub fn word(&self, place: usize) -> Result<&str, NotAStep> {
        let missing = || self.refuse(&format!("argument {place} is missing"));
        self.words.get(place).map(String::as_str).ok_or_else(missing)
    }

    /// The value of `key=value` among the arguments.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// A number in `key=number`.
    ///
    /// # Errors
    /// It is not a number.
    pub fn number(&self, key: &str, default: u64) -> Result<u64, NotAStep> {
        let not = |_| self.refuse(&format!("{key} is not a number"));
        self.setting(key).map_or(Ok(default), |text| text.parse().map_err(not))
    }

    /// Whether a word is among the arguments.
    #[must_use]
    pub fn says(&self, word: &str) -> bool {
        self.words.iter().skip(1).any(|said| said == word)
    }

    /// A duration such as `250ms`, `10s`, `5m`, `2h`, `7d`, in milliseconds.
    ///
    /// # Errors
    /// It is not a duration.
    pub fn duration(&self, place: usize) -> Result<u64, NotAStep> {
        let word = self.word(place)?;
        let split = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
        let (digits, unit) = word.split_at(split);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(self.refuse(&format!("`{word}` is not a duration"))),
        };
        let count: u64 =
            digits.parse().map_err(|_| self.refuse(&format!("`{word}` is not a duration")))?;
        Ok(count.saturating_mul(unit_ms))
    }

    /// Says what is wrong with this step.
    #[must_use]
    pub fn refuse(&self, cause: &str) -> NotAStep {
        NotAStep { line: self.words.join(" "), cause: cause.to_owned() }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} @{:x}", self.words.join(" "), self.salt)
    }
}

/// A span of virtual time for people: `3d 4h 5m 6.789s`, without what is zero in front.
#[must_use]
pub fn show_time(ms: u64) -> String {
    let (days, hours) = (ms / 86_400_000, ms / 3_600_000 % 24);
    let (minutes, seconds) = (ms / 60_000 % 60, ms % 60_000);
    let seconds = format!("{}.{:03}s", seconds / 1000, seconds % 1000);
    match (days, hours, minutes) {
        (0, 0, 0) => seconds,
        (0, 0, _) => format!("{minutes}m {seconds}"),
        (0, _, _) => format!("{hours}h {minutes}m {seconds}"),
        _ => format!("{days}d {hours}h {minutes}m {seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_reads_back_as_it_was_written() {
        let step = Step::new("apply deployment web replicas=2 image=steady:1", 0xbeef);
        assert_eq!(Step::parse(&step.to_string(), 0), step);
        assert_eq!(step.setting("replicas"), Some("2"));
        assert_eq!(step.word(2), Ok("web"));
        assert_eq!(Step::new("pass 3m", 0).duration(1), Ok(180_000));
        assert!(Step::new("pass soon", 0).duration(1).is_err());
    }

    #[test]
    fn times_read_like_times() {
        assert_eq!(show_time(90_061_001), "1d 1h 1m 1.001s");
        assert_eq!(show_time(61_000), "1m 1.000s");
    }
}
