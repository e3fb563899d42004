//! `make bench`: measures the release build and prints a table. It never fails because something is slow.

#![forbid(unsafe_code)]

use std::{fs, process::ExitCode, time::Duration};

use lexopt::{Arg, Parser, ValueExt};
use lichen_tests::{
    agent,
    bench::{
        Plan,
        figures::{Row, machine, table},
        idle, latency, many, start, tls, traffic,
    },
    process,
    programs::repository,
};

const HELP: &str = "\
Measures the programs beside this one, and prints a table.

Usage: bench [options]

  --only NAME       start, latency, many, tls or idle
  --rounds N        workloads that are applied, one after another (default: 100)
  --updates N       workloads that are changed, one after another (default: 20)
  --pause MILLIS    between two of these (default: 1000)
  --starts N        starts of the hub (default: 20)
  --boots N         power cuts of a device (default: 10)
  --devices N       devices of the idle installation (default: 10)
  --settle SECONDS  how long it settles (default: 30)
  --idle SECONDS    how long it is measured (default: 180)
  --save            put the table into tests/bench/README.md
";

/// The table in the file begins and ends here.
const MARKS: [&str; 2] = ["<!-- figures -->\n", "<!-- end of figures -->\n"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, rest @ ..] = arguments.as_slice()
        && word == traffic::FORWARD
    {
        return match traffic::forward(rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("could not forward: {error}")),
        };
    }
    match parse() {
        Ok(Some(request)) => run(&request),
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format!("{error}; see bench --help")),
    }
}

fn fail(text: &str) -> ExitCode {
    eprintln!("bench: {text}");
    ExitCode::FAILURE
}

struct Request {
    plan: Plan,
    only: Option<String>,
    save: bool,
}

fn parse() -> Result<Option<Request>, lexopt::Error> {
    let mut request = Request { plan: Plan::default(), only: None, save: false };
    let plan = &mut request.plan;
    let mut parser = Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long("only") => request.only = Some(parser.value()?.string()?),
            Arg::Long("rounds") => plan.rounds = parser.value()?.parse()?,
            Arg::Long("updates") => plan.updates = parser.value()?.parse()?,
            Arg::Long("pause") => plan.pause = Duration::from_millis(parser.value()?.parse()?),
            Arg::Long("starts") => plan.starts = parser.value()?.parse()?,
            Arg::Long("boots") => plan.boots = parser.value()?.parse()?,
            Arg::Long("devices") => plan.devices = parser.value()?.parse()?,
            Arg::Long("settle") => plan.settle = Duration::from_secs(parser.value()?.parse()?),
            Arg::Long("idle") => plan.idle = Duration::from_secs(parser.value()?.parse()?),
            Arg::Long("save") => request.save = true,
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(request))
}

fn run(request: &Request) -> ExitCode {
    end_everything_on_panic();
    let mut rows = Vec::new();
    let wanted = |name: &str| request.only.as_deref().is_none_or(|only| only == name);
    let mut part = |name: &str, measure: &dyn Fn() -> Vec<Row>| {
        if wanted(name) {
            eprintln!("measuring: {name}");
            let measured = measure();
            eprint!("{}", table(&measured));
            rows.extend(measured);
        }
    };
    part("start", &start::sizes);
    part("start", &|| start::hub_start(&request.plan));
    part("latency", &|| latency::all(&request.plan));
    part("many", &|| many::all(&request.plan));
    part("tls", &tls::all);
    part("idle", &|| idle::all(&request.plan));
    let text = format!("{}\n\n{}", machine(), table(&rows));
    print!("{text}");
    match request.save.then(|| save(&text)) {
        Some(Err(error)) => fail(&error),
        _ => ExitCode::SUCCESS,
    }
}

/// A release build aborts on a panic, and so drops no guard.
fn end_everything_on_panic() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        process::kill_all();
        agent::kill_all_devices();
    }));
}

fn save(text: &str) -> Result<(), String> {
    let path = repository("tests/bench/README.md");
    let failed = |error: std::io::Error| format!("could not save the table: {error}");
    let page = fs::read_to_string(&path).map_err(failed)?;
    let (before, rest) = page.split_once(MARKS[0]).ok_or("the page has no mark for the table")?;
    let (_, after) = rest.split_once(MARKS[1]).ok_or("the page has no end mark for the table")?;
    fs::write(&path, format!("{before}{}{text}{}{after}", MARKS[0], MARKS[1])).map_err(failed)
}
