//! Lists: as objects, or as the rows of Kubernetes' `Table`, which the hub renders for every kind that it has. Long lists
//! come in pages; all of them are of one moment.

use serde::Deserialize;
use serde_json::Value;

use super::{Client, ClientError, JSON, query};
use crate::cli::discovery::{ApiResource, ObjectRef};

/// How many objects are asked for at once, as kubectl does.
const PAGE: &str = "500";
/// How often a list is begun again because the hub no longer has its moment.
const ATTEMPTS: usize = 5;
/// What asks for a table.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// In which form objects are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Objects,
    /// As rows, with their metadata.
    Rows,
    /// As rows, with everything.
    RowsAndObjects,
}

/// Which objects of a kind are wanted; an empty text selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selectors {
    /// `app=web,tier!=cache`.
    pub labels: String,
    /// `spec.nodeName=pi`.
    pub fields: String,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Column {
    /// `Ready`.
    pub name: String,
    /// `name` where the object's name is.
    #[serde(default)]
    pub format: String,
    /// 0 is shown always, more with `-o wide`.
    #[serde(default)]
    pub priority: i32,
}

/// An object of a list.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Item {
    /// One for each column; empty if objects were asked for.
    #[serde(default)]
    pub cells: Vec<Value>,
    /// The object, or its metadata.
    #[serde(default)]
    pub object: Value,
}

/// A list, as the hub answered it.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The columns of the items' cells.
    pub columns: Vec<Column>,
    /// The objects, in the hub's order.
    pub items: Vec<Item>,
    /// Watch from here.
    pub version: String,
}

impl Form {
    pub(super) fn accept(self) -> &'static str {
        match self {
            Self::Objects => JSON,
            Self::Rows | Self::RowsAndObjects => TABLE,
        }
    }

    pub(super) fn include(self) -> &'static str {
        match self {
            Self::RowsAndObjects => "Object",
            Self::Objects | Self::Rows => "",
        }
    }
}

impl Item {
    /// A field of its metadata.
    #[must_use]
    pub fn meta(&self, field: &str) -> &str {
        self.object["metadata"][field].as_str().unwrap_or_default()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.meta("name")
    }
}

impl Client {
    /// Reads the objects of a kind, in one namespace or everywhere.
    ///
    /// # Errors
    /// The hub can't be reached or refuses.
    pub fn list(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        selectors: &Selectors,
        form: Form,
    ) -> Result<Listing, ClientError> {
        let mut attempts = 1;
        loop {
            match self.list_once(resource, namespace, selectors, form) {
                Err(error) if error.is_expired() && attempts < ATTEMPTS => attempts += 1,
                other => return other,
            }
        }
    }

    fn list_once(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        selectors: &Selectors,
        form: Form,
    ) -> Result<Listing, ClientError> {
        let path = resource.collection(namespace);
        let mut listing = Listing::default();
        let mut more = String::new();
        loop {
            let parameters = [
                ("labelSelector", selectors.labels.as_str()),
                ("fieldSelector", &selectors.fields),
                ("includeObject", form.include()),
                ("limit", PAGE),
                ("continue", &more),
            ];
            let target = path.clone() + &query(&parameters);
            let mut answer = self.get_as(&target, form.accept())?;
            let before = listing.items.len();
            listing.version =
                answer["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
            answer["metadata"]["continue"].as_str().unwrap_or_default().clone_into(&mut more);
            match form {
                Form::Objects => {
                    listing.items.extend(self.objects(resource, &mut answer, &target)?)
                }
                Form::Rows | Form::RowsAndObjects => self.rows(answer, &target, &mut listing)?,
            }
            // A page without anything new could go on for ever.
            if more.is_empty() || listing.items.len() == before {
                return Ok(listing);
            }
        }
    }

    /// Reads one object as a row; `None` if it is not there.
    ///
    /// # Errors
    /// The hub can't be reached or refuses.
    pub fn read_row(&self, object: &ObjectRef, form: Form) -> Result<Option<Listing>, ClientError> {
        let target = object.path() + &query(&[("includeObject", form.include())]);
        let mut listing = Listing::default();
        match self.get_as(&target, form.accept()) {
            Ok(answer) => self.rows(answer, &target, &mut listing).map(|()| Some(listing)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn objects(
        &self,
        resource: &ApiResource,
        answer: &mut Value,
        target: &str,
    ) -> Result<Vec<Item>, ClientError> {
        let Value::Array(mut items) = answer["items"].take() else {
            let cause = "it has no items".to_owned();
            return Err(ClientError::Answer { url: self.url(target), cause });
        };
        // Items of a list may leave out what the list says of them all.
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.entry("apiVersion").or_insert_with(|| resource.group_version.as_str().into());
            item.entry("kind").or_insert_with(|| resource.kind.as_str().into());
        }
        Ok(items.into_iter().map(|object| Item { cells: Vec::new(), object }).collect())
    }

    fn rows(&self, answer: Value, target: &str, to: &mut Listing) -> Result<(), ClientError> {
        let table = Table::read(answer)
            .map_err(|cause| ClientError::Answer { url: self.url(target), cause })?;
        if to.columns.is_empty() {
            to.columns = table.column_definitions.unwrap_or_default();
        }
        to.items.extend(table.rows.unwrap_or_default());
        Ok(())
    }
}

/// Kubernetes' `Table`, as far as it is shown.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Table {
    kind: String,
    /// A watch sends them with its first row only.
    pub(super) column_definitions: Option<Vec<Column>>,
    pub(super) rows: Option<Vec<Item>>,
}

impl Table {
    /// From an answer; the error says what is wrong with it.
    pub(super) fn read(answer: Value) -> Result<Self, String> {
        let table: Self =
            serde_json::from_value(answer).map_err(|error| format!("it is no table: {error}"))?;
        match table.kind.as_str() {
            "Table" => Ok(table),
            other => Err(format!("it is a {other}, not a table")),
        }
    }
}
