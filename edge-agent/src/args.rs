//! Reads the command line of `lichen-agent`.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use lexopt::{Arg, Parser, ValueExt};

use crate::{
    address::{Address, AddressError},
    options::{self, KEEP_ALIVE, OptionError, Options},
};

/// What `--help` prints.
pub const HELP: &str = "\
Runs on a device and makes it match what the hub has assigned to it.

Usage: lichen-agent --state DIR --hub URL [options]

  --state DIR          where everything is kept that survives a restart, such as /var/lib/lichen
  --hub URL            the hub, such as http://127.0.0.1:6180
  --name NAME          this device's name (default: the host's name)
  --label KEY=VALUE    shown on the Node and used by selectors; may be repeated
  --runtime NAME|PATH  the OCI runtime: crun, runc, youki or a path (default: the first that works)
  --keep-alive SECONDS how long the connection may be silent (default: 1200)
  --adopt-hub          accept, once, assignments of another hub than before
  --drain-on-exit      stop every pod before the agent ends (default: they run on)
  --shim PATH          the program lichen-shim (default: beside this program, then in PATH)
  --version            print the version
  --help               print this

Environment: LICHEN_LOG is off, error, warn, info (default), debug or trace.
";

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Be an agent.
    Run(Box<Options>),
    /// Be the process of one Wasm Pod.
    WasmRun(PathBuf),
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
}

/// Why the command line cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// Not a flag of this program, or one without its value.
    #[error("{0}; see lichen-agent --help")]
    Flag(#[from] lexopt::Error),
    /// A required flag is missing.
    #[error("{flag} is missing: {hint}")]
    Missing {
        /// The flag.
        flag: &'static str,
        /// What to give.
        hint: &'static str,
    },
    /// A value is not usable.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The hub's URL is not usable.
    #[error("could not use --hub: {0}")]
    Hub(#[from] AddressError),
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
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long("version") | Arg::Short('V') => return Ok(Command::Version),
            Arg::Value(word) if word == "wasm-run" => {
                return Ok(Command::WasmRun(parser.value()?.into()));
            }
            Arg::Long("state") => given.state = Some(parser.value()?.into()),
            Arg::Long("hub") => given.hub = Some(Address::parse_hub(&parser.value()?.string()?)?),
            Arg::Long("name") => given.name = Some(parser.value()?.string()?),
            Arg::Long("label") => {
                let label = options::parse_label(&parser.value()?.string()?)?;
                options::add_label(&mut given.labels, label)?;
            }
            Arg::Long("runtime") => given.runtime = Some(parser.value()?.string()?),
            Arg::Long("keep-alive") => given.keep_alive = Some(keep_alive(&parser.value()?)?),
            Arg::Long("adopt-hub") => given.adopt_hub = true,
            Arg::Long("drain-on-exit") => given.drain_on_exit = true,
            Arg::Long("shim") => given.shim = Some(parser.value()?.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    given.complete().map(|options| Command::Run(Box::new(options)))
}

#[derive(Default)]
struct Given {
    state: Option<PathBuf>,
    hub: Option<Address>,
    name: Option<String>,
    labels: Vec<firmware_compat::v1::owned::Label>,
    runtime: Option<String>,
    keep_alive: Option<Duration>,
    adopt_hub: bool,
    drain_on_exit: bool,
    shim: Option<PathBuf>,
}

impl Given {
    fn complete(self) -> Result<Options, ArgsError> {
        let state = self.state.ok_or(ArgsError::Missing {
            flag: "--state",
            hint: "give a directory that the agent may fill, such as /var/lib/lichen",
        })?;
        let hub = self.hub.ok_or(ArgsError::Missing {
            flag: "--hub",
            hint: "give the hub's URL, such as http://127.0.0.1:6180",
        })?;
        let name = self.name.unwrap_or_else(host_name);
        options::check_name(&name)?;
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
        Ok(Options {
            state,
            name,
            hub,
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

fn keep_alive(value: &OsString) -> Result<Duration, ArgsError> {
    let refused = || ArgsError::KeepAlive(value.to_string_lossy().into_owned());
    let seconds: u16 = value.to_str().and_then(|text| text.parse().ok()).ok_or_else(refused)?;
    if seconds < 5 { Err(refused()) } else { Ok(Duration::from_secs(seconds.into())) }
}

/// The host's name up to its first dot, in lower case.
#[must_use]
pub fn host_name() -> String {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_ascii_lowercase()
}

/// Looks for `lichen-shim` beside `program`, then in PATH.
#[must_use]
pub fn find_shim(program: &Path) -> Option<PathBuf> {
    const NAME: &str = "lichen-shim";
    let beside = program.parent().map(Path::to_owned);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = beside.into_iter().chain(std::env::split_paths(&path));
    dirs.map(|dir| dir.join(NAME)).find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(line: &str) -> Result<Options, String> {
        match parse(line.split_whitespace().map(OsString::from)) {
            Ok(Command::Run(options)) => Ok(*options),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    const SOUND: &str = "--state /s --hub http://127.0.0.1:1 --name pi --shim /bin/shim";

    #[test]
    fn a_whole_command_line_is_understood() {
        let line = format!(
            "{SOUND} --label a=b --label c= --runtime runc --keep-alive 60 --adopt-hub --drain-on-exit"
        );
        let options = run(&line).expect("sound");
        assert_eq!(options.state, Path::new("/s"));
        assert_eq!(options.name, "pi");
        assert_eq!(options.hub.to_string(), "http://127.0.0.1:1");
        assert_eq!(options.labels.len(), 2);
        assert_eq!(options.runtime.as_deref(), Some("runc"));
        assert_eq!(options.keep_alive, Duration::from_secs(60));
        assert!(options.adopt_hub && options.drain_on_exit);
        assert_eq!(options.shim, Path::new("/bin/shim"));
    }

    #[test]
    fn defaults_fit_a_metered_link() {
        let options = run(SOUND).expect("sound");
        assert_eq!(options.keep_alive, KEEP_ALIVE);
        assert!(!options.adopt_hub && !options.drain_on_exit);
    }

    #[test]
    fn errors_say_what_to_do_next() {
        for (line, hint) in [
            ("--hub http://127.0.0.1:1", "--state is missing: give a directory"),
            ("--state /s", "--hub is missing: give the hub's URL"),
            ("--state /s --hub http://10.0.0.1:1", "until then use 127.0.0.1"),
            ("--state /s --hub http://127.0.0.1:1 --name A", "give one with --name"),
            ("--frob", "see lichen-agent --help"),
            ("--state", "see lichen-agent --help"),
            ("--label x", "write KEY=VALUE"),
            ("--keep-alive 1", "between 5 and 65535"),
            ("extra", "see lichen-agent --help"),
        ] {
            let error = run(line).expect_err(line);
            assert!(error.contains(hint), "{line}: {error}");
        }
    }

    #[test]
    fn the_process_of_a_wasm_pod_is_found_by_its_word() {
        let command = parse(["wasm-run", "/run/spec"].map(OsString::from)).expect("sound");
        assert!(matches!(command, Command::WasmRun(path) if path == Path::new("/run/spec")));
        assert!(matches!(parse(["--help".into()]), Ok(Command::Help)));
        assert!(matches!(parse(["--version".into()]), Ok(Command::Version)));
    }
}
