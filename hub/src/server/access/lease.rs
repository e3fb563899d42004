//! A right for as long as a stream flows: a watch or a log ends when its reader may no longer have it, because a binding
//! or a role was changed, a ServiceAccount was deleted, or a token has expired. The client sees the stream end, asks again
//! and is told why.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use lichen_hub_core::authorizer::Attributes;
use tokio::sync::watch;

use super::Access;
use crate::server::authn::Identity;

/// Tokens expire without anybody saying so: they are looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Somebody's right to a stream.
pub(super) struct Lease {
    access: Arc<Access>,
    identity: Identity,
    wanted: Arc<[Attributes]>,
    changed: watch::Receiver<()>,
}

impl Lease {
    pub(super) fn new(
        access: &Arc<Access>,
        identity: Identity,
        wanted: &Arc<[Attributes]>,
    ) -> Self {
        // What changed since the decision is seen by the first look.
        let mut changed = access.changed();
        changed.mark_changed();
        Self { access: access.clone(), identity, wanted: wanted.clone(), changed }
    }

    /// A stream that ends with the right to it.
    pub(super) fn bind(self, body: Body) -> Body {
        Body::new(Leased { body, lost: Box::pin(self.lost()) })
    }

    async fn lost(mut self) {
        loop {
            tokio::select! {
                // Without the sender there is no hub any more.
                changed = self.changed.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if !self.access.still_allows(&self.identity, &self.wanted) {
                return;
            }
        }
    }
}

/// A stream on lease.
struct Leased {
    body: Body,
    lost: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl hyper::body::Body for Leased {
    type Data = Bytes;
    type Error = axum::Error;

    /// Nothing is handed out before it is known that the right still stands.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.lost.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
