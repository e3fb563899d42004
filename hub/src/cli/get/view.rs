//! The hub's rows as a table of the terminal: which columns, under which headings.

use serde_json::Value;

use crate::cli::{
    client::{Column, Item},
    discovery::ApiResource,
    table::{Cell, Table},
    tone,
};

/// What a table shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    /// More columns.
    pub wide: bool,
    /// A column with the namespace.
    pub namespaces: bool,
    /// The kind in front of each name.
    pub kinds: bool,
}

impl View {
    /// A table of objects of one kind.
    #[must_use]
    pub fn table(self, resource: &ApiResource, columns: &[Column], items: &[Item]) -> Table {
        let shown: Vec<(usize, &Column, String)> = columns
            .iter()
            .enumerate()
            .filter(|(_, column)| self.wide || column.priority == 0)
            .map(|(index, column)| (index, column, column.name.to_uppercase()))
            .collect();
        let namespaces = self.namespaces && resource.namespaced;
        let mut headings: Vec<&str> = Vec::new();
        if namespaces {
            headings.push("NAMESPACE");
        }
        headings.extend(shown.iter().map(|(_, _, heading)| heading.as_str()));
        let mut table = Table::new(&headings);
        for item in items {
            let mut row: Vec<Cell> = Vec::new();
            if namespaces {
                row.push(item.meta("namespace").into());
            }
            for (index, column, heading) in &shown {
                let text = item.cells.get(*index).map(text).unwrap_or_default();
                row.push(match self.kinds && column.format == "name" {
                    true => format!("{}/{text}", resource.singular).into(),
                    false => Cell::toned(&text, tone::of(heading, &text)),
                });
            }
            table.add(row);
        }
        table
    }
}

/// A cell as text.
#[must_use]
pub fn text(cell: &Value) -> String {
    match cell {
        Value::String(text) => text.clone(),
        Value::Null => "<none>".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::{discovery::tests::sample, ui::Ui};

    fn check(view: View, expected: &str) {
        let columns: Vec<Column> = serde_json::from_value(json!([
            {"name": "Name", "type": "string", "format": "name", "priority": 0},
            {"name": "Growth Rate", "type": "integer", "priority": 0},
            {"name": "Status", "type": "string"},
            {"name": "Substrate", "type": "string", "priority": 1},
        ]))
        .expect("columns");
        let items: Vec<Item> = serde_json::from_value(json!([
            {"cells": ["star", 3, "Ready", "bark"], "object": {"metadata": {"namespace": "shop"}}},
            {"cells": ["haircap\u{1b}", 12, "Dry", null], "object": {"metadata": {"namespace": "far"}}},
        ]))
        .expect("rows");
        let resource = sample().find("moss").expect("a kind");
        let lines = view.table(&resource, &columns, &items).lines(&Ui::captured().0);
        assert_eq!(lines.join("\n"), expected.trim_start_matches('\n'));
    }

    #[test]
    fn a_kind_that_nobody_here_knows_is_shown_as_the_hub_says() {
        check(
            View::default(),
            "
NAME       GROWTH RATE   STATUS
star       3             Ready
haircap    12            Dry",
        );
        check(
            View { wide: true, namespaces: true, kinds: true },
            "
NAMESPACE   NAME            GROWTH RATE   STATUS   SUBSTRATE
shop        moss/star       3             Ready    bark
far         moss/haircap    12            Dry      <none>",
        );
    }
}
