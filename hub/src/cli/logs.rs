//! `lichen logs`: what containers print: of one Pod or of all Pods of a workload, each line then with where it comes from in
//! front. What the hub says about a log's end goes to stderr.

mod end;
mod source;

use std::{
    io::{BufRead, BufReader, Read},
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use super::{
    Context,
    args::LogsArgs,
    client::{Client, query},
    discovery::ObjectRef,
    error::{CliError, chain},
    ui::plain,
};
use end::EndNotice;
use source::{Source, sources};

/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;
/// Longest line that is kept together behind its prefix.
const MAX_LINE: u64 = 64 * 1024;
/// Lines that may wait for the terminal.
const LINES: usize = 256;

/// Runs the command.
///
/// # Errors
/// There is no such Pod or log, or the hub can't be reached.
pub fn run(context: &mut Context, args: &LogsArgs) -> Result<(), CliError> {
    let namespace = context.namespace(&args.namespace);
    let subject = subject(context, &args.words, &namespace)?;
    let sources = sources(context, args, &subject)?;
    match sources.as_slice() {
        [one] if args.prefix != Some(true) => show_one(context, args, one),
        several => show_several(context, args, several),
    }
}

/// `POD`, `KIND/NAME` or `KIND NAME`.
fn subject(context: &Context, words: &[String], namespace: &str) -> Result<ObjectRef, CliError> {
    let hub = context.discovery()?;
    match words {
        [name] if !name.contains('/') => Ok(ObjectRef::new(&hub.find("pods")?, namespace, name)),
        words => match context.objects(words, namespace, "logs")?.as_slice() {
            [object] => Ok(object.clone()),
            _ => Err(CliError::Usage("logs takes one pod or workload at a time".to_owned())),
        },
    }
}

fn target(source: &Source, args: &LogsArgs) -> String {
    let flag = |given: bool| if given { "true" } else { "" };
    let tail = args.tail.map(|tail| tail.to_string()).unwrap_or_default();
    let parameters = [
        ("container", source.container.as_str()),
        ("follow", flag(args.follow)),
        ("previous", flag(args.previous)),
        ("timestamps", flag(args.timestamps)),
        ("tailLines", tail.as_str()),
    ];
    format!("{}/log{}", source.pod.path(), query(&parameters))
}

fn open(
    client: &Client,
    source: &Source,
    args: &LogsArgs,
) -> Result<impl Read + Send + use<>, CliError> {
    client.stream(&target(source, args)).map_err(|error| match error.is_not_found() {
        true => source.pod.not_found(),
        false => error.into(),
    })
}

fn show_one(context: &mut Context, args: &LogsArgs, source: &Source) -> Result<(), CliError> {
    let mut log = open(&context.client, source, args)?;
    let mut chunk = vec![0; CHUNK];
    let mut end = EndNotice::default();
    loop {
        let read = log.read(&mut chunk).map_err(|error| {
            CliError::Failed(format!("the log of {} broke off: {error}", source.pod.label()))
        })?;
        if read == 0 {
            break;
        }
        let passed = end.pass(&chunk[..read]);
        context.ui.write(&passed)?;
    }
    match end.finish() {
        Ok(rest) => context.ui.write(&rest)?,
        Err(notice) => context.ui.note(&plain(&notice)),
    }
    Ok(())
}

/// What a reader thread found.
enum Part {
    Line(Vec<u8>),
    Ended(String),
    Failed(String),
}

fn show_several(
    context: &mut Context,
    args: &LogsArgs,
    sources: &[Source],
) -> Result<(), CliError> {
    let Context { client, ui, .. } = context;
    let client: &Client = client;
    thread::scope(|scope| {
        let (parts, received) = sync_channel(LINES);
        for source in sources {
            let parts = parts.clone();
            scope.spawn(move || read_lines(client, source, args, &parts));
        }
        drop(parts);
        let mut failed = 0;
        for part in received {
            match part {
                Part::Line(line) => ui.write(&line)?,
                Part::Ended(notice) => ui.note(&plain(&notice)),
                Part::Failed(cause) => {
                    failed += 1;
                    ui.error(&cause);
                }
            }
        }
        match failed {
            0 => Ok(()),
            _ => {
                Err(CliError::Told(format!("{failed} of {} logs could not be read", sources.len())))
            }
        }
    })
}

/// Sends a log line by line, until it ends or nobody listens.
fn read_lines(client: &Client, source: &Source, args: &LogsArgs, parts: &SyncSender<Part>) {
    let prefix = match args.prefix {
        Some(false) => String::new(),
        _ => format!("[{source}] "),
    };
    // What can't be sent has no reader: the terminal has gone.
    let failed = |cause: String| drop(parts.send(Part::Failed(format!("{source}: {cause}"))));
    let mut log = match open(client, source, args) {
        Ok(log) => BufReader::new(log),
        Err(error) => return failed(chain(&error)),
    };
    let mut held: Option<Vec<u8>> = None;
    loop {
        let mut line = Vec::new();
        let read = log.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        let before = held.take();
        if let Some(before) = before {
            let part = match (&read, end::notice(&before)) {
                (Ok(0), Some(notice)) => Part::Ended(format!("{source}: {notice}")),
                _ => Part::Line(prefixed(&prefix, before)),
            };
            if parts.send(part).is_err() {
                return;
            }
        }
        match read {
            Ok(0) => return,
            // Only the last line of all can be the hub's word about the end.
            Ok(_) if end::notice(&line).is_some() => held = Some(line),
            Ok(_) => {
                if parts.send(Part::Line(prefixed(&prefix, line))).is_err() {
                    return;
                }
            }
            Err(error) => return failed(format!("the log broke off: {error}")),
        }
    }
}

fn prefixed(prefix: &str, line: Vec<u8>) -> Vec<u8> {
    let mut whole = prefix.as_bytes().to_vec();
    whole.extend(line);
    if !whole.ends_with(b"\n") {
        whole.push(b'\n');
    }
    whole
}
