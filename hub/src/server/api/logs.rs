//! `GET …/Pods/<name>/log`: a Pod's log, streamed from its device as it arrives.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
    response::Response,
};
use lichen_hub_core::{actor::Actor, api::Key, effect::LogPart, event::Request};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{Api, compression::Flowing, query::Query, respond, status::Refusal};
use crate::server::handle::LogReader;

/// How long the answer's status waits for the device's first word, which may be that there is no such log.
const FIRST_WORD: Duration = Duration::from_secs(1);
/// Parameters of Kubernetes that would be missed.
const UNSUPPORTED: [&str; 4] = ["limitBytes", "sinceSeconds", "sinceTime", "stream"];

/// Reads a log.
pub(crate) async fn read(
    api: &Api,
    actor: &Arc<Actor>,
    query: &Query,
    key: &Key,
) -> Result<Response, Refusal> {
    query.refuse(&UNSUPPORTED)?;
    let tail = query.number("tailLines")?;
    let tail = tail.map(|lines| u32::try_from(lines).unwrap_or(u32::MAX));
    let request = Request::Logs {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        container: query.text("container").map(str::to_owned),
        follow: query.flag("follow"),
        tail,
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
    };
    let permit = api.stream_permit()?;
    let mut reader = api.engine.read_log(actor, request).await?;
    let mut waiting = VecDeque::new();
    match tokio::time::timeout(FIRST_WORD, reader.parts.recv()).await {
        Ok(Some(LogPart::Failed { reason, message })) => {
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason, message));
        }
        Ok(Some(part)) => waiting.push_back(part),
        Ok(None) | Err(_) => {}
    }
    let log =
        Log { reader, waiting, stopping: api.stopping.clone(), ended: false, _permit: permit };
    let bytes = futures_util::stream::unfold(log, |mut log| async {
        let bytes = log.next().await?;
        Some((Ok::<_, Infallible>(bytes), log))
    });
    let mut response = respond::text(StatusCode::OK, Body::from_stream(bytes));
    response.extensions_mut().insert(Flowing);
    Ok(response)
}

struct Log {
    reader: LogReader,
    waiting: VecDeque<LogPart>,
    stopping: watch::Receiver<bool>,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Log {
    /// The next bytes. A log that ends early says why in a last line, because the status has long been sent.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        match self.part().await {
            Some(LogPart::Data(bytes)) => Some(Bytes::from(bytes)),
            Some(LogPart::End) => None,
            Some(LogPart::Failed { reason, message }) => {
                self.ended = true;
                Some(Bytes::from(format!("lichen: the log ends here: {message} ({reason})\n")))
            }
            None => {
                self.ended = true;
                Some(Bytes::from_static(
                    b"lichen: the log ends here: it was read more slowly than it was written; read it again\n",
                ))
            }
        }
    }

    async fn part(&mut self) -> Option<LogPart> {
        if let Some(part) = self.waiting.pop_front() {
            return Some(part);
        }
        tokio::select! {
            part = self.reader.parts.recv() => part,
            _ = self.stopping.wait_for(|stopping| *stopping) => Some(LogPart::Failed {
                reason: "Stopping".to_owned(),
                message: "the hub is stopping".to_owned(),
            }),
        }
    }
}
