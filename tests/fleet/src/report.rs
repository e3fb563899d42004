//! Figures, and the one table that has a column for each size of the fleet.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

/// One figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// What was measured. It names the row.
    pub what: &'static str,
    /// The figure.
    pub value: String,
    /// What it should be at 10,000 devices, or nothing.
    pub goal: &'static str,
}

impl Figure {
    /// A figure with a goal.
    #[must_use]
    pub fn new(what: &'static str, value: String, goal: &'static str) -> Self {
        Self { what, value, goal }
    }
}

/// Seconds, as text.
#[must_use]
pub fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// Milliseconds, as text.
#[must_use]
pub fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

/// Wall time and CPU time, as text.
#[must_use]
pub fn with_cpu(wall: Duration, cpu: Duration) -> String {
    format!("{} (hub CPU {})", seconds(wall), seconds(cpu))
}

/// Bytes in MiB, as text.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

/// So many per second, as text.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "shown without fractions")]
pub fn per_second(count: usize, time: Duration) -> String {
    format!("{:.0}/s", count as f64 / time.as_secs_f64().max(1e-9))
}

/// The percentile of some times; zero of none.
#[must_use]
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// A table of figures: a row for each, a column for each number of devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    rows: Vec<Row>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Row {
    what: String,
    cells: BTreeMap<usize, String>,
    goal: String,
}

impl Table {
    /// Reads a table that [`Table::print`] has written. Anything else is an empty one.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut lines = text.lines().filter(|line| line.starts_with('|')).map(cells);
        let sizes: Vec<usize> =
            lines.next().unwrap_or_default().iter().filter_map(|h| size(h)).collect();
        let rows = lines.skip(1).filter(|cells| cells.len() == sizes.len() + 2).map(|cells| Row {
            what: cells[0].clone(),
            cells: sizes.iter().copied().zip(cells[1..].iter().cloned()).collect(),
            goal: cells[cells.len() - 1].clone(),
        });
        Self { rows: rows.collect() }
    }

    /// Puts figures into the column of a size.
    pub fn add(&mut self, devices: usize, figures: &[Figure]) {
        for Figure { what, value, goal } in figures {
            let place = self.rows.iter().position(|row| row.what == *what).unwrap_or_else(|| {
                self.rows.push(Row { what: (*what).to_owned(), ..Row::default() });
                self.rows.len() - 1
            });
            let row = &mut self.rows[place];
            (*goal).clone_into(&mut row.goal);
            row.cells.insert(devices, value.clone());
        }
    }

    /// Writes it as Markdown.
    #[must_use]
    pub fn print(&self) -> String {
        let mut sizes: Vec<usize> =
            self.rows.iter().flat_map(|row| row.cells.keys().copied()).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let mut text = String::from("| what |");
        // Writing to a String can't fail.
        for devices in &sizes {
            let _ = write!(text, " {devices} devices |");
        }
        text.push_str(" goal at 10,000 |\n|");
        text.push_str(&"---|".repeat(sizes.len() + 2));
        text.push('\n');
        for row in &self.rows {
            let _ = write!(text, "| {} |", row.what);
            for devices in &sizes {
                let _ = write!(text, " {} |", row.cells.get(devices).map_or("", String::as_str));
            }
            let _ = writeln!(text, " {} |", row.goal);
        }
        text
    }
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(|cell| cell.trim().to_owned()).collect()
}

fn size(header: &str) -> Option<usize> {
    header.strip_suffix(" devices")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_keeps_the_columns_of_other_sizes() {
        let mut table = Table::default();
        table.add(1000, &[Figure::new("connect", "1.00 s".into(), "≤ 10 s")]);
        let mut table = Table::read(&table.print());
        let later = [
            Figure::new("connect", "9.00 s".into(), "≤ 10 s"),
            Figure::new("delete", "2.00 s".into(), ""),
        ];
        table.add(10_000, &later);
        let text = table.print();
        assert!(text.contains("| connect | 1.00 s | 9.00 s | ≤ 10 s |"), "{text}");
        assert!(text.contains("| delete |  | 2.00 s |  |"), "{text}");
        assert_eq!(Table::read(&text).print(), text);
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(100));
        assert_eq!(percentile(&times, 99), Duration::from_millis(198));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }
}
