//! `lichen logs`: what a Pod prints, or all Pods of a workload, each line then with its Pod in front.

use std::{
    io::{BufRead, BufReader, Read},
    sync::mpsc::{SyncSender, sync_channel},
    thread,
};

use lichen_hub_core::api::{Key, Kind};

use super::{
    Context,
    args::LogsArgs,
    client::{Client, path_of, query},
    delete::owned_by,
    error::{CliError, chain},
    kinds::{self, DEFAULT_NAMESPACE},
};

/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;
/// Longest line that is kept together behind its prefix.
const MAX_LINE: u64 = 64 * 1024;
/// Pods whose logs are shown at once.
const MAX_PODS: usize = 64;
/// Lines that may wait for the terminal.
const LINES: usize = 256;

/// Runs the command.
///
/// # Errors
/// There is no such Pod or log, or the hub can't be reached.
pub fn run(context: &mut Context, args: &LogsArgs) -> Result<(), CliError> {
    let namespace = args.namespace.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let key = subject(&args.words, namespace)?;
    match key.kind {
        Kind::Pod => show_one(context, args, &key),
        _ => {
            let pods = pods_of(context, &key)?;
            match pods.as_slice() {
                [pod] => show_one(context, args, pod),
                pods => show_several(context, args, pods),
            }
        }
    }
}

/// `POD`, `KIND/NAME` or `KIND NAME`.
fn subject(words: &[String], namespace: &str) -> Result<Key, CliError> {
    let key = match words {
        [name] if !name.contains('/') => Key::new(Kind::Pod, namespace, name),
        words => match kinds::objects(words, namespace, "logs")?.as_slice() {
            [key] => key.clone(),
            _ => {
                return Err(CliError::Usage("logs takes one pod or workload at a time".to_owned()));
            }
        },
    };
    match key.kind {
        Kind::Pod | Kind::Deployment | Kind::DaemonSet => Ok(key),
        kind => Err(CliError::Usage(format!(
            "a {} has no log; name a pod, deployment/NAME or daemonset/NAME",
            kinds::singular(kind)
        ))),
    }
}

fn pods_of(context: &mut Context, key: &Key) -> Result<Vec<Key>, CliError> {
    context.must_read(key)?;
    let pods = context.client.list(Kind::Pod, Some(&key.namespace), None)?.items;
    let owned = pods.iter().filter(|pod| owned_by(pod, key));
    let names = owned.filter_map(|pod| pod["metadata"]["name"].as_str());
    let mut keys: Vec<Key> = names.map(|name| Key::new(Kind::Pod, &key.namespace, name)).collect();
    if keys.is_empty() {
        return Err(CliError::Failed(format!(
            "{label} has no pods yet; see why with: lichen explain {label}",
            label = kinds::label(key)
        )));
    }
    if keys.len() > MAX_PODS {
        context.ui.warn(&format!(
            "{} has {} pods; the first {MAX_PODS} are shown",
            key,
            keys.len()
        ));
        keys.truncate(MAX_PODS);
    }
    Ok(keys)
}

fn target(key: &Key, args: &LogsArgs) -> String {
    let flag = |given: bool| if given { "true" } else { "" };
    let tail = args.tail.map(|tail| tail.to_string()).unwrap_or_default();
    let parameters = [
        ("follow", flag(args.follow)),
        ("previous", flag(args.previous)),
        ("timestamps", flag(args.timestamps)),
        ("tailLines", tail.as_str()),
    ];
    format!("{}/log{}", path_of(key), query(&parameters))
}

fn open(client: &Client, key: &Key, args: &LogsArgs) -> Result<impl Read + Send + use<>, CliError> {
    client.stream(&target(key, args)).map_err(|error| match error.is_not_found() {
        true => kinds::not_found(key),
        false => error.into(),
    })
}

fn show_one(context: &mut Context, args: &LogsArgs, key: &Key) -> Result<(), CliError> {
    let mut log = open(&context.client, key, args)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = log.read(&mut chunk).map_err(|error| {
            CliError::Failed(format!("the log of {} broke off: {error}", kinds::label(key)))
        })?;
        if read == 0 {
            return Ok(());
        }
        context.ui.write(&chunk[..read])?;
    }
}

/// What a reader thread found.
enum Part {
    Line(Vec<u8>),
    Failed(String),
}

fn show_several(context: &mut Context, args: &LogsArgs, pods: &[Key]) -> Result<(), CliError> {
    let Context { client, ui } = context;
    let client: &Client = client;
    thread::scope(|scope| {
        let (parts, received) = sync_channel(LINES);
        for pod in pods {
            let parts = parts.clone();
            scope.spawn(move || read_lines(client, pod, args, &parts));
        }
        drop(parts);
        let mut failed = 0;
        for part in received {
            match part {
                Part::Line(line) => ui.write(&line)?,
                Part::Failed(cause) => {
                    failed += 1;
                    ui.error(&cause);
                }
            }
        }
        match failed {
            0 => Ok(()),
            _ => Err(CliError::Told(format!("{failed} of {} logs could not be read", pods.len()))),
        }
    })
}

/// Sends a log line by line, until it ends or nobody listens.
fn read_lines(client: &Client, pod: &Key, args: &LogsArgs, parts: &SyncSender<Part>) {
    let mut log = match open(client, pod, args) {
        Ok(log) => BufReader::new(log),
        Err(error) => {
            let _nobody_listens =
                parts.send(Part::Failed(format!("{}: {}", pod.name, chain(&error))));
            return;
        }
    };
    loop {
        let mut line = format!("[{}] ", pod.name).into_bytes();
        match log.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => {
                if !line.ends_with(b"\n") {
                    line.push(b'\n');
                }
                if parts.send(Part::Line(line)).is_err() {
                    return;
                }
            }
            Err(error) => {
                let cause = format!("{}: the log broke off: {error}", pod.name);
                let _nobody_listens = parts.send(Part::Failed(cause));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let shown = match subject(&words, "shop") {
            Ok(key) => key.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn a_bare_word_is_a_pod() {
        check("web-1", "Pod shop/web-1");
        check("pod/web-1", "Pod shop/web-1");
        check("deploy/web", "Deployment shop/web");
        check("daemonset web", "DaemonSet shop/web");
        check("node/pi", "a node has no log; name a pod, deployment/NAME or daemonset/NAME");
        check("po/a po/b", "logs takes one pod or workload at a time");
    }
}
