//! The messages of a body that no kind has: its envelope, the options of a deletion, a request for a token. A kind's own message is its
//! table of fields.

use lichen_hub_core::api::{
    Kind,
    authentication::TokenRequest,
    field::{Field, Message, Shape, count, field, flag, text, texts, unsupported, written},
};

/// The message of a kind, of the options of a deletion, or of what is sent to a ServiceAccount's `token`.
pub(super) fn of(kind: &str) -> Option<&'static Message> {
    match kind {
        "DeleteOptions" => Some(&DELETE_OPTIONS),
        "TokenRequest" => Some(TokenRequest::FIELDS),
        kind => Kind::parse(kind).map(Kind::fields),
    }
}

/// The number of the object's message in [`UNKNOWN`].
pub(super) const RAW: u32 = 2;

const fn inline(number: u32, message: &'static Message) -> Field {
    field("", number, Shape::Inline(message))
}

pub(super) static UNKNOWN: Message = Message {
    name: "Unknown",
    fields: &[
        inline(1, &TYPE_META),
        written("raw", RAW),
        written("contentEncoding", 3),
        written("contentType", 4),
    ],
};
const TYPE_META: Message =
    Message { name: "TypeMeta", fields: &[text("apiVersion", 1), text("kind", 2)] };
pub(super) static QUANTITY: Message = Message { name: "Quantity", fields: &[text("string", 1)] };
pub(super) static COUNT_OR_PERCENT: Message = Message {
    name: "IntOrString",
    fields: &[count("type", 1), count("intVal", 2).optional(), text("strVal", 3)],
};
static DELETE_OPTIONS: Message = Message {
    name: "DeleteOptions",
    fields: &[
        count("gracePeriodSeconds", 1).optional(),
        unsupported("preconditions", 2),
        flag("orphanDependents", 3).optional(),
        text("propagationPolicy", 4).optional(),
        texts("dryRun", 5),
    ],
};
