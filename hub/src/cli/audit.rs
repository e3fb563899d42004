//! `lichen audit`: who did or tried what, from a hub or from a directory; and whether that was altered.

use std::{
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use super::{
    Context,
    args::{AuditArgs, AuditOutput},
    client::{ClientError, query},
    error::CliError,
    table::Table,
    ui::{Tone, Ui, plain},
};
use crate::audit::{
    DIR, Entry, MAX_LINE_BYTES,
    filter::Filter,
    read::Reader,
    verify::{self, Report},
};

const PATH: &str = "/lichen/v1/audit";
/// Longest line of a hub's answer that is read: what one of its log may have.
const MAX_LINE: u64 = MAX_LINE_BYTES as u64;
/// Rows whose columns are lined up together.
const ROWS: usize = 500;
/// The columns, and how wide they are at least once rows have been shown.
const COLUMNS: [(&str, usize); 7] = [
    ("TIME", 24),
    ("ACTOR", 20),
    ("FROM", 21),
    ("VERB", 7),
    ("WHAT", 32),
    ("CODE", 4),
    ("NOTE", 0),
];

/// Runs the command.
///
/// # Errors
/// The hub or the directory can't be read; or a check has found something.
pub fn run(context: &mut Context, args: &AuditArgs) -> Result<(), CliError> {
    if args.verify {
        let report = match &args.dir {
            Some(dir) => check(dir)?,
            None => serde_json::from_value(context.client.get(&format!("{PATH}/verify"))?)
                .map_err(|error| {
                    CliError::Failed(format!("the hub's report can't be read: {error}"))
                })?,
        };
        return tell(&mut context.ui, args.output, &report);
    }
    let mut shown =
        Shown { output: args.output, follow: args.follow, rows: Vec::new(), began: false };
    match &args.dir {
        Some(dir) => from_dir(&mut context.ui, args, dir, &mut shown)?,
        None => from_hub(context, args, &mut shown)?,
    }
    shown.flush(&mut context.ui)?;
    if !shown.began && args.output == AuditOutput::Table {
        context.ui.note("there is nothing of the kind in the audit log");
    }
    Ok(())
}

fn from_hub(context: &mut Context, args: &AuditArgs, shown: &mut Shown) -> Result<(), CliError> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let flag = |given: bool| if given { "true" } else { "" };
    let moment = |moment: Option<_>| {
        moment.map_or(String::new(), |moment: super::args::Moment| moment.to_string())
    };
    let target = PATH.to_owned()
        + &query(&[
            ("since", &moment(args.since)),
            ("until", &moment(args.until)),
            ("actor", &text(&args.user)),
            ("node", &text(&args.node)),
            ("verb", &text(&args.verb)),
            ("resource", &text(&args.resource)),
            ("namespace", &text(&args.namespace)),
            ("refused", flag(args.refused)),
            ("follow", flag(args.follow)),
        ]);
    let mut lines = BufReader::new(context.client.stream(&target)?);
    let broken = |cause: String| ClientError::Broken { url: PATH.to_owned(), cause };
    loop {
        let mut line = Vec::new();
        let read = (&mut lines).take(MAX_LINE).read_until(b'\n', &mut line);
        read.map_err(|error| broken(error.to_string()))?;
        match line.pop() {
            None => return Ok(()),
            Some(b'\n') => {}
            Some(_) => return Err(broken("it ends within an entry".to_owned()).into()),
        }
        if let Some(error) = error_of(&line) {
            shown.flush(&mut context.ui)?;
            return Err(CliError::Failed(plain(&error)));
        }
        shown.line(&mut context.ui, &line)?;
    }
}

/// What the hub says in place of an entry, if it could not read on.
fn error_of(line: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(line).ok()?;
    Some(value.get("error")?.as_str()?.to_owned())
}

fn from_dir(ui: &mut Ui, args: &AuditArgs, dir: &Path, shown: &mut Shown) -> Result<(), CliError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let filter = Filter {
        since_ms: args.since.map(|moment| moment.unix_ms(now_ms)),
        until_ms: args.until.map(|moment| moment.unix_ms(now_ms)),
        actor: args.user.clone(),
        node: args.node.clone(),
        verb: args.verb.clone(),
        resource: args.resource.clone(),
        namespace: args.namespace.clone(),
        refused: args.refused,
    };
    let mut reader = Reader::new(&log_in(dir)?, filter);
    loop {
        let batch = reader.look().map_err(unreadable(dir))?;
        for line in batch.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            shown.line(ui, line)?;
        }
        if batch.at_end {
            return Ok(());
        }
    }
}

fn check(dir: &Path) -> Result<Report, CliError> {
    verify::verify(&log_in(dir)?).map_err(unreadable(dir))
}

/// The log in a directory, which may be a hub's state.
fn log_in(dir: &Path) -> Result<PathBuf, CliError> {
    // What is kept apart from the lines is looked for beside the directory.
    let dir = std::path::absolute(dir).map_err(unreadable(dir))?;
    let below = dir.join(DIR);
    Ok(if below.is_dir() { below } else { dir })
}

