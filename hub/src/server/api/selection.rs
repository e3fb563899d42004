//! What a list or a watch is over: a kind, perhaps a namespace, perhaps selectors.

use lichen_hub_core::api::{Key, Kind, Object};

use super::{fields::FieldSelector, labels::LabelSelector, query::Query, status::Refusal};
use crate::server::watch_cache::{Ask, Selects};

/// Some objects of one kind.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) kind: Kind,
    /// Everywhere without one.
    pub(super) namespace: Option<String>,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// Reads the selectors of a query.
    pub(super) fn new(
        kind: Kind,
        namespace: Option<String>,
        query: &Query,
    ) -> Result<Self, Refusal> {
        let labels = LabelSelector::parse(query.text("labelSelector").unwrap_or_default());
        let fields = FieldSelector::parse(kind, query.text("fieldSelector").unwrap_or_default());
        Ok(Self {
            kind,
            namespace,
            labels: labels.map_err(|error| Refusal::bad_request(error.to_string()))?,
            fields: fields.map_err(|error| Refusal::bad_request(error.to_string()))?,
        })
    }

    /// Whether an object is in it.
    pub(super) fn selects(&self, object: &Object) -> bool {
        let meta = object.meta();
        object.kind() == self.kind
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == meta.namespace)
            && self.labels.selects(&meta.labels)
            && self.fields.selects(object)
    }

    /// The question for a page of it.
    pub(super) fn ask<'a>(
        &'a self,
        limit: Option<usize>,
        go_on: Option<(u64, &'a Key)>,
    ) -> Ask<'a> {
        Ask {
            kind: self.kind,
            namespace: self.namespace.as_deref(),
            name: self.fields.name(),
            selects: self,
            limit,
            go_on,
        }
    }
}

impl Selects for Selection {
    fn selects(&self, object: &Object) -> bool {
        Self::selects(self, object)
    }
}
