//! What a list or a watch is over: a kind, perhaps a namespace, perhaps selectors.

use lichen_hub_core::{
    api::{Kind, Object},
    effect::Response,
    event::{Listing, Request},
};

use super::{
    Api, fields::FieldSelector, labels::LabelSelector, query::Query, status::Refusal, unexpected,
};

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

    /// The objects in it, now.
    pub(super) async fn list(&self, api: &Api) -> Result<Listing, Refusal> {
        let request = Request::List { kind: self.kind, namespace: self.namespace.clone() };
        match api.engine.ask(request).await? {
            Response::List(mut listing) => {
                listing.objects.retain(|object| self.selects(object));
                Ok(listing)
            }
            other => Err(unexpected(&other)),
        }
    }
}
