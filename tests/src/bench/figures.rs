//! Medians, percentiles, the machine, and the table that they end up in.

use std::{fmt::Write, fs};

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// The figure.
    pub figure: String,
    /// What it should be, or nothing.
    pub goal: String,
    /// How it was measured.
    pub how: String,
}

impl Row {
    /// A row.
    #[must_use]
    pub fn new(what: &str, figure: String, goal: &str, how: String) -> Self {
        Self { what: what.to_owned(), figure, goal: goal.to_owned(), how }
    }
}

/// A Markdown table.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from("| what | measured | goal | how |\n|---|---|---|---|\n");
    for Row { what, figure, goal, how } in rows {
        // Writing to a String can't fail.
        let _ = writeln!(text, "| {what} | {figure} | {goal} | {how} |");
    }
    text
}

/// The middle of some numbers; the lower of two middles.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn median(numbers: &[f64]) -> f64 {
    at(numbers, 0.5)
}

/// What 99 of 100 do not exceed.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn p99(numbers: &[f64]) -> f64 {
    at(numbers, 0.99)
}

/// The nearest-rank percentile.
fn at(numbers: &[f64], part: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "counts of measurements are small"
    )]
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted[rank.saturating_sub(1)]
}

/// Median and 99th percentile of milliseconds, as text.
#[must_use]
pub fn milliseconds(numbers: &[f64]) -> String {
    format!("{:.1} ms (p99 {:.1} ms)", median(numbers), p99(numbers))
}

/// Bytes as MiB, as text.
#[must_use]
pub fn mebibytes(bytes: f64) -> String {
    format!("{:.2} MiB", bytes / 1_048_576.0)
}

/// What the figures were measured on.
#[must_use]
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = field(&read("/proc/cpuinfo"), "model name");
    let kib: f64 = field(&read("/proc/meminfo"), "MemTotal")
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "Measured on {cores} cores of {cpu}, {:.0} GiB, Linux {}.",
        kib / 1_048_576.0,
        kernel.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_numbers_that_were_measured() {
        let numbers: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!((median(&numbers), p99(&numbers)), (50.0, 99.0));
        assert_eq!((median(&[7.0]), p99(&[7.0])), (7.0, 7.0));
        assert_eq!((median(&[1.0, 2.0, 9.0]), p99(&[1.0, 2.0, 9.0])), (2.0, 9.0));
    }

    #[test]
    fn a_table_is_markdown() {
        let row = Row::new("size", "1 MiB".into(), "2 MiB", "`ls`".into());
        assert_eq!(
            table(&[row]),
            "| what | measured | goal | how |\n|---|---|---|---|\n| size | 1 MiB | 2 MiB | `ls` |\n"
        );
    }
}
