//! What the agent says on the device itself, without a hub: a socket in the state directory, which only its owner and root can
//! reach, and the commands that ask there. One line is asked, a text is answered.

use std::{fs::File, io, os::fd::AsRawFd, path::Path, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, oneshot},
    time::timeout,
};

use crate::message::{Message, Sender};

pub mod client;
mod words;

pub(crate) use words::{Event, RECENT, events, status};

/// The socket in the state directory.
pub const SOCKET: &str = "agent.sock";
/// Nobody asks for longer: two names, each no longer than an object's.
const MAX_QUESTION: usize = 1024;
/// How long a question and its answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions at a time.
const CONNECTIONS: usize = 4;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What runs, and why the rest does not.
    Status,
    /// What happened of late.
    Events,
    /// Where the log of a container is.
    Log {
        /// The Pod's name, or `namespace/name`.
        pod: String,
        /// Which of its containers; empty for its only one.
        container: String,
        /// Of the run before the newest.
        previous: bool,
    },
}

impl Question {
    /// As one line.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::Status => "status\n".to_owned(),
            Self::Events => "events\n".to_owned(),
            Self::Log { pod, container, previous } => {
                let which = if *previous { "previous" } else { "newest" };
                format!("log {which} {pod} {container}\n")
            }
        }
    }

    /// Reads such a line.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.trim().split(' ');
        let question = match words.next()? {
            "status" => Self::Status,
            "events" => Self::Events,
            "log" => Self::Log {
                previous: match words.next()? {
                    "previous" => true,
                    "newest" => false,
                    _ => return None,
                },
                pod: words.next()?.to_owned(),
                container: words.next().unwrap_or_default().to_owned(),
            },
            _ => return None,
        };
        words.next().is_none().then_some(question)
    }
}

/// The socket in a state directory; it goes with this.
#[derive(Debug)]
pub struct Socket {
    dir: File,
}

impl Socket {
    /// However long the state directory's path is, this one fits the address of a socket.
    fn path(&self) -> String {
        format!("/proc/self/fd/{}/{SOCKET}", self.dir.as_raw_fd())
    }

    fn remove(&self) -> io::Result<()> {
        match std::fs::remove_file(self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The next agent removes what is left.
        let _ = self.remove();
    }
}

/// Listens in a state directory. Must be called on the agent's runtime.
///
/// # Errors
/// Those of the system: the agent runs without.
pub fn listen(state: &Path, messages: Sender) -> io::Result<Socket> {
    let socket = Socket { dir: File::open(state)? };
    socket.remove()?;
    let listener = UnixListener::bind(socket.path())?;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::spawn(async move {
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(PATIENCE).await;
                continue;
            };
            let messages = messages.clone();
            tokio::spawn(async move {
                let _place = place;
                // Whoever asked and went is answered no more.
                let _ = timeout(PATIENCE, answer(stream, messages)).await;
            });
        }
    });
    Ok(socket)
}

async fn answer(mut stream: UnixStream, messages: Sender) -> io::Result<()> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") && line.len() < MAX_QUESTION {
        let mut bytes = [0; 256];
        match stream.read(&mut bytes).await? {
            0 => break,
            length => line.extend_from_slice(&bytes[..length]),
        }
    }
    let Some(question) = Question::parse(&String::from_utf8_lossy(&line)) else {
        return stream.write_all(b"!not a question that this agent answers\n").await;
    };
    let (answer, answered) = oneshot::channel();
    let _loop_gone = messages.send(Message::Asked { question, answer }).await;
    let text = answered.await.unwrap_or_else(|_| "!the agent ends\n".to_owned());
    stream.write_all(text.as_bytes()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_reads_back_and_anything_else_is_none() {
        let log = |container: &str, previous| Question::Log {
            pod: "default/web".into(),
            container: container.into(),
            previous,
        };
        for question in [Question::Status, Question::Events, log("main", true), log("", false)] {
            assert_eq!(Question::parse(&question.line()), Some(question));
        }
        for other in
            ["", "stop", "status now", "log", "log newest", "log last web", "log newest a b c"]
        {
            assert_eq!(Question::parse(other), None, "{other}");
        }
    }
}
