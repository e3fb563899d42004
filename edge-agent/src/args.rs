//! Reads the command line of `lichen-agent`: its words here, what they come to in [`given`].

use std::{ffi::OsString, path::PathBuf};

use firmware_compat::enrolment::{AddressError, TokenError};
use lexopt::{Arg, Parser, ValueExt};

use crate::{
    join::Invitation,
    local::client::Asked,
    options::{self, OptionError, Options},
};

mod given;

use given::{Given, keep_alive};

/// The variable that may hold the token.
pub const JOIN_TOKEN: &str = "LICHEN_JOIN_TOKEN";

/// What `--help` prints.
pub const HELP: &str = "\
Runs on a device and makes it match what its hub has assigned to it.

Usage: lichen-agent join TOKEN [options]     become a device of a hub, and run
       lichen-agent [options]                run
       lichen-agent status                   what runs on this device, and why the rest does not
       lichen-agent events                   what happened on it of late
       lichen-agent logs POD [CONTAINER] [--follow] [--previous]

TOKEN is printed on the hub's machine by: lichen token create
Every user of this machine sees a command line: with - for TOKEN it is read from standard input, and
without one from LICHEN_JOIN_TOKEN.

  --state DIR          where everything is kept that survives a restart
                       (default: /var/lib/lichen, or ~/.local/state/lichen/device without root)
  --label KEY=VALUE    shown on the Node and used by selectors; may be repeated
  --runtime NAME|PATH  the OCI runtime: crun, runc, youki or a path (default: the first that works)
  --keep-alive SECONDS how long the connection may be silent (default: 1200)
  --adopt-hub          accept, once, assignments of another hub than before
  --drain-on-exit      stop every pod before the agent ends (default: they run on)
  --shim PATH          the program lichen-shim (default: beside this program, then in PATH)
  --version            print the version
  --help               print this

Only with join:

  --name NAME          the device's name (default: made of the host's name)
  --exit               end once the device has joined
  --hub HOST:PORT      without a token: the hub's port for devices (default port: 6183). An operator
                       has to approve the device, or has announced the board by its serial number
  --fingerprint HEX    with --hub: of the hub's CA. Without it the first hub that answers is believed

Environment: LICHEN_LOG is off, error, warn, info (default), debug or trace.
";

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Be an agent.
    Run(Box<Options>),
    /// Become a hub's device first.
    Join(Box<Join>),
    /// Ask the agent that runs.
    Local(Asked),
    /// Be the process of one Wasm Pod.
    WasmRun(PathBuf),
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
}

/// How to join, and how to run afterwards.
#[derive(Debug)]
pub struct Join {
    /// What to join.
    pub invitation: Invitation,
    /// The name that was given.
    pub name: Option<String>,
    /// End afterwards.
    pub exit: bool,
    /// How to run.
    pub options: Options,
    /// The command line that only runs: a token on it would be seen by every user of this machine for as long as the agent
    /// runs.
    pub afterwards: Vec<OsString>,
}

