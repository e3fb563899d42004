//! Gzip for clients that ask for it: kubectl does. Only whole JSON answers: what flows for long would wait in the
//! compressor, and artefacts are compressed already and named by their digest.

use axum::http::{Response, header};
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer, Predicate,
        predicate::{And, SizeAbove},
    },
};

/// Smaller answers gain nothing. Lists that come in chunks have no size and are always compressed.
const MIN_BYTES: u16 = 16 << 10;

/// Marks an answer whose parts must leave as they are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flowing;

/// Compresses fast: the hub has less time than the network of this machine has room.
pub(super) fn layer() -> CompressionLayer<And<SizeAbove, Whole>> {
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(MIN_BYTES).and(Whole))
}

/// A JSON answer that does not flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole;

impl Predicate for Whole {
    fn should_compress<B: hyper::body::Body>(&self, response: &Response<B>) -> bool {
        let media_type = response.headers().get(header::CONTENT_TYPE);
        let json = media_type.is_some_and(|media_type| media_type == "application/json");
        json && response.extensions().get::<Flowing>().is_none()
    }
}
