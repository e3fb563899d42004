//! How the rest of the process talks to the task that owns the engine: a bounded queue in, one answer out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use firmware_compat::v1::owned::Artefacts;
use lichen_hub_core::{
    actor::Actor,
    api::ApiError,
    effect::{LogPart, Response},
    event::{ImageError, ImageRequest, Request, RequestId},
    signing::Sign,
};
use tokio::sync::{mpsc, oneshot};

/// Inputs that may wait for the engine. More than that, and who asks waits; a turn takes far less time than filling it.
pub(crate) const QUEUE: usize = 1024;
/// How long a request waits for room in the queue. A hub that is so busy should say so.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a request waits for its answer. The engine answers within the turn; this only catches a stuck disk.
const ANSWER: Duration = Duration::from_secs(30);
/// Pieces of a log that may wait for their reader, at most 16 KiB each. A reader that is further behind is let go.
pub(crate) const LOG_PARTS: usize = 128;

/// What the turn's queue holds.
#[derive(Debug)]
pub(crate) enum Input {
    /// A request; dropping `reply` is how its asker stops waiting.
    Ask {
        id: RequestId,
        /// Who asks.
        actor: Arc<Actor>,
        request: Box<Request>,
        reply: oneshot::Sender<Result<Response, ApiError>>,
        /// For log requests: where the parts go.
        log: Option<mpsc::Sender<LogPart>>,
    },
    /// The reader of a log has left.
    LogLeft(RequestId),
    /// An answer of the supplier.
    Supplied { need: ImageRequest, result: Result<Artefacts, ImageError> },
    /// The hub has other signing keys.
    Signer(Arc<dyn Sign>),
    /// Finish this turn and end.
    Stop,
}

/// Asks the engine. Clones share the queue.
#[derive(Clone, Debug)]
pub(crate) struct EngineHandle {
    inputs: mpsc::Sender<Input>,
    next_id: Arc<AtomicU64>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// The engine said no.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The queue stayed full.
    #[error("the hub has too much to do at the moment; ask again in a few seconds")]
    Busy,
    /// The answer did not come in time.
    #[error("the hub did not answer within {} s; its disk may be stuck", ANSWER.as_secs())]
    Late,
    /// The hub is stopping, or could not save.
    #[error("the hub is stopping")]
    Stopping,
}

/// The parts of a log as they come. Dropping it tells the engine that nobody reads any more.
#[derive(Debug)]
pub(crate) struct LogReader {
    pub(crate) parts: mpsc::Receiver<LogPart>,
    id: RequestId,
    inputs: mpsc::Sender<Input>,
}

impl EngineHandle {
    /// A handle and the queue that the turn reads.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Input>) {
        let (inputs, queue) = mpsc::channel(QUEUE);
        // 0 is left to the turn's own requests.
        (Self { inputs, next_id: Arc::new(AtomicU64::new(1)) }, queue)
    }

    /// Asks and waits for the answer, which is durable when it comes.
    pub(crate) async fn ask(
        &self,
        actor: &Arc<Actor>,
        request: Request,
    ) -> Result<Response, AskError> {
        self.send(self.fresh_id(), actor, request, None).await
    }

    /// Asks for a log.
    pub(crate) async fn read_log(
        &self,
        actor: &Arc<Actor>,
        request: Request,
    ) -> Result<LogReader, AskError> {
        let id = self.fresh_id();
        let (sink, parts) = mpsc::channel(LOG_PARTS);
        // Made before the answer is awaited: whoever stops waiting cancels the log too.
        let reader = LogReader { parts, id, inputs: self.inputs.clone() };
        self.send(id, actor, request, Some(sink)).await?;
        Ok(reader)
    }

    /// The sending side of the queue.
    pub(crate) fn inputs(&self) -> &mpsc::Sender<Input> {
        &self.inputs
    }

    fn fresh_id(&self) -> RequestId {
        RequestId(self.next_id.fetch_add(1, Relaxed))
    }

    async fn send(
        &self,
        id: RequestId,
        actor: &Arc<Actor>,
        request: Request,
        log: Option<mpsc::Sender<LogPart>>,
    ) -> Result<Response, AskError> {
        let (reply, answer) = oneshot::channel();
        let actor = actor.clone();
        let input = Input::Ask { id, actor, request: Box::new(request), reply, log };
        match self.inputs.send_timeout(input, PATIENCE).await {
            Ok(()) => {}
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => return Err(AskError::Busy),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => return Err(AskError::Stopping),
        }
        match tokio::time::timeout(ANSWER, answer).await {
            Ok(Ok(result)) => result.map_err(AskError::Refused),
            Ok(Err(_dropped)) => Err(AskError::Stopping),
            Err(_late) => Err(AskError::Late),
        }
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        let left = Input::LogLeft(self.id);
        if let Err(mpsc::error::TrySendError::Full(left)) = self.inputs.try_send(left) {
            // Rare, and the device would go on sending for nobody: wait for room elsewhere.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                let inputs = self.inputs.clone();
                runtime.spawn(async move {
                    let _engine_gone = inputs.send(left).await;
                });
            }
        }
    }
}
