//! `lichen quickstart`: a hub in this process, an agent as a process of its own, and two workloads; everything is kept in
//! one directory, and what was started is stopped again.

mod agent;
mod image;
mod programs;
mod server;
mod show;
mod steps;

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use lichen_hub_core::api::{Key, Kind};

use super::{
    Context, apply,
    args::QuickstartArgs,
    client::Client,
    discovery::ObjectRef,
    error::{CliError, chain},
    explain, files, hub, image as images, kinds,
    kubeconfig::{Choice, admin},
    token,
    ui::{Level, Tone, Ui, plain},
};
use crate::manifest::{Source, read::read};
use agent::Agent;
use programs::Programs;
use server::{News, Server};
use show::{Progress, State};
use steps::{Step, begin, tell};

/// The device's name.
const DEVICE: &str = "quickstart";
/// The manifests, as they stand in `manifests/quickstart/`.
const MANIFESTS: [(&str, &str); 2] = [
    ("hello-wasm.yaml", include_str!("../../../manifests/quickstart/hello-wasm.yaml")),
    ("hello-container.yaml", include_str!("../../../manifests/quickstart/hello-container.yaml")),
];
/// The module of the first one.
const MODULE: &str = include_str!("../../wasmc/samples/hello.wat");
/// How long a device takes to join, at most: it tries its container runtimes first.
const JOIN_TIME: Duration = Duration::from_secs(60);
/// How often the table is drawn anew.
const REFRESH: Duration = Duration::from_millis(200);
/// After so long without success it is said why.
const SAY_WHY_AFTER: Duration = Duration::from_secs(20);
/// Lines of each log that are shown.
const LOG_LINES: usize = 3;

/// Runs the command.
///
/// # Errors
/// Something can't be started, or with `--once` does not run in time.
pub fn run(context: &mut Context, args: QuickstartArgs) -> Result<(), CliError> {
    let state = match args.state {
        Some(state) => std::path::absolute(&state).unwrap_or(state),
        None => hub::user_state("quickstart")?,
    };
    let failed = |source| CliError::File { path: state.clone(), source };
    fs::create_dir_all(&state).map_err(failed)?;
    let _lock = lock(&state)?;
    context.ui.note(&format!("a hub and a device on this machine, kept in {}\n", state.display()));
    let programs = Programs::find()?;
    begin(&mut context.ui, Step::Hub);
    let mut server = Server::start(context, &programs, &state)?;
    // Whatever else the user's contexts say.
    let choice =
        Choice { kubeconfig: Some(state.join("hub").join(admin::FILE)), ..Choice::default() };
    let client = Client::new(choice, context.ui.level == Level::Verbose);
    tell(&mut context.ui, &format!("{}  (log: {})", server.address(), server.log().display()));
    let ui = std::mem::replace(&mut context.ui, Ui::captured().0);
    let mut own = Context::new(client, ui);
    let started =
        token::make(&own.client).and_then(|token| Agent::start(&programs, &state, &token));
    let result = started.and_then(|mut agent| {
        let story = Story { context: &mut own, server: &server, agent: &mut agent, state: &state };
        let result = story.tell(args.once, args.timeout);
        if matches!(result, Ok(End::Asked)) {
            own.ui.note("\nstopping what was started; the second Ctrl-C doesn't wait");
        }
        let stopped = agent.stop(&mut server);
        match (result, stopped) {
            (Ok(_), stopped) => stopped,
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(unstopped)) => {
                unstopped.print(&mut own.ui);
                Err(error)
            }
        }
    });
    context.ui = own.ui;
    let stopped = server.stop();
    result.and(stopped)
}

/// One quickstart per state directory.
fn lock(state: &Path) -> Result<fs::File, CliError> {
    let path = state.join("lock");
    let file = fs::File::create(&path).map_err(|source| CliError::File { path, source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(CliError::Failed(format!(
            "another lichen quickstart runs on {}; stop it, or name another directory with --state",
            state.display()
        ))),
    }
}

/// How it ended.
enum End {
    /// By Ctrl-C or SIGTERM.
    Asked,
    /// Because `--once` has seen enough.
    Seen,
}

/// What the story needs.
struct Story<'a> {
    context: &'a mut Context,
    server: &'a Server,
    agent: &'a mut Agent,
    state: &'a Path,
}

