//! Watches of the hub's API that cost this process little: lines are kept as they arrive and understood afterwards.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
    thread::JoinHandle,
    time::Instant,
};

use lichen_tests::hub::Hub;
use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use serde::Deserialize;

/// A connection to the hub.
type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A line of a watch, and when it arrived.
pub type Line = (Instant, Vec<u8>);

/// A watch that is read by a thread of its own until it is stopped or the hub ends it.
#[derive(Debug)]
pub struct Watcher<T> {
    stream: TcpStream,
    reader: JoinHandle<T>,
}

/// A watch whose every line is kept.
pub type Recorder = Watcher<Vec<Line>>;

/// A watch whose lines are counted.
pub type Counter = Watcher<Counted>;

/// What has arrived on a watch.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// Lines.
    pub lines: usize,
    /// Bytes.
    pub bytes: u64,
    /// The hub has ended it with an error, such as 410.
    pub expired: bool,
}

impl Recorder {
    /// Starts to watch a path such as `/api/v1/pods`.
    ///
    /// # Errors
    /// The hub does not answer.
    pub fn record(hub: &Hub, path: &str) -> Result<Self, String> {
        Self::start(hub, path, |body| {
            let mut lines = Vec::new();
            each_line(body, |line| lines.push((Instant::now(), line.to_vec())));
            lines
        })
    }
}

impl Counter {
    /// Starts to watch a path and keeps nothing.
    ///
    /// # Errors
    /// The hub does not answer.
    pub fn count(hub: &Hub, path: &str) -> Result<Self, String> {
        Self::start(hub, path, |body| {
            let mut counted = Counted::default();
            each_line(body, |line| {
                counted.lines += 1;
                counted.bytes += line.len() as u64;
                counted.expired |= is_error(line);
            });
            counted
        })
    }
}

impl<T: Send + 'static> Watcher<T> {
    fn start(
        hub: &Hub,
        path: &str,
        read: impl FnOnce(BufReader<Tls>) -> T + Send + 'static,
    ) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("could not watch {path}: {error}");
        let stream = TcpStream::connect(hub.address()).map_err(failed)?;
        let socket = stream.try_clone().map_err(failed)?;
        let name = ServerName::from(hub.address().ip());
        let client = ClientConnection::new(Arc::new(hub.admin_tls()), name)
            .map_err(|error| format!("could not watch {path}: {error}"))?;
        let mut tls = StreamOwned::new(client, socket);
        let joint = if path.contains('?') { '&' } else { '?' };
        // Of version 1.0, so that the body is plain lines up to the end of the connection.
        let request = format!(
            "GET {path}{joint}watch=true HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"
        );
        tls.write_all(request.as_bytes()).map_err(failed)?;
        let mut body = BufReader::new(tls);
        let mut status = String::new();
        body.read_line(&mut status).map_err(failed)?;
        if !status.contains(" 200 ") {
            return Err(format!("could not watch {path}: the hub said {}", status.trim()));
        }
        let mut header = String::new();
        while body.read_line(&mut header).map_err(failed)? > 2 {
            header.clear();
        }
        let reader = std::thread::spawn(move || read(body));
        Ok(Self { stream, reader })
    }

    /// Whether it has ended by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.reader.is_finished()
    }

    /// Stops it, and says what has arrived.
    ///
    /// # Errors
    /// Its thread has panicked.
    pub fn stop(self) -> Result<T, String> {
        // Ended by the hub already, perhaps.
        let _ended = self.stream.shutdown(Shutdown::Both);
        self.reader.join().map_err(|_| "a watcher has panicked".to_owned())
    }
}

fn each_line(mut body: BufReader<impl Read>, mut take: impl FnMut(&[u8])) {
    let mut line = Vec::new();
    while body.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        take(&line);
        line.clear();
    }
}

fn is_error(line: &[u8]) -> bool {
    line.starts_with(br#"{"type":"ERROR""#)
}

#[derive(Deserialize)]
struct Seen {
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    node_name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    container_statuses: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    ready: bool,
}

/// What a recorded watch of Pods says.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// When each device's Pod was first shown ready.
    pub ready: BTreeMap<String, Instant>,
    /// Lines.
    pub lines: usize,
    /// The hub has ended it with an error, such as 410.
    pub expired: bool,
}

impl Story {
    /// Understands what was recorded. Lines that are no Pods tell nothing.
    #[must_use]
    pub fn of(lines: &[Line]) -> Self {
        let mut story = Self { lines: lines.len(), ..Self::default() };
        for (at, line) in lines {
            story.expired |= is_error(line);
            let Ok(Seen { object }) = serde_json::from_slice::<Seen>(line) else { continue };
            let containers = &object.status.container_statuses;
            if !containers.is_empty() && containers.iter().all(|container| container.ready) {
                story.ready.entry(object.spec.node_name).or_insert(*at);
            }
        }
        story
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_knows_when_each_device_was_first_ready() {
        let start = Instant::now();
        let pod = |node: &str, ready: bool| {
            format!(
                r#"{{"type":"MODIFIED","object":{{"spec":{{"nodeName":"{node}"}},"status":{{"containerStatuses":[{{"ready":{ready}}}]}}}}}}"#
            )
            .into_bytes()
        };
        let later = start + std::time::Duration::from_secs(1);
        let lines = [
            (start, pod("a", false)),
            (start, pod("b", true)),
            (later, pod("a", true)),
            (later, pod("b", true)),
            (later, br#"{"type":"ERROR","object":{"code":410}}"#.to_vec()),
        ];
        let story = Story::of(&lines);
        assert_eq!(story.ready.get("a"), Some(&later));
        assert_eq!(story.ready.get("b"), Some(&start));
        assert!(story.expired);
    }
}
