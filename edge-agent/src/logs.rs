//! Answers log commands: reads what the shim has written and sends it in parts, no faster than the link takes them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use firmware_compat::{
    capacity::full as capacity,
    v1::owned::{Bytes, Outcome, Reply, Text},
};
use lichen_agent_core::{Event, effect::LogRequest};
use lichen_shim::run_dir;
use tokio::sync::oneshot;

use crate::{
    message::{Message, Sender},
    pod_dir::{ContainerDir, PodDir},
};

mod files;
mod reader;

pub use reader::{LogReader, last_line, last_lines};

/// How often a followed log is looked at. Only while someone follows.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

/// Ends a command early when it is dropped.
pub type Cancel = oneshot::Sender<()>;

/// Starts to answer a log command. The last thing that it tells the loop is [`Event::CommandEnded`].
#[must_use]
pub fn serve(run: &Path, request: LogRequest, messages: Sender) -> Cancel {
    let (cancel, cancelled) = oneshot::channel();
    let dir = PodDir::new(run, request.pod);
    tokio::spawn(async move {
        let command = request.command;
        let mut answer = Answer { command, part: 0, messages: messages.clone() };
        let outcome = tokio::select! {
            outcome = send_log(&dir, &request, &mut answer) => outcome,
            _ = cancelled => Some(Outcome::Done),
        };
        if let Some(outcome) = outcome {
            answer.send(outcome).await;
        }
        let _loop_gone = messages.send(Message::Happened(Event::CommandEnded { command })).await;
    });
    cancel
}

/// The parts of one answer.
struct Answer {
    command: u64,
    part: u32,
    messages: Sender,
}

impl Answer {
    /// Sends a part once the link has room. False if there is no link: the rest would be lost too.
    async fn send(&mut self, outcome: Outcome) -> bool {
        let reply = Reply { command: self.command, part: self.part, outcome };
        self.part += 1;
        let (sent, answer) = oneshot::channel();
        match self.messages.send(Message::Reply { reply, sent }).await {
            Ok(()) => answer.await.unwrap_or(false),
            Err(_loop_gone) => false,
        }
    }
}

/// Sends the log. Returns what is to be said last, if anything can still be said.
async fn send_log(dir: &PodDir, request: &LogRequest, answer: &mut Answer) -> Option<Outcome> {
    let run = match find_run(&dir.container(request.container), request.previous) {
        Ok(run) => run,
        Err(message) => return Some(failed(&message)),
    };
    let (tail, timestamps) = (request.tail, request.timestamps);
    let opened = {
        let run = run.clone();
        tokio::task::spawn_blocking(move || LogReader::open(&run, tail, timestamps)).await.ok()?
    };
    let mut reader = match opened {
        Ok(reader) => reader,
        Err(error) => return Some(failed(&format!("could not read the log: {error}"))),
    };
    let mut text = Vec::new();
    loop {
        // Looked at first: what is written before the end is read before the answer is complete.
        let ended = has_ended(&run);
        match reader.read(&mut text, capacity::CHUNK) {
            Err(error) => return Some(failed(&format!("could not read the log: {error}"))),
            Ok(false) => {}
            Ok(true) => {
                if !send_text(&mut text, 1, answer).await {
                    return None;
                }
                if !request.follow || ended {
                    return Some(Outcome::Done);
                }
                tokio::time::sleep(FOLLOW_INTERVAL).await;
            }
        }
        if !send_text(&mut text, capacity::CHUNK, answer).await {
            return None;
        }
    }
}

/// Sends text in parts as long as there are at least `least` bytes of it.
async fn send_text(text: &mut Vec<u8>, least: usize, answer: &mut Answer) -> bool {
    while text.len() >= least {
        let rest = text.split_off(text.len().min(capacity::CHUNK));
        let part = std::mem::replace(text, rest);
        let data = Bytes::try_from(part).expect("a part is at most a chunk");
        if !answer.send(Outcome::Data(data)).await {
            return false;
        }
    }
    true
}