impl Story<'_> {
    fn tell(mut self, once: bool, patience: Duration) -> Result<End, CliError> {
        if let Some(end) = self.join()? {
            return Ok(end);
        }
        self.push_images()?;
        self.apply()?;
        let (progress, asked) = self.watch(once.then_some(patience))?;
        if asked {
            return Ok(End::Asked);
        }
        self.show_logs(&progress);
        for waiting in progress.rows.iter().filter(|row| row.state != State::Runs) {
            let text = format!("{} waits: {}", waiting.name, waiting.text);
            self.context.ui.warn(&plain(&text));
        }
        if once {
            self.context.ui.note("\nall that can run here does; it is stopped again");
            return Ok(End::Seen);
        }
        self.show_next_commands();
        self.stay()
    }

    /// Waits until the device has joined.
    fn join(&mut self) -> Result<Option<End>, CliError> {
        let node = ObjectRef::known(&Key::new(Kind::Node, "", DEVICE));
        begin(&mut self.context.ui, Step::Device);
        let begun = Instant::now();
        loop {
            let found = self.context.client.read(&node)?;
            if let Some(node) = found.filter(show::is_ready) {
                let text = format!(
                    "{DEVICE}, {}  (log: {})",
                    show::abilities(&node),
                    self.agent.log().display()
                );
                tell(&mut self.context.ui, &text);
                return Ok(None);
            }
            if begun.elapsed() > JOIN_TIME {
                return Err(self.agent.failed("the device did not join in time"));
            }
            if self.pause()? {
                return Ok(Some(End::Asked));
            }
        }
    }

    /// Waits a moment; true if it is time to stop.
    fn pause(&mut self) -> Result<bool, CliError> {
        match self.server.news(REFRESH) {
            Some(News::Asked) => return Ok(true),
            Some(News::Failed(cause)) => return Err(CliError::Failed(cause)),
            None => {}
        }
        match self.agent.ended() {
            Some(how) => Err(self.agent.failed(&how)),
            None => Ok(false),
        }
    }

    fn push_images(&mut self) -> Result<(), CliError> {
        begin(&mut self.context.ui, Step::Images);
        let module = self.state.join("hello-wasm.wat");
        fs::write(&module, MODULE)
            .map_err(|source| CliError::File { path: module.clone(), source })?;
        let wasm = lichen_images::source::open(&module, None)?;
        let container = image::build(&self.state.join("image"))?;
        let mut quiet = Context::new(self.context.client.clone(), Ui::captured().0);
        for (image, name) in
            [(&wasm, "hello-wasm:quickstart"), (&container, "hello-container:quickstart")]
        {
            let reference = lichen_images::Reference::parse(name)
                .map_err(|error| CliError::Failed(error.to_string()))?;
            images::push(&mut quiet, image, &reference)?;
            tell(&mut self.context.ui, name);
        }
        Ok(())
    }

    fn apply(&mut self) -> Result<(), CliError> {
        begin(&mut self.context.ui, Step::Manifests);
        let mut manifests = Vec::new();
        for (name, text) in MANIFESTS {
            let source = Arc::new(Source { name: name.to_owned(), text: text.to_owned() });
            manifests.extend(read(&source).map_err(CliError::Manifests)?);
        }
        for manifest in &mut manifests {
            files::settle(manifest, None, kinds::DEFAULT_NAMESPACE);
        }
        let (ui, out, err) = Ui::captured();
        let mut quiet = Context::new(self.context.client.clone(), ui);
        apply::apply(&mut quiet, &manifests)
            .map_err(|error| CliError::Failed(format!("{}{error}", err.text())))?;
        for line in out.text().lines() {
            tell(&mut self.context.ui, line);
        }
        Ok(())
    }

    /// Shows the table until everything that can run does. True if it was stopped before.
    fn watch(&mut self, patience: Option<Duration>) -> Result<(Progress, bool), CliError> {
        begin(&mut self.context.ui, Step::Run);
        let begun = Instant::now();
        let mut drawing = show::Drawing::default();
        let mut said_why = false;
        loop {
            let progress = Progress::read(self.context)?;
            drawing.draw(&mut self.context.ui, &progress)?;
            if progress.is_settled() {
                return Ok((progress, false));
            }
            if patience.is_some_and(|patience| begun.elapsed() > patience) {
                return Err(self.did_not_run(&progress, begun.elapsed()));
            }
            if patience.is_none() && !said_why && begun.elapsed() > SAY_WHY_AFTER {
                said_why = true;
                let why = self.reasons(&progress);
                drawing.forget();
                self.context.ui.note(&why);
            }
            if self.pause()? {
                return Ok((progress, true));
            }
        }
    }

    fn reasons(&self, progress: &Progress) -> String {
        let mut text = String::new();
        for row in progress.rows.iter().filter(|row| row.state != State::Runs) {
            match explain::lines(self.context, &row.workload) {
                Ok(lines) => {
                    for line in lines {
                        text.push_str(&format!("{}\n", explain::shown(self.context, &line)));
                    }
                }
                Err(error) => text.push_str(&format!("{}: {}\n", row.name, chain(&error))),
            }
        }
        text.trim_end().to_owned()
    }

    fn did_not_run(&self, progress: &Progress, after: Duration) -> CliError {
        CliError::Failed(format!(
            "not everything runs after {} s:\n{}\nthe logs are {} and {}",
            after.as_secs(),
            self.reasons(progress),
            self.server.log().display(),
            self.agent.log().display()
        ))
    }

    /// The first lines of each log. That they can't be read is no failure: the workload runs.
    fn show_logs(&mut self, progress: &Progress) {
        self.context.ui.note("\nwhat they print:");
        for row in progress.rows.iter().filter(|row| row.state == State::Runs) {
            let Some(pod) = &row.pod else { continue };
            let lines =
                first_lines(&self.context.client, pod).unwrap_or_else(|error| vec![chain(&error)]);
            for line in lines {
                let name = self.context.ui.tinted(&format!("{:16}", row.workload.name), Tone::Dim);
                let _ = self.context.ui.line(&format!("  {name} {}", plain(&line)));
            }
        }
    }

    fn show_next_commands(&mut self) {
        let program = program();
        let commands = [
            ("get all", "what there is"),
            ("logs -f deployment/hello-wasm", "what it prints, as it comes"),
            ("explain daemonset/hello-container", "why it runs, or doesn't"),
            ("describe node quickstart", "the device, and what it can run"),
            ("get events", "what happened"),
            ("delete deployment hello-wasm", "stop it; run quickstart again to bring it back"),
        ];
        let commands = commands.map(|(command, what)| (format!("{program} {command}"), what));
        let width = commands.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
        let mut text = "\nworth trying in another terminal:\n".to_owned();
        for (command, what) in commands {
            text.push_str(&format!("  {command:width$}  {what}\n"));
        }
        text.push_str("\nCtrl-C stops the hub, the device and what it runs");
        self.context.ui.note(&text);
    }

    fn stay(&mut self) -> Result<End, CliError> {
        loop {
            if self.pause()? {
                return Ok(End::Asked);
            }
        }
    }
}

fn first_lines(client: &Client, pod: &ObjectRef) -> Result<Vec<String>, CliError> {
    /// Longest part of a log that is read for them.
    const MAX: u64 = 4096;
    let log = client.stream(&format!("{}/log", pod.path()))?;
    let lines = BufReader::new(log.take(MAX)).lines();
    Ok(lines.take(LOG_LINES).map_while(Result::ok).collect())
}

/// How this program is called: by its name if that finds it, else by its path.
fn program() -> String {
    let Ok(own) = std::env::current_exe() else { return "lichen".to_owned() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|dir| dir.join("lichen")).find(|path| path.is_file());
    if found.and_then(|found| fs::canonicalize(found).ok()) == fs::canonicalize(&own).ok() {
        return "lichen".to_owned();
    }
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    own.strip_prefix(&here).unwrap_or(&own).display().to_string()
}