fn unreadable(dir: &Path) -> impl FnOnce(io::Error) -> CliError {
    let path = dir.to_owned();
    move |source| CliError::File { path, source }
}

/// Shows entries as they come.
struct Shown {
    output: AuditOutput,
    follow: bool,
    rows: Vec<Entry>,
    began: bool,
}

impl Shown {
    fn line(&mut self, ui: &mut Ui, line: &[u8]) -> Result<(), CliError> {
        // Texts in JSON have no control characters.
        if self.output == AuditOutput::Json {
            return Ok(ui.line(&String::from_utf8_lossy(line))?);
        }
        let Ok(entry) = serde_json::from_slice(line) else { return Ok(()) };
        self.rows.push(entry);
        if self.follow || self.rows.len() >= ROWS {
            self.flush(ui)?;
        }
        Ok(())
    }

    fn flush(&mut self, ui: &mut Ui) -> Result<(), CliError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let headings = COLUMNS.map(|(heading, _)| heading);
        let mut table = Table::new(&headings);
        for entry in self.rows.drain(..) {
            let code = if entry.code == 0 { String::new() } else { entry.code.to_string() };
            let tone = if entry.is_refused() { Tone::Bad } else { Tone::Plain };
            table.add(vec![
                entry.time.as_str().into(),
                entry.actor.as_str().into(),
                entry.from.as_str().into(),
                entry.verb.as_str().into(),
                what(&entry).into(),
                super::table::Cell::toned(&code, tone),
                entry.note.as_str().into(),
            ]);
        }
        if self.follow || self.began {
            for (heading, width) in COLUMNS {
                table = table.at_least(heading, width);
            }
        }
        let lines = if self.began { table.rows(ui) } else { table.lines(ui) };
        self.began = true;
        lines.iter().try_for_each(|line| ui.line(line))?;
        Ok(())
    }
}

/// `deployments.apps shop/web`, or a path.
fn what(entry: &Entry) -> String {
    if entry.resource.is_empty() {
        return entry.path.clone();
    }
    let mut text = entry.resource.clone();
    for (before, part) in [(".", &entry.group), (" ", &entry.namespace)] {
        if !part.is_empty() {
            text = format!("{text}{before}{part}");
        }
    }
    match (entry.namespace.is_empty(), entry.name.is_empty()) {
        (_, true) => text,
        (true, false) => format!("{text} {}", entry.name),
        (false, false) => format!("{text}/{}", entry.name),
    }
}

/// Says what a check has found.
fn tell(ui: &mut Ui, output: AuditOutput, report: &Report) -> Result<(), CliError> {
    let Report { files, entries, oldest, newest, newest_hash, has_head, faults, more_faults } =
        report;
    if output == AuditOutput::Json {
        let text = serde_json::to_string_pretty(report).unwrap_or_default();
        ui.line(&text)?;
    } else {
        for fault in faults {
            let place = format!("{} line {}", plain(&fault.file), fault.line);
            ui.line(&format!("{place}: {}: {}", fault.kind, plain(&fault.message)))?;
        }
    }
    let all = faults.len() as u64 + more_faults;
    if all > 0 {
        let places = if all == 1 { "1 place".to_owned() } else { format!("{all} places") };
        return Err(CliError::Failed(format!(
            "the audit log is not as it was written, in {places}"
        )));
    }
    if output == AuditOutput::Json {
        return Ok(());
    }
    if *entries == 0 {
        return Ok(ui.line("the audit log has no entries yet")?);
    }
    let files = if *files == 1 { "1 file".to_owned() } else { format!("{files} files") };
    ui.line(&format!("entries {oldest} to {newest}, in {files}, are as they were written"))?;
    if *oldest > 1 {
        ui.line(&format!(
            "entries 1 to {} are older than the log keeps them, and have been deleted by the hub",
            oldest - 1
        ))?;
    }
    ui.line(&format!("entry {newest} has the hash {}", plain(newest_hash)))?;
    if !has_head {
        ui.warn(&format!(
            "there is no {} beside the directory: whether entries were taken away at its end, or its oldest files, can't be told",
            crate::audit::head::FILE
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_named_as_operators_name_it() {
        let check = |resource: &str, group: &str, namespace: &str, name: &str, expected: &str| {
            let [resource, group, namespace, name] =
                [resource, group, namespace, name].map(str::to_owned);
            let path = "/metrics".to_owned();
            let entry = Entry { resource, group, namespace, name, path, ..Entry::default() };
            assert_eq!(what(&entry), expected);
        };
        check("deployments", "apps", "shop", "web", "deployments.apps shop/web");
        check("deployments/scale", "apps", "shop", "web", "deployments/scale.apps shop/web");
        check("pods", "", "shop", "", "pods shop");
        check("nodes", "", "", "pi", "nodes pi");
        check("", "", "", "", "/metrics");
    }
}
