//! What of an object is shown in a row, and what it can be selected by.

use alloc::vec::Vec;

use serde_json::Value;

use super::Resource;

/// One column of `get`.
#[derive(Debug)]
pub struct Column<T> {
    /// What it is about.
    pub column: ColumnNames,
    /// One object's cell. The second argument is the time now, in Unix milliseconds.
    pub cell: fn(&T, u64) -> Value,
}

/// What a column is called.
#[derive(Clone, Copy, Debug)]
pub struct ColumnNames {
    /// Its heading.
    pub name: &'static str,
    /// Whether it is shown with `-o wide` alone.
    pub wide: bool,
    /// Whether its cells are numbers.
    pub number: bool,
    /// For people.
    pub description: &'static str,
}

impl<T> Column<T> {
    /// A column of texts.
    pub const fn text(
        name: &'static str,
        description: &'static str,
        cell: fn(&T, u64) -> Value,
    ) -> Self {
        Self { column: ColumnNames { name, wide: false, number: false, description }, cell }
    }

    /// A column of numbers.
    pub const fn number(
        name: &'static str,
        description: &'static str,
        cell: fn(&T, u64) -> Value,
    ) -> Self {
        Self { column: ColumnNames { name, wide: false, number: true, description }, cell }
    }

    /// A column of texts, with `-o wide` alone.
    pub const fn wide(
        name: &'static str,
        description: &'static str,
        cell: fn(&T, u64) -> Value,
    ) -> Self {
        Self { column: ColumnNames { name, wide: true, number: false, description }, cell }
    }

    /// A column of numbers, with `-o wide` alone.
    pub const fn wide_number(
        name: &'static str,
        description: &'static str,
        cell: fn(&T, u64) -> Value,
    ) -> Self {
        Self { column: ColumnNames { name, wide: true, number: true, description }, cell }
    }
}

/// A field that objects can be selected by.
#[derive(Debug)]
pub struct Selectable<T> {
    /// Its path.
    pub field: &'static str,
    /// Its value; empty where an object has none, as in Kubernetes.
    pub value: fn(&T) -> &str,
    /// Whether an object without a value is selected by the one that is asked for. Absent: it is not.
    pub without: Option<fn(&T, &str) -> bool>,
}

impl<T> Selectable<T> {
    /// A field whose value is compared.
    pub const fn new(field: &'static str, value: fn(&T) -> &str) -> Self {
        Self { field, value, without: None }
    }

    /// Whether an object has this value there.
    pub fn is(&self, object: &T, wanted: &str) -> bool {
        let value = (self.value)(object);
        match self.without {
            Some(without) if value.is_empty() => without(object, wanted),
            _ => value == wanted,
        }
    }
}

/// The names of a kind's columns.
pub(crate) fn columns<T: Resource>() -> Vec<ColumnNames> {
    T::COLUMNS.iter().map(|column| column.column).collect()
}

/// An object's row.
pub(crate) fn cells<T: Resource>(object: &T, now_ms: u64) -> Vec<Value> {
    T::COLUMNS.iter().map(|column| (column.cell)(object, now_ms)).collect()
}

/// The paths that a kind can be selected by, beside name and namespace.
pub(crate) fn selectable<T: Resource>() -> Vec<&'static str> {
    T::SELECTABLE.iter().map(|field| field.field).collect()
}

/// Whether an object has a value in a selectable field; `None` if it can't be selected by that field.
pub(crate) fn is_selected<T: Resource>(object: &T, field: &str, wanted: &str) -> Option<bool> {
    let found = T::SELECTABLE.iter().find(|known| known.field == field)?;
    Some(found.is(object, wanted))
}
