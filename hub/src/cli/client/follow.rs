//! Follows a kind's objects: a list, then every change. What Kubernetes' clients do by hand is done here: watching again
//! when a watch ends, and listing again when the hub no longer knows the version.

use std::{
    io::{BufRead, BufReader, Read},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    Client, ClientError, Column, Form, Item, Listing, Refused, Selectors, listing::Table, query,
};
use crate::cli::discovery::ApiResource;

/// Longest line of a watch: an object is at most 3 MiB.
const MAX_LINE: u64 = 16 << 20;

/// What is new.
#[derive(Clone, Debug)]
pub enum News {
    /// Everything, at the beginning and whenever changes may have been missed.
    All(Vec<Item>),
    /// An object is new or changed.
    Changed(Item),
    /// An object is gone, or no longer selected; as it was last.
    Deleted(Item),
}

/// Follows a kind's objects.
pub struct Follow<'c> {
    client: &'c Client,
    resource: ApiResource,
    namespace: Option<String>,
    selectors: Selectors,
    form: Form,
    columns: Vec<Column>,
    version: Option<String>,
    lines: Option<BufReader<Box<dyn Read + Send>>>,
    ends: Option<Instant>,
}

impl Client {
    /// Follows a kind's objects, at most for so long.
    #[must_use]
    pub fn follow(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        selectors: Selectors,
        form: Form,
        patience: Option<Duration>,
    ) -> Follow<'_> {
        Follow {
            client: self,
            resource: resource.clone(),
            namespace: namespace.map(str::to_owned),
            selectors,
            form,
            columns: Vec::new(),
            version: None,
            lines: None,
            ends: patience.map(|patience| Instant::now() + patience),
        }
    }
}

impl Follow<'_> {
    /// The columns of the items' cells, once there has been news.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The next news; `None` when the time is over.
    ///
    /// # Errors
    /// The hub can't be reached, or refuses.
    pub fn next_news(&mut self) -> Result<Option<News>, ClientError> {
        loop {
            if self.version.is_none() {
                let namespace = self.namespace.as_deref();
                let Listing { columns, items, version } =
                    self.client.list(&self.resource, namespace, &self.selectors, self.form)?;
                (self.columns, self.version) = (columns, Some(version));
                return Ok(Some(News::All(items)));
            }
            let left = self.ends.map(|ends| ends.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            match self.next_line(left) {
                Ok(Some(line)) => {
                    if let Some(news) = self.read_line(&line)? {
                        return Ok(Some(news));
                    }
                }
                // The hub ends watches after a while; the next one goes on from here.
                Ok(None) => self.lines = None,
                Err(error) if error.is_expired() => self.start_over(),
                Err(error) => return Err(error),
            }
        }
    }

    fn start_over(&mut self) {
        (self.version, self.lines) = (None, None);
    }

    fn next_line(&mut self, left: Option<Duration>) -> Result<Option<Vec<u8>>, ClientError> {
        let lines = match &mut self.lines {
            Some(lines) => lines,
            None => {
                let target = self.target(left);
                let reader: Box<dyn Read + Send> =
                    Box::new(self.client.stream_as(&target, self.form.accept())?);
                self.lines.insert(BufReader::new(reader))
            }
        };
        let mut line = Vec::new();
        match lines.take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => Ok(Some(line)),
            Ok(_) => Ok(None),
            Err(error) => {
                let url = self.client.url(&self.resource.collection(None));
                Err(ClientError::Broken { url, cause: error.to_string() })
            }
        }
    }

    fn target(&self, left: Option<Duration>) -> String {
        // Whole seconds, rounded up, so that the last second isn't spent in a loop.
        let seconds = left.map(|left| (left.as_secs() + 1).to_string()).unwrap_or_default();
        let parameters = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", self.version.as_deref().unwrap_or_default()),
            ("labelSelector", self.selectors.labels.as_str()),
            ("fieldSelector", &self.selectors.fields),
            ("includeObject", self.form.include()),
            ("timeoutSeconds", &seconds),
        ];
        self.resource.collection(self.namespace.as_deref()) + &query(&parameters)
    }

    fn read_line(&mut self, line: &[u8]) -> Result<Option<News>, ClientError> {
        let bad = |cause: String| ClientError::Answer { url: "a watch".to_owned(), cause };
        let mut line: Value =
            serde_json::from_slice(line).map_err(|error| bad(error.to_string()))?;
        let object = line["object"].take();
        let news: fn(Item) -> News = match line["type"].as_str() {
            Some("ADDED" | "MODIFIED") => News::Changed,
            Some("DELETED") => News::Deleted,
            Some("ERROR") => {
                let code = object["code"].as_u64().and_then(|code| u16::try_from(code).ok());
                let refused = Refused::read(code.unwrap_or(500), object.to_string().as_bytes());
                let error = ClientError::Refused(refused);
                if !error.is_expired() {
                    return Err(error);
                }
                self.start_over();
                return Ok(None);
            }
            _ => {
                self.remember(&object);
                return Ok(None);
            }
        };
        self.remember(&object);
        Ok(self.item(object).map_err(bad)?.map(news))
    }

    /// The object of a line; a table of one row, if rows are wanted.
    fn item(&mut self, object: Value) -> Result<Option<Item>, String> {
        if self.form == Form::Objects {
            return Ok(Some(Item { cells: Vec::new(), object }));
        }
        let table = Table::read(object)?;
        if let Some(columns) = table.column_definitions.filter(|columns| !columns.is_empty()) {
            self.columns = columns;
        }
        Ok(table.rows.unwrap_or_default().into_iter().next())
    }

    fn remember(&mut self, object: &Value) {
        if let Some(version) = object["metadata"]["resourceVersion"].as_str() {
            self.version = Some(version.to_owned());
        }
    }
}