fn find_run(dir: &ContainerDir, previous: bool) -> Result<PathBuf, String> {
    let runs = dir.runs().map_err(|error| error.to_string())?;
    let run = if previous { runs.get(1) } else { runs.first() };
    match run {
        Some(attempt) => Ok(dir.attempt(*attempt)),
        None if previous => Err("there is no run before the current one".to_owned()),
        None => Err("it has not been started on this device yet".to_owned()),
    }
}

/// Whether nothing more will be written: the run has ended, or its directory is gone.
fn has_ended(run: &Path) -> bool {
    run.join(run_dir::EXIT).exists() || !run.exists()
}

fn failed(message: &str) -> Outcome {
    Outcome::Failed { reason: Text::cut("NoLog"), message: Text::cut(message) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use firmware_compat::id::PodId;
    use lichen_agent_core::ContainerId;
    use tokio::sync::mpsc;

    use super::*;

    fn request(follow: bool) -> LogRequest {
        LogRequest {
            command: 7,
            pod: PodId([1; 16]),
            container: ContainerId::Main(0),
            follow,
            tail: None,
            previous: false,
            timestamps: false,
        }
    }

    fn run_with_log(run: &Path, lines: usize) -> PathBuf {
        let dir = PodDir::new(run, PodId([1; 16])).container(ContainerId::Main(0)).attempt(0);
        fs::create_dir_all(&dir).expect("makeable");
        fs::write(dir.join(run_dir::SPEC), "").expect("writable");
        let line = format!("2024-02-29T00:00:00.000000001Z stdout F {}\n", "x".repeat(99));
        fs::write(dir.join(run_dir::LOG), line.repeat(lines)).expect("writable");
        dir
    }

    /// Takes the answer's parts until the command has ended.
    async fn answer(messages: &mut mpsc::Receiver<Message>) -> (Vec<u8>, Option<Outcome>) {
        let (mut text, mut last) = (Vec::new(), None);
        let mut next = 0;
        loop {
            match messages.recv().await.expect("more to come") {
                Message::Reply { reply, sent } => {
                    assert_eq!((reply.command, reply.part), (7, next));
                    next += 1;
                    match reply.outcome {
                        Outcome::Data(bytes) => text.extend_from_slice(&bytes),
                        other => last = Some(other),
                    }
                    sent.send(true).expect("it waits");
                }
                Message::Happened(Event::CommandEnded { command: 7 }) => return (text, last),
                other => panic!("unexpected: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_whole_log_comes_in_parts_and_ends_with_done() {
        let run = tempfile::tempdir().expect("a directory");
        run_with_log(run.path(), 1000);
        let (sender, mut messages) = mpsc::channel(4);
        let _cancel = serve(run.path(), request(false), sender);
        let (text, last) = answer(&mut messages).await;
        assert_eq!(text.len(), 100 * 1000);
        assert_eq!(last, Some(Outcome::Done));
    }

    #[tokio::test]
    async fn a_followed_log_is_done_when_the_run_has_ended() {
        let run = tempfile::tempdir().expect("a directory");
        let dir = run_with_log(run.path(), 1);
        let (sender, mut messages) = mpsc::channel(4);
        let _cancel = serve(run.path(), request(true), sender);
        let Some(Message::Reply { sent, .. }) = messages.recv().await else { panic!("no text") };
        sent.send(true).expect("it waits");
        fs::write(dir.join(run_dir::EXIT), "").expect("writable");
        let Some(Message::Reply { reply, sent }) = messages.recv().await else { panic!("no end") };
        assert_eq!(reply.outcome, Outcome::Done);
        sent.send(true).expect("it waits");
    }

    #[tokio::test]
    async fn a_cancelled_command_still_ends_and_one_without_a_log_says_why() {
        let run = tempfile::tempdir().expect("a directory");
        let (sender, mut messages) = mpsc::channel(4);
        let _cancel = serve(run.path(), request(false), sender.clone());
        let (_, last) = answer(&mut messages).await;
        assert!(matches!(last, Some(Outcome::Failed { .. })), "{last:?}");
        run_with_log(run.path(), 0);
        drop(serve(run.path(), request(true), sender));
        let (_, last) = answer(&mut messages).await;
        assert_eq!(last, Some(Outcome::Done));
    }
}
