//! Asking a container how it is, and doing what is to be done at its start and end: what probes and hooks have in common.
//! When, and what follows, is the core's business.
//!
//! Everything blocks, on a thread that ends with the question: in the Pod's network that thread stays there.

mod exec;
mod grpc;
mod http;
mod network;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use firmware_compat::v1::owned::Handler;
use lichen_agent_core::event::Answer;
use tokio::sync::{Semaphore, oneshot};

pub use network::Network;

/// Questions that are asked at a time; others wait for their turn. Each holds a thread and perhaps a process.
pub const AT_ONCE: usize = 16;
/// What a thread needs for a TLS handshake, with room.
const STACK_BYTES: usize = 512 * 1024;
/// What an answer may take longer than its timeout: only looking a name up heeds none.
const PATIENCE: Duration = Duration::from_secs(1);
/// Without a timeout, a step of a connection takes no longer.
const STEP_DEADLINE: Duration = Duration::from_secs(30);

/// One question.
#[derive(Clone, Debug)]
pub struct Question {
    /// What is done.
    pub handler: Handler,
    /// Without an answer by then it has failed.
    pub timeout: Option<Duration>,
    /// Where the Pod itself is reached.
    pub network: Network,
    /// The run directory of the container.
    pub run: PathBuf,
    /// The program `lichen-shim`.
    pub shim: PathBuf,
    /// Whether any answer of an HTTP server will do: a hook only has to reach it.
    pub is_hook: bool,
}

impl Question {
    /// Asks. `slots`: its turn is waited for, if there are turns.
    pub async fn ask(self, slots: Option<Arc<Semaphore>>) -> Answer {
        if let Handler::Sleep { seconds } = self.handler {
            tokio::time::sleep(Duration::from_secs(seconds.into())).await;
            return Answer::Good;
        }
        let turn = match slots {
            Some(slots) => slots.acquire_owned().await.ok(),
            None => None,
        };
        let timeout = self.timeout;
        let (tell, told) = oneshot::channel();
        let thread = std::thread::Builder::new().name("question".into()).stack_size(STACK_BYTES);
        let spawned = thread.spawn(move || {
            let _turn = turn;
            // Whoever asked may have given up.
            let _ = tell.send(self.answer());
        });
        if let Err(error) = spawned {
            return Answer::Unknown(format!("could not start a thread: {error}"));
        }
        let late = || Answer::Bad("context deadline exceeded".to_owned());
        let lost = |_| Answer::Unknown("the question was given up".to_owned());
        match timeout {
            None => told.await.unwrap_or_else(lost),
            Some(timeout) => match tokio::time::timeout(timeout + PATIENCE, told).await {
                Ok(answer) => answer.unwrap_or_else(lost),
                Err(_) => late(),
            },
        }
    }

    /// Blocks.
    fn answer(&self) -> Answer {
        let clock = Clock::start(self.timeout);
        let answered = match &self.handler {
            Handler::Exec { command } => return exec::run(self, command),
            Handler::HttpGet { host, port, path, tls, headers } => {
                let request = http::Request { host, port: *port, path, tls: *tls, headers };
                http::get(&request, &self.network, &clock, self.is_hook)
            }
            Handler::TcpSocket { host, port } => {
                self.network.connect(host, *port, &clock).map(drop)
            }
            Handler::Grpc { port, service } => grpc::check(*port, service, &self.network, &clock),
            Handler::Sleep { .. } => Ok(()),
        };
        answered.map_or_else(Answer::Bad, |()| Answer::Good)
    }
}

/// How much time is left.
#[derive(Clone, Copy, Debug)]
struct Clock {
    deadline: Option<Instant>,
}

impl Clock {
    fn start(timeout: Option<Duration>) -> Self {
        Self { deadline: timeout.map(|timeout| Instant::now() + timeout) }
    }

    /// For the next step.
    ///
    /// # Errors
    /// There is none left.
    fn left(&self) -> Result<Duration, String> {
        let Some(deadline) = self.deadline else { return Ok(STEP_DEADLINE) };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err("context deadline exceeded".to_owned()) } else { Ok(left) }
    }
}
