//! Watches the shims: one small task per container that runs, on its shim's socket.
//!
//! The task tells the loop when the container started and how it ended, exactly once each, and passes stop requests on.
//! An agent that starts finds what earlier ones left with [`scan`]; a container whose shim was killed is ended by
//! [`orphan`].

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use firmware_compat::{
    capacity::full as capacity,
    id::PodId,
    v1::owned::{Exit as WireExit, Text},
};
use lichen_agent_core::{ContainerId, Event, event::Failure};
use lichen_shim::{
    AdoptError, Decoder, Exit, Found, Outcome, Phase, Reply, Request, RunDir, Started,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::mpsc,
};

use crate::{
    logs,
    message::{Message, Sender},
    pod_dir::{ContainerDir, Record},
    runtime::chain,
};

pub mod last_word;
pub mod orphan;
mod scan;

pub use orphan::StopHow;
pub use scan::{how_to_stop, scan};

/// Stop requests that may wait for a watcher.
const STOPS: usize = 4;
/// Pause before a shim that lives but does not answer is asked again.
const SILENT_PAUSE: Duration = Duration::from_secs(1);

/// The loop's end of a watcher.
#[derive(Debug)]
pub struct Watcher {
    stops: mpsc::Sender<u32>,
}

impl Watcher {
    /// Asks the container to stop within so many milliseconds.
    pub fn stop(&self, grace_ms: u32) {
        // Full: it is being asked already.
        let _ = self.stops.try_send(grace_ms);
    }
}

/// What one must know to tell how a container ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    /// Whether it is of a Wasm Pod, whose exit codes have meanings of their own.
    pub wasm: bool,
    /// Whether the end of its log is its last word, if it failed and left no other.
    pub message_from_log: bool,
}

impl Ends {
    /// By its Pod's record and its own.
    #[must_use]
    pub fn of(pod: Option<&Record>, container: &ContainerDir) -> Self {
        let own = container.record().ok().flatten();
        Self {
            wasm: pod.is_some_and(|record| record.wasm),
            message_from_log: own.is_some_and(|record| record.message_from_log),
        }
    }
}

/// One run of a container, and who wants to know about it.
#[derive(Debug)]
pub struct Watch {
    /// Of which Pod.
    pub pod: PodId,
    /// Which container.
    pub container: ContainerId,
    /// The run directory.
    pub run: PathBuf,
    /// How it is asked to stop.
    pub stop: StopHow,
    /// What its end means.
    pub ends: Ends,
    /// The program `lichen-shim`.
    pub shim: PathBuf,
    /// The loop.
    pub messages: Sender,
}

