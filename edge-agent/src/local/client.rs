//! The commands `status`, `events` and `logs`: they ask the agent of a state directory and print what it answers.

use std::{
    io::{self, Read, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Question, SOCKET};
use crate::logs::LogReader;

/// How long an agent may take to answer. One that waits for its disk is slow.
const PATIENCE: Duration = Duration::from_secs(10);
/// Printed at a time.
const BLOCK_BYTES: usize = 64 * 1024;
/// How often a log that is followed is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

/// What is asked of which agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its state directory.
    pub state: PathBuf,
    /// What.
    pub question: Question,
    /// Of a log: go on with what comes.
    pub follow: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Nobody listens.
    #[error(
        "could not ask the agent of {}: {source}; is it running, and are you its user or root? Another state directory is \
         named with --state",
        state.display()
    )]
    Nobody {
        /// The state directory.
        state: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It says no.
    #[error("{0}")]
    Refused(String),
    /// The log.
    #[error("could not read the log: {0}")]
    Log(io::Error),
    /// Where it is printed.
    #[error("could not print: {0}")]
    Print(io::Error),
}

/// Asks, and prints the answer to `out`. Returns when it is printed; with `follow` when `out` is closed.
///
/// # Errors
/// See [`LocalError`].
pub fn ask(asked: &Asked, out: &mut impl Write) -> Result<(), LocalError> {
    let answer = answer(&asked.state, &asked.question)
        .map_err(|source| LocalError::Nobody { state: asked.state.clone(), source })?;
    if let Some(refusal) = answer.strip_prefix('!') {
        return Err(LocalError::Refused(refusal.trim().to_owned()));
    }
    match asked.question {
        Question::Log { .. } => {
            print_log(Path::new(answer.trim_end_matches('\n')), asked.follow, out)
        }
        Question::Status | Question::Events => {
            out.write_all(answer.as_bytes()).map_err(LocalError::Print)
        }
    }
}

fn answer(state: &Path, question: &Question) -> io::Result<String> {
    let dir = std::fs::File::open(state)?;
    let mut stream = UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(question.line().as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn print_log(run: &Path, follow: bool, out: &mut impl Write) -> Result<(), LocalError> {
    let mut reader = LogReader::open(run, None, false).map_err(LocalError::Log)?;
    loop {
        let mut text = Vec::new();
        let is_end = reader.read(&mut text, BLOCK_BYTES).map_err(LocalError::Log)?;
        out.write_all(&text).and_then(|()| out.flush()).map_err(LocalError::Print)?;
        match (is_end, follow) {
            (true, false) => return Ok(()),
            (true, true) => std::thread::sleep(FOLLOW_INTERVAL),
            (false, _) => {}
        }
    }
}
