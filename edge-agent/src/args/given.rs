//! What the words of the command line come to: how to run, what to join, and what goes without saying.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use firmware_compat::{
    enrolment::{Address, DEVICE_PORT, Fingerprint, JoinToken},
    v1::owned::Label,
};

use lexopt::{Arg, Parser, ValueExt as _};

use super::{ArgsError, Command, JOIN_TOKEN, Join};
use crate::{
    join::Invitation,
    local::{Question, client::Asked},
    options::{KEEP_ALIVE, Options},
};

/// Where root keeps the state.
const ROOTS_STATE: &str = "/var/lib/lichen";
/// Where everybody else does, below their home.
const OWN_STATE: &str = ".local/state/lichen/device";

/// Bytes that are read of a token. A longer one is none.
const MAX_TOKEN: u64 = 8 * 1024;

/// What stands on the command line.
#[derive(Default)]
pub(super) struct Given {
    pub(super) join: bool,
    pub(super) token: Option<String>,
    pub(super) hub: Option<String>,
    pub(super) fingerprint: Option<String>,
    pub(super) name: Option<String>,
    pub(super) exit: bool,
    pub(super) state: Option<PathBuf>,
    pub(super) labels: Vec<Label>,
    pub(super) runtime: Option<String>,
    pub(super) keep_alive: Option<Duration>,
    pub(super) adopt_hub: bool,
    pub(super) drain_on_exit: bool,
    pub(super) shim: Option<PathBuf>,
    /// Those of them that are for running.
    pub(super) afterwards: Vec<OsString>,
}

impl Given {
    /// Takes note of a flag that is for running, and gives its value back.
    pub(super) fn running_flag(&mut self, flag: &str, value: OsString) -> OsString {
        self.afterwards.extend([OsString::from(flag), value.clone()]);
        value
    }

    /// An agent that runs: nothing that belongs to joining may stand there.
    pub(super) fn running(self) -> Result<Options, ArgsError> {
        let joins = [
            ("--hub", self.hub.is_some()),
            ("--fingerprint", self.fingerprint.is_some()),
            ("--name", self.name.is_some()),
            ("--exit", self.exit),
        ];
        match joins.into_iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => Err(ArgsError::OnlyWithJoin { flag }),
            None => self.options(),
        }
    }

    /// A device that joins, and runs afterwards.
    pub(super) fn joining(mut self) -> Result<Join, ArgsError> {
        let token = match self.token.take() {
            Some(word) if word == "-" => Some(read_token(std::io::stdin())?),
            None if self.hub.is_none() => std::env::var_os(JOIN_TOKEN)
                .filter(|word| !word.is_empty())
                .map(|word| word.to_string_lossy().into_owned()),
            token => token,
        };
        let invitation =
            invitation(token.as_deref(), self.hub.as_deref(), self.fingerprint.as_deref())?;
        let (name, exit) = (self.name.take(), self.exit);
        let afterwards = std::mem::take(&mut self.afterwards);
        Ok(Join { invitation, name, exit, options: self.options()?, afterwards })
    }

    fn options(self) -> Result<Options, ArgsError> {
        let program = std::env::current_exe().map_err(|error| ArgsError::Environment {
            what: "this program's own path",
            hint: error.to_string(),
        })?;
        let shim = match self.shim {
            Some(shim) => shim,
            None => find_shim(&program).ok_or(ArgsError::Environment {
                what: "the program lichen-shim",
                hint: "put it beside lichen-agent or into PATH, or name it with --shim".to_owned(),
            })?,
        };
        let state = match self.state {
            Some(state) => state,
            None => default_state().ok_or(ArgsError::Environment {
                what: "a place for the state",
                hint: "HOME is not set: name a directory with --state".to_owned(),
            })?,
        };
        Ok(Options {
            state,
            labels: self.labels,
            runtime: self.runtime,
            keep_alive: self.keep_alive.unwrap_or(KEEP_ALIVE),
            adopt_hub: self.adopt_hub,
            drain_on_exit: self.drain_on_exit,
            shim,
            wasm_program: program,
        })
    }
}

