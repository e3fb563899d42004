//! The command line, parsed by hand: two commands and four options.

use std::ffi::OsString;
use std::path::PathBuf;

use lichen_wasm_host::Class;

use crate::error::Error;
use crate::limits::Limits;

/// What is printed with a mistake.
pub const USAGE: &str = "lichen-wasmc compile --class CLASS --output FILE [--memory-limit-mb N] \
                         [--time-limit-s N] INPUT | lichen-wasmc version";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Compile one program.
    Compile(Request),
    /// Print the compatibility hash of every class.
    Version,
}

/// One program to compile.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Which devices it is for.
    pub class: Class,
    /// The program.
    pub input: PathBuf,
    /// Where the artefact goes.
    pub output: PathBuf,
    /// What the compiler may use.
    pub limits: Limits,
}

/// Parses the arguments after the program's name.
///
/// # Errors
/// [`Error::Usage`] with what is wrong.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, Error> {
    let mut args = args.into_iter();
    match args.next().as_deref().map(|word| word.to_string_lossy().into_owned()).as_deref() {
        Some("compile") => parse_compile(args).map(Command::Compile),
        Some("version" | "--version") => match args.next() {
            None => Ok(Command::Version),
            Some(extra) => Err(Error::Usage(format!("version takes no argument {extra:?}"))),
        },
        Some(other) => Err(Error::Usage(format!("there is no command {other:?}"))),
        None => Err(Error::Usage("a command is missing".to_owned())),
    }
}

fn parse_compile(mut args: impl Iterator<Item = OsString>) -> Result<Request, Error> {
    let mut limits = Limits::default();
    let (mut class, mut output, mut input) = (None, None, None);
    while let Some(word) = args.next() {
        let mut value = || {
            let missing = || Error::Usage(format!("{} needs a value", word.to_string_lossy()));
            args.next().ok_or_else(missing)
        };
        match word.to_str() {
            Some("--class") => class = Some(parse_class(&value()?)?),
            Some("--output") => output = Some(PathBuf::from(value()?)),
            Some("--memory-limit-mb") => limits.memory_mb = parse_number(&word, &value()?)?,
            Some("--time-limit-s") => limits.time_s = parse_number(&word, &value()?)?,
            Some(option) if option.starts_with('-') => {
                return Err(Error::Usage(format!("there is no option {option}")));
            }
            _ if input.is_none() => input = Some(PathBuf::from(word)),
            _ => return Err(Error::Usage(format!("a second input {word:?} was given"))),
        }
    }
    let missing = |what: &str| Error::Usage(format!("{what} is missing"));
    Ok(Request {
        class: class.ok_or_else(|| missing("--class"))?,
        output: output.ok_or_else(|| missing("--output"))?,
        input: input.ok_or_else(|| missing("INPUT"))?,
        limits,
    })
}

fn parse_class(value: &OsString) -> Result<Class, Error> {
    Class::parse(&value.to_string_lossy()).map_err(|error| Error::Usage(error.to_string()))
}

fn parse_number(option: &OsString, value: &OsString) -> Result<u32, Error> {
    let number = value.to_str().and_then(|text| text.parse().ok()).filter(|number| *number > 0);
    number.ok_or_else(|| {
        let option = option.to_string_lossy();
        Error::Usage(format!("{option} needs a whole number above zero, not {value:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_full_command_line_is_understood() {
        let expected = Request {
            class: Class::Aarch64,
            input: "a.wasm".into(),
            output: "a.cwasm".into(),
            limits: Limits { memory_mb: 64, time_s: 5 },
        };
        let line = "compile --class aarch64 --output a.cwasm --memory-limit-mb 64 --time-limit-s 5 \
                    a.wasm";
        assert_eq!(check(line), Ok(Command::Compile(expected)));
        assert_eq!(check("version"), Ok(Command::Version));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, expected) in [
            ("", "a command is missing"),
            ("link", "no command \"link\""),
            ("compile --class sparc --output o i", "unknown device class \"sparc\""),
            ("compile --class x86_64 i", "--output is missing"),
            ("compile --class x86_64 --output o", "INPUT is missing"),
            ("compile --class x86_64 --output o --time-limit-s 0 i", "not \"0\""),
            ("compile --class x86_64 --output o i j", "second input \"j\""),
            ("compile --fast", "no option --fast"),
        ] {
            let error = check(line).expect_err(line);
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