/// Why the command line cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// Not a flag of this program, or one without its value.
    #[error("{0}; see lichen-agent --help")]
    Flag(#[from] lexopt::Error),
    /// A value is not usable.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The token is none.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token can't be read.
    #[error("could not read the token from standard input: {0}")]
    Stdin(std::io::Error),
    /// The hub's address is none.
    #[error("could not use --hub: {0}")]
    Hub(#[from] AddressError),
    /// Not a SHA-256.
    #[error(
        "--fingerprint {0:?} is not a SHA-256 of 64 hex digits: copy what the hub prints as its CA's fingerprint"
    )]
    Fingerprint(String),
    /// A token, or a hub's address, but not both.
    #[error("{0}")]
    Target(&'static str),
    /// A flag of the other command.
    #[error(
        "{flag} belongs to `lichen-agent join`: a device has its name and its hub from joining"
    )]
    OnlyWithJoin {
        /// The flag.
        flag: &'static str,
    },
    /// Not a number of seconds that MQTT can express.
    #[error("--keep-alive {0:?} is not between 5 and 65535 seconds")]
    KeepAlive(String),
    /// Something else of the machine is missing.
    #[error("could not find {what}: {hint}")]
    Environment {
        /// What is missing.
        what: &'static str,
        /// What to do.
        hint: String,
    },
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// See [`ArgsError`].
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, ArgsError> {
    let mut parser = Parser::from_args(args);
    let mut given = Given::default();
    let mut first = true;
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long("version") | Arg::Short('V') => return Ok(Command::Version),
            Arg::Value(word) if first && word == "wasm-run" => {
                return Ok(Command::WasmRun(parser.value()?.into()));
            }
            Arg::Value(word) if first && word == "join" => given.join = true,
            Arg::Value(word)
                if first && ["status", "events", "logs"].iter().any(|own| word == *own) =>
            {
                return given::local(&word.string()?, &mut parser);
            }
            Arg::Value(word) if given.join && given.token.is_none() => {
                given.token = Some(word.string()?);
            }
            Arg::Long("state") => {
                given.state = Some(given.running_flag("--state", parser.value()?).into())
            }
            Arg::Long("hub") => given.hub = Some(parser.value()?.string()?),
            Arg::Long("fingerprint") => given.fingerprint = Some(parser.value()?.string()?),
            Arg::Long("name") => given.name = Some(parser.value()?.string()?),
            Arg::Long("exit") => given.exit = true,
            Arg::Long("label") => {
                let text = given.running_flag("--label", parser.value()?).string()?;
                options::add_label(&mut given.labels, options::parse_label(&text)?)?;
            }
            Arg::Long("runtime") => {
                given.runtime = Some(given.running_flag("--runtime", parser.value()?).string()?);
            }
            Arg::Long("keep-alive") => {
                let seconds = given.running_flag("--keep-alive", parser.value()?);
                given.keep_alive = Some(keep_alive(&seconds)?);
            }
            Arg::Long("adopt-hub") => {
                given.adopt_hub = true;
                given.afterwards.push("--adopt-hub".into());
            }
            Arg::Long("drain-on-exit") => {
                given.drain_on_exit = true;
                given.afterwards.push("--drain-on-exit".into());
            }
            Arg::Long("shim") => {
                given.shim = Some(given.running_flag("--shim", parser.value()?).into());
            }
            other => return Err(other.unexpected().into()),
        }
        first = false;
    }
    match given.join {
        true => given.joining().map(|join| Command::Join(Box::new(join))),
        false => given.running().map(|options| Command::Run(Box::new(options))),
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use firmware_compat::enrolment::{Address, Fingerprint, JoinSecret, JoinToken};

    use super::*;
    use crate::options::KEEP_ALIVE;

    fn read(line: &str) -> Result<Command, String> {
        let words = line.split_whitespace().map(OsString::from);
        parse(words).map_err(|error| error.to_string())
    }

    fn run(line: &str) -> Options {
        match read(&format!("{line} --shim /bin/shim")) {
            Ok(Command::Run(options)) => *options,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn join(line: &str) -> Join {
        match read(&format!("join {line} --shim /bin/shim")) {
            Ok(Command::Join(join)) => *join,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn token() -> String {
        let token = JoinToken {
            addresses: vec![Address::parse("hub:6183").expect("sound")].try_into().expect("one"),
            fingerprint: Fingerprint([1; 32]),
            secret: JoinSecret::parse("id.secret").expect("sound"),
        };
        JoinToken::to_word(&serde_json::to_vec(&token).expect("it encodes"))
    }

    #[test]
    fn a_whole_command_line_is_understood() {
        let options = run(
            "--state /s --label a=b --label c= --runtime runc --keep-alive 60 --adopt-hub --drain-on-exit",
        );
        assert_eq!(options.state, Path::new("/s"));
        assert_eq!(options.labels.len(), 2);
        assert_eq!(options.runtime.as_deref(), Some("runc"));
        assert_eq!(options.keep_alive, Duration::from_secs(60));
        assert_eq!(options.shim, Path::new("/bin/shim"));
        assert!(options.adopt_hub && options.drain_on_exit);
    }

    #[test]
    fn an_agent_needs_no_flags_and_fits_a_metered_link() {
        let options = run("");
        assert!(
            options.state.ends_with("lichen")
                || options.state.ends_with(".local/state/lichen/device")
        );
        assert_eq!(options.keep_alive, KEEP_ALIVE);
        assert!(!options.adopt_hub && !options.drain_on_exit);
    }

    #[test]
    fn a_pasted_line_is_all_that_it_takes_to_join() {
        let pasted = join(&token());
        assert_eq!(pasted.invitation.addresses[0].to_string(), "hub:6183");
        assert_eq!(pasted.invitation.fingerprint, Some(Fingerprint([1; 32])));
        assert_eq!(pasted.invitation.secret, JoinSecret::parse("id.secret"));
        assert!(!pasted.exit && pasted.name.is_none());
        let more = join(&format!("--name pi --exit {} --label a=b --state /s", token()));
        assert_eq!((more.name.as_deref(), more.exit), (Some("pi"), true));
        assert_eq!(more.options.labels.len(), 1);
        // Afterwards, nobody sees the token on the command line any more.
        let all =
            "--runtime runc --keep-alive 60 --adopt-hub --drain-on-exit --label a=b --state /s";
        let joined = join(&format!("{} --name pi {all}", token()));
        let afterwards = parse(joined.afterwards.clone()).expect("it is a command line");
        let Command::Run(options) = afterwards else { panic!("{:?}", joined.afterwards) };
        assert_eq!(format!("{options:?}"), format!("{:?}", Box::new(joined.options)));
    }

    #[test]
    fn a_hub_can_be_named_without_a_token() {
        let print = "ab".repeat(32);
        let by_hand = join(&format!("--hub [fd00::1] --fingerprint {print}")).invitation;
        assert_eq!(by_hand.addresses[0].to_string(), "[fd00::1]:6183");
        assert_eq!((by_hand.fingerprint, by_hand.secret), (Some(Fingerprint([0xab; 32])), None));
        assert_eq!(join("--hub hub:1").invitation.fingerprint, None);
    }

    #[test]
    fn errors_say_what_to_do_next() {
        let token = token();
        for (line, hint) in [
            ("join", "lichen token create"),
            ("join xyz", "starts with lichen-join."),
            ("join lichen-join.e", "copy it whole"),
            (&format!("join {token} --hub h"), "leave --hub"),
            (&format!("join {token} more"), "see lichen-agent --help"),
            ("join --hub http://h", "write HOST:PORT"),
            ("join --hub h --fingerprint ab", "64 hex digits"),
            ("--hub h", "--hub belongs to `lichen-agent join`"),
            ("--name pi", "--name belongs to"),
            ("--exit", "--exit belongs to"),
            ("--frob", "see lichen-agent --help"),
            ("--state", "see lichen-agent --help"),
            ("--label x", "write KEY=VALUE"),
            ("--keep-alive 1", "between 5 and 65535"),
            ("extra", "see lichen-agent --help"),
            ("--adopt-hub join", "see lichen-agent --help"),
        ] {
            let error = read(line).expect_err(line);
            assert!(error.contains(hint), "{line}: {error}");
        }
    }

    #[test]
    fn the_process_of_a_wasm_pod_is_found_by_its_word() {
        let command = parse(["wasm-run", "/run/spec"].map(OsString::from)).expect("sound");
        assert!(matches!(command, Command::WasmRun(path) if path == Path::new("/run/spec")));
    }
}