/// The first line, which no list of processes shows.
fn read_token(from: impl Read) -> Result<String, ArgsError> {
    let mut line = String::new();
    BufReader::new(from.take(MAX_TOKEN)).read_line(&mut line).map_err(ArgsError::Stdin)?;
    Ok(line.trim().to_owned())
}

fn invitation(
    token: Option<&str>,
    hub: Option<&str>,
    fingerprint: Option<&str>,
) -> Result<Invitation, ArgsError> {
    match (token, hub, fingerprint) {
        (Some(token), None, None) => {
            Ok(JoinToken::parse(token, |json| serde_json::from_slice(json))?.into())
        }
        (Some(_), ..) => Err(ArgsError::Target(
            "a token says which hub it is: leave --hub and --fingerprint out",
        )),
        (None, Some(hub), fingerprint) => {
            let read = |hex: &str| {
                Fingerprint::parse(hex).ok_or_else(|| ArgsError::Fingerprint(hex.to_owned()))
            };
            let fingerprint = fingerprint.map(read).transpose()?;
            let addresses = vec![Address::parse_or(hub, DEVICE_PORT)?];
            Ok(Invitation { addresses, fingerprint, secret: None })
        }
        (None, None, _) => Err(ArgsError::Target(
            "join what? Paste the line that `lichen token create` prints on the hub's machine; or name the hub with \
             --hub HOST:PORT and have an operator approve this device",
        )),
    }
}

/// Where the state is kept if nobody says.
fn default_state() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(ROOTS_STATE.into());
    }
    let home = std::env::home_dir().filter(|home| home.is_absolute())?;
    Some(home.join(OWN_STATE))
}

/// Seconds that MQTT can express.
pub(super) fn keep_alive(value: &OsString) -> Result<Duration, ArgsError> {
    let refused = || ArgsError::KeepAlive(value.to_string_lossy().into_owned());
    let seconds: u16 = value.to_str().and_then(|text| text.parse().ok()).ok_or_else(refused)?;
    if seconds < 5 { Err(refused()) } else { Ok(Duration::from_secs(seconds.into())) }
}

/// Looks for `lichen-shim` beside `program`, then in PATH.
fn find_shim(program: &Path) -> Option<PathBuf> {
    const NAME: &str = "lichen-shim";
    let beside = program.parent().map(Path::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = beside.into_iter().chain(std::env::split_paths(&path));
    dirs.map(|dir| dir.join(NAME)).find(|candidate| candidate.is_file())
}

/// What comes after `status`, `events` and `logs`.
pub(super) fn local(word: &str, parser: &mut Parser) -> Result<Command, ArgsError> {
    let (mut state, mut names) = (None, Vec::new());
    let (mut follow, mut previous) = (false, false);
    let is_logs = word == "logs";
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long("state") => state = Some(parser.value()?.into()),
            Arg::Long("follow") | Arg::Short('f') if is_logs => follow = true,
            Arg::Long("previous") | Arg::Short('p') if is_logs => previous = true,
            Arg::Value(name) if is_logs && names.len() < 2 => names.push(name.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let mut names = names.into_iter();
    let question = match (word, names.next()) {
        ("status", _) => Question::Status,
        ("events", _) => Question::Events,
        (_, Some(pod)) => {
            Question::Log { pod, container: names.next().unwrap_or_default(), previous }
        }
        (_, None) => {
            return Err(ArgsError::Target(
                "logs of what? `lichen-agent status` lists the pods of this device",
            ));
        }
    };
    let state = state.or_else(default_state).ok_or(ArgsError::Environment {
        what: "a place for the state",
        hint: "HOME is not set: name a directory with --state".to_owned(),
    })?;
    Ok(Command::Local(Asked { state, question, follow }))
}
