//! Where output goes and how it may look: results on stdout, everything else on stderr; colours and live drawing on a
//! terminal only, never with `NO_COLOR`.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
};

/// How much is said besides results and errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Quiet,
    /// Notes that help.
    #[default]
    Normal,
    /// Every request.
    Verbose,
}

/// What a piece of text says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Something is on its way or wants a look.
    Warn,
    /// Something is wrong.
    Bad,
    /// Less important.
    Dim,
    /// A heading.
    Bold,
}

/// Where output goes.
pub struct Ui {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// How much is said.
    pub level: Level,
    /// Whether stdout is a terminal.
    pub terminal: bool,
    /// Whether stderr is a terminal.
    pub err_terminal: bool,
    colour: bool,
    err_colour: bool,
    width: Option<usize>,
}

impl Ui {
    /// The process's own stdout and stderr.
    #[must_use]
    pub fn standard(level: Level) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let (terminal, err_terminal) = (out.is_terminal(), err.is_terminal());
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            out: Box::new(out),
            err: Box::new(err),
            level,
            terminal,
            err_terminal,
            colour: terminal && wanted,
            err_colour: err_terminal && wanted,
            width: terminal.then(terminal_width).flatten(),
        }
    }

    /// Output that is kept, as if written to a file.
    #[must_use]
    pub fn captured() -> (Self, Captured, Captured) {
        let (out, err) = (Captured::default(), Captured::default());
        let ui = Self {
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            level: Level::Normal,
            terminal: false,
            err_terminal: false,
            colour: false,
            err_colour: false,
            width: None,
        };
        (ui, out, err)
    }

    /// Columns of the terminal; `None` if stdout is none.
    #[must_use]
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// A piece of text for stdout, coloured if that is wanted.
    #[must_use]
    pub fn tinted(&self, text: &str, tone: Tone) -> String {
        tint(text, tone, self.colour)
    }

    /// A line of results.
    ///
    /// # Errors
    /// Stdout can't be written.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Results as they are.
    ///
    /// # Errors
    /// Stdout can't be written.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.flush()
    }

    /// Something that helps, on stderr.
    pub fn note(&mut self, text: &str) {
        if self.level > Level::Quiet {
            // A stderr that can't be written can't be told about either.
            let _ = writeln!(self.err, "{text}");
        }
    }

    /// A question, or part of one, on stderr; also when nothing else is said.
    pub fn ask(&mut self, text: &str) {
        let _ = write!(self.err, "{text}");
        let _ = self.err.flush();
    }

    /// Something to look at, on stderr.
    pub fn warn(&mut self, text: &str) {
        let lead = tint("warning:", Tone::Warn, self.err_colour);
        let _ = writeln!(self.err, "{lead} {text}");
    }

    /// What went wrong, on stderr.
    pub fn error(&mut self, text: &str) {
        let lead = tint("error:", Tone::Bad, self.err_colour);
        let _ = writeln!(self.err, "{lead} {text}");
    }
}

fn tint(text: &str, tone: Tone, colour: bool) -> String {
    let code = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Good => "32",
        Tone::Warn => "33",
        Tone::Bad => "31",
        Tone::Dim => "2",
        Tone::Bold => "1",
    };
    if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// A text from elsewhere on one line, without anything that could drive a terminal.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}

/// Output that is kept.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// What has been written so far.
    #[must_use]
    pub fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