impl Watch {
    /// Watches a run that `spawned` starts. A failure to start is told to the loop.
    pub fn start<F>(self, spawned: F) -> Watcher
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let (stops, wanted) = mpsc::channel(STOPS);
        tokio::spawn(async move {
            match spawned.await {
                Ok(()) => self.follow(wanted, false).await,
                Err(failure) => self.start_failed(failure).await,
            }
        });
        Watcher { stops }
    }

    /// Watches a run that was found running.
    pub fn adopt(self) -> Watcher {
        let (stops, wanted) = mpsc::channel(STOPS);
        tokio::spawn(self.follow(wanted, true));
        Watcher { stops }
    }

    async fn tell(&self, event: Event) {
        let _loop_gone = self.messages.send(Message::Happened(event)).await;
    }

    /// Follows the shim to the run's end, whatever happens to the connection.
    async fn follow(self, mut stops: mpsc::Receiver<u32>, mut started: bool) {
        let exit = loop {
            if let Ok(Some(exit)) = self.listen(&mut stops, &mut started).await {
                break exit;
            }
            if let Some(exit) = self.find_out(&mut stops).await {
                break exit;
            }
            tokio::time::sleep(SILENT_PAUSE).await;
        };
        self.ended(exit, started).await;
    }

    /// One connection to the shim. `Ok(None)` if it ended before the run did.
    async fn listen(
        &self,
        stops: &mut mpsc::Receiver<u32>,
        started: &mut bool,
    ) -> io::Result<Option<Exit>> {
        let stream = lichen_shim::connect(&self.run).map_err(io::Error::other)?;
        stream.set_nonblocking(true)?;
        let mut stream = UnixStream::from_std(stream)?;
        send(&mut stream, &Request::Follow).await?;
        let mut decoder = Decoder::default();
        let mut bytes = [0; 512];
        loop {
            tokio::select! {
                length = stream.read(&mut bytes) => match length? {
                    0 => return Ok(None),
                    length => decoder.push(&bytes[..length]),
                },
                Some(grace_ms) = stops.recv() => {
                    let signal = self.stop.signal;
                    send(&mut stream, &Request::Stop { signal, grace_ms: grace_ms.into() }).await?;
                }
            }
            while let Some(reply) = decoder.next_reply().map_err(io::Error::other)? {
                match reply {
                    Reply::Started(init) => self.announce(init, started).await,
                    Reply::Exited(exit) => return Ok(Some(exit)),
                    Reply::State(state) => match state.phase {
                        Phase::Starting => {}
                        Phase::Running(init) | Phase::Stopping(init) => {
                            self.announce(init, started).await;
                        }
                        Phase::Exited(exit) => return Ok(Some(exit)),
                    },
                    Reply::Refused(refusal) => {
                        tracing::warn!(pod = %self.pod, %refusal, "the shim refused");
                    }
                }
            }
        }
    }

    async fn announce(&self, init: Started, started: &mut bool) {
        if std::mem::replace(started, true) {
            return;
        }
        let pid = u32::try_from(init.pid).unwrap_or(0);
        let (pod, container) = (self.pod, self.container);
        self.tell(Event::Started { pod, container, pid, started_ms: init.at_ms }).await;
    }

    /// Reads what became of a run whose shim is gone, after ending what is left of it. `None` if that can't be told at
    /// present.
    async fn find_out(&self, stops: &mut mpsc::Receiver<u32>) -> Option<Exit> {
        let run = self.run.clone();
        // First: a shim that is just being killed still holds its run for a moment.
        match self.blocking(move || lichen_shim::inspect(&run)).await? {
            Found::Exited(exit) => return Some(exit),
            Found::Running(_) => return None,
            Found::Lost => {}
        }
        let how = orphan::ask_to_end(&self.run, self.stop, Some(stops)).await.unwrap_or_else(|error| {
            tracing::warn!(pod = %self.pod, container = %self.container, error, "could not look for what is left");
            None
        });
        let (run, shim) = (self.run.clone(), self.shim.clone());
        let exit = self.blocking(move || lichen_shim::clean_up(&shim, &run)).await?;
        Some(told(exit, how))
    }

    /// Looks at the run. `None` if that failed, or the agent shuts down.
    async fn blocking<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> Result<T, AdoptError> + Send + 'static,
    ) -> Option<T> {
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(found)) => Some(found),
            Ok(Err(error)) => {
                tracing::warn!(pod = %self.pod, container = %self.container, error = chain(&error), "could not tell what runs");
                None
            }
            Err(_shutting_down) => None,
        }
    }

    async fn ended(&self, exit: Exit, mut started: bool) {
        let (pod, container) = (self.pod, self.container);
        if let (false, Some(at_ms)) = (started, exit.started_at_ms) {
            // It ended before the first answer arrived.
            let pid = RunDir::open(&self.run).and_then(|run| run.pid()).ok().flatten();
            let pid = pid.map_or(0, |record| record.pid);
            self.announce(Started { pid, at_ms }, &mut started).await;
        }
        if started {
            let exit = wire_exit(&exit, &self.run, self.ends);
            return self.tell(Event::Exited { pod, container, exit }).await;
        }
        let message = match exit.message.as_str() {
            "" => "it ended before it had started".to_owned(),
            message => message.to_owned(),
        };
        self.start_failed(Failure { reason: String::new(), message }).await;
    }

    async fn start_failed(&self, failure: Failure) {
        let (pod, container) = (self.pod, self.container);
        self.tell(Event::StartFailed { pod, container, failure }).await;
    }
}

/// Adds to a loss what was done about it.
fn told(mut exit: Exit, how: Option<String>) -> Exit {
    if let (Outcome::Lost, Some(how)) = (exit.outcome, how) {
        exit.message = format!("its shim was killed; {how}");
    }
    exit
}

async fn send(stream: &mut UnixStream, request: &Request) -> io::Result<()> {
    let frame = lichen_shim::protocol::encode(request).map_err(io::Error::other)?;
    stream.write_all(&frame).await
}

/// How a run ended, in the words of the wire.
fn wire_exit(exit: &Exit, run: &Path, ends: Ends) -> WireExit {
    let code = exit.outcome.exit_code();
    let reason = match exit.outcome {
        Outcome::Lost => "Lost",
        Outcome::StartError | Outcome::NeverStarted => "StartError",
        _ if exit.oom_killed => "OOMKilled",
        Outcome::Code(lichen_wasm_host::EXIT_OUT_OF_MEMORY) if ends.wasm => "OOMKilled",
        Outcome::Code(0) => "Completed",
        Outcome::Code(_) | Outcome::Signal(_) => "Error",
    };
    let last_word = last_word::of(run);
    let message = match exit.outcome {
        Outcome::Code(_) | Outcome::Signal(_) if !last_word.is_empty() => last_word,
        Outcome::Code(0) => exit.message.clone(),
        Outcome::Code(_) | Outcome::Signal(_) if ends.message_from_log => {
            logs::last_lines(run, last_word::LINES_OF_LOG, last_word::BYTES_OF_LOG)
        }
        Outcome::Code(_) if exit.message.is_empty() => {
            logs::last_line(run, capacity::CONTAINER_MESSAGE)
        }
        _ => exit.message.clone(),
    };
    WireExit {
        code,
        reason: Text::cut(reason),
        message: Text::cut(&message),
        started_ms: exit.started_at_ms.unwrap_or(0),
        at_ms: exit.finished_at_ms,
    }
}
