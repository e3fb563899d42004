//! Columns: as wide as their widest cell, three spaces apart as kubectl has them; on a narrow terminal closer together
//! and, if that does not do, with a long text cut. Names never are:
//! operators copy them.

use super::ui::{Tone, Ui, plain};

/// Columns that are never cut on a narrow terminal: what operators copy. Other texts are whole in `describe` and `-o yaml`.
const NAMES: [&str; 5] = ["NAME", "NAMESPACE", "NODE", "OBJECT", "DIGEST"];
/// A text is not cut below this.
const LEAST: usize = 16;

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell with a tone.
    #[must_use]
    pub fn toned(text: &str, tone: Tone) -> Self {
        Self { text: plain(text), tone }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: plain(text.as_ref()), tone: Tone::Plain }
    }
}

/// Rows below headings.
#[derive(Clone, Debug, Default)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<Cell>>,
    /// Least widths: those of what was printed above.
    widths: Vec<usize>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new<T: AsRef<str>>(headings: &[T]) -> Self {
        let headings = headings.iter().map(|heading| plain(heading.as_ref())).collect();
        Self { headings, ..Self::default() }
    }

    /// Adds a row.
    pub fn add(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.headings.len(), "a cell for each heading");
        self.rows.push(row);
    }

    /// The lines with their headings.
    #[must_use]
    pub fn lines(&self, ui: &Ui) -> Vec<String> {
        let headings = self.headings.iter().map(|h| Cell::toned(h, Tone::Bold)).collect();
        let all: Vec<&Vec<Cell>> = std::iter::once(&headings).chain(&self.rows).collect();
        let layout = self.layout(ui.width());
        all.into_iter().map(|row| line(row, &layout, ui)).collect()
    }

    /// The lines of the rows alone, below what was printed before.
    #[must_use]
    pub fn rows(&self, ui: &Ui) -> Vec<String> {
        let layout = self.layout(ui.width());
        self.rows.iter().map(|row| line(row, &layout, ui)).collect()
    }

    /// Keeps a column at least so wide, for rows that come later.
    #[must_use]
    pub fn at_least(mut self, heading: &str, width: usize) -> Self {
        self.widths.resize(self.headings.len(), 0);
        for (name, least) in self.headings.iter().zip(&mut self.widths) {
            if name == heading {
                *least = width.max(*least);
            }
        }
        self
    }

    /// The same rows, in columns that fit those of a table that was printed above.
    #[must_use]
    pub fn below(&self, above: &Self) -> Self {
        Self { widths: above.natural(), ..self.clone() }
    }

    /// Each column as wide as its widest cell.
    fn natural(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.headings.iter().map(|h| h.chars().count()).collect();
        for (width, least) in widths.iter_mut().zip(&self.widths) {
            *width = (*width).max(*least);
        }
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        widths
    }

    fn layout(&self, room: Option<usize>) -> Layout {
        let mut widths = self.natural();
        let gaps = widths.len().saturating_sub(1);
        let text: usize = widths.iter().sum();
        let Some(room) = room else { return Layout { widths, gap: 3 } };
        let gap = if text + 3 * gaps <= room { 3 } else { 2 };
        let over = (text + gap * gaps).saturating_sub(room);
        let texts = self.headings.iter().zip(&mut widths);
        let texts = texts.filter(|(heading, _)| !NAMES.contains(&heading.as_str()));
        let texts = texts.map(|(_, width)| width);
        if let Some(widest) = texts.max() {
            *widest = widest.saturating_sub(over).max(LEAST.min(*widest));
        }
        Layout { widths, gap }
    }
}

struct Layout {
    widths: Vec<usize>,
    gap: usize,
}

fn line(row: &[Cell], layout: &Layout, ui: &Ui) -> String {
    let mut line = String::new();
    let last = row.len().saturating_sub(1);
    for (index, (cell, width)) in row.iter().zip(&layout.widths).enumerate() {
        let text = cut(&cell.text, *width);
        let padding = if index == last { 0 } else { width - text.chars().count() + layout.gap };
        line.push_str(&ui.tinted(&text, cell.tone));
        line.push_str(&" ".repeat(padding));
    }
    line.truncate(line.trim_end().len());
    line
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "STATUS", "MESSAGE"]);
        table.add(vec!["a".into(), Cell::toned("Ready", Tone::Good), "short".into()]);
        table.add(vec![
            "a-long-name".into(),
            "NotReady".into(),
            "a message\u{1b}[31m of some length".into(),
        ]);
        table
    }

    #[test]
    fn columns_line_up_and_nothing_drives_the_terminal() {
        let (ui, _, _) = Ui::captured();
        let expected = "\
NAME          STATUS     MESSAGE
a             Ready      short
a-long-name   NotReady   a message [31m of some length";
        assert_eq!(table().lines(&ui).join("\n"), expected);
    }

    #[test]
    fn a_narrow_terminal_cuts_the_longest_text_and_no_name() {
        let layout = table().layout(Some(42));
        assert_eq!((layout.gap, layout.widths), (2, vec![11, 8, 19]));
        let mut names = Table::new(&["NAME"]);
        names.add(vec!["a-name-that-is-longer-than-the-terminal".into()]);
        assert_eq!(names.layout(Some(10)).widths, [39]);
        assert_eq!(cut("a message of some length", 19), "a message of some …");
    }

    #[test]
    fn later_rows_stand_below_the_earlier_ones() {
        let (ui, _, _) = Ui::captured();
        let mut below = Table::new(&["NAME", "STATUS", "MESSAGE"]);
        below.add(vec!["b".into(), "Ready".into(), "x".into()]);
        let below = below.below(&table());
        assert_eq!(below.rows(&ui), ["b             Ready      x"]);
    }
}
