//! `make fleet`: starts a hub and a hollow fleet, measures, and prints a table. It fails if a result is not as it should
//! be, never because something is slow.

#![forbid(unsafe_code)]

use std::{fs, process::ExitCode, time::Duration};

use lexopt::{Arg, Parser, ValueExt};
use lichen_fleet::{
    plan::Plan,
    report::{Figure, Table},
    scenario::{ALL, Run, Scenario},
    site::Site,
};
use lichen_tests::{bench::figures, programs::repository};

const HELP: &str = "\
Measures a hub with a fleet of hollow devices, and prints a table.

Usage: lichen-fleet [options]

  --devices N        hollow devices (default: 1000)
  --run NAME,NAME    only these scenarios, of those below
  --mosquitto        devices connect to a Mosquitto beside the hub
  --watchers N       watches in the scenario of that name (default: 100)
  --idle SECONDS     how long an idle hub is measured (default: 60)
  --deadline SECONDS how long any step may take (default: 300)
  --save             put the figures into tests/bench/README.md

Scenarios:
";

/// The table in the file begins and ends here.
const MARKS: [&str; 2] = ["<!-- fleet -->\n", "<!-- end of fleet -->\n"];

const OF_DEVICES: &str = "frames of devices that the hub dropped, in all scenarios";
const TO_DEVICES: &str = "frames to devices that were dropped, in all scenarios, with those for connections that were cut";

struct Request {
    plan: Plan,
    scenarios: Vec<Scenario>,
    save: bool,
}

fn main() -> ExitCode {
    let request = match parse() {
        Ok(Some(request)) => request,
        Ok(None) => {
            print!("{HELP}");
            ALL.iter().for_each(|scenario| println!("  {:<12} {}", scenario.name, scenario.about));
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(&format!("{error}; see --help")),
    };
    match run(&request) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failures) => fail(&format!("{failures} scenarios did not end as they should")),
        Err(error) => fail(&error),
    }
}

fn fail(text: &str) -> ExitCode {
    eprintln!("fleet: {text}");
    ExitCode::FAILURE
}

fn parse() -> Result<Option<Request>, lexopt::Error> {
    let (mut plan, mut devices, mut save) = (Plan::of(1), 1_000, false);
    let mut scenarios = ALL.to_vec();
    let mut parser = Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long("devices") => devices = parser.value()?.parse()?,
            Arg::Long("run") => scenarios = chosen(&parser.value()?.string()?)?,
            Arg::Long("mosquitto") => plan.mosquitto = true,
            Arg::Long("watchers") => plan.watchers = parser.value()?.parse()?,
            Arg::Long("idle") => plan.idle = Duration::from_secs(parser.value()?.parse()?),
            Arg::Long("deadline") => plan.deadline = Duration::from_secs(parser.value()?.parse()?),
            Arg::Long("save") => save = true,
            other => return Err(other.unexpected()),
        }
    }
    if devices == 0 {
        return Err("a fleet has at least one device".into());
    }
    let Plan { devices, crashes, .. } = Plan::of(devices);
    Ok(Some(Request { plan: Plan { devices, crashes, ..plan }, scenarios, save }))
}

fn chosen(names: &str) -> Result<Vec<Scenario>, lexopt::Error> {
    let find = |name: &str| {
        let found = ALL.iter().find(|scenario| scenario.name == name);
        found.copied().ok_or_else(|| lexopt::Error::from(format!("there is no scenario {name:?}")))
    };
    names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(find).collect()
}

/// Runs what is asked for. Returns how many scenarios failed.
fn run(request: &Request) -> Result<usize, String> {
    let plan = &request.plan;
    let needs_site = request.scenarios.iter().any(|it| matches!(it.run, Run::Site(_)));
    let mut site = needs_site.then(|| Site::open(plan.clone())).transpose()?;
    let mut figures = Vec::new();
    let (mut failures, mut dropped) = (0, None);
    for scenario in &request.scenarios {
        eprintln!("{}: {}", scenario.name, scenario.about);
        let outcome = match (scenario.run, site.as_mut()) {
            (Run::Alone(run), _) => run(plan),
            (Run::Site(run), Some(site)) => {
                if scenario.name != "connect" {
                    site.connect()?;
                }
                let outcome = run(site);
                dropped = Some(site.dropped());
                outcome
            }
            (Run::Site(_), None) => Err("there is no site".to_owned()),
        };
        match outcome {
            Ok(measured) => {
                measured.iter().for_each(tell);
                figures.extend(measured);
            }
            Err(error) => {
                eprintln!("  failed: {error}");
                failures += 1;
                if let Some(site) = &site {
                    site.reset()?;
                }
            }
        }
    }
    drop(site);
    if let Some([received, sent]) = dropped {
        let of = Figure::new(OF_DEVICES, received.to_string(), "0");
        let to = Figure::new(TO_DEVICES, sent.to_string(), "");
        for figure in [of, to] {
            tell(&figure);
            figures.push(figure);
        }
    }
    publish(request, &figures)?;
    Ok(failures)
}

fn tell(figure: &Figure) {
    let Figure { what, value, goal } = figure;
    let goal = if goal.is_empty() { String::new() } else { format!("   (goal at 10,000: {goal})") };
    eprintln!("  {what}: {value}{goal}");
}

/// Prints the table, and keeps it in the page if that is wanted.
fn publish(request: &Request, figures: &[Figure]) -> Result<(), String> {
    let mut table = Table::default();
    table.add(request.plan.devices, figures);
    print!("{}\n\n{}", figures::machine(), table.print());
    if !request.save {
        return Ok(());
    }
    let path = repository("tests/bench/README.md");
    let failed = |error: std::io::Error| format!("could not save the table: {error}");
    let page = fs::read_to_string(&path).map_err(failed)?;
    let (before, rest) = page.split_once(MARKS[0]).ok_or("the page has no mark for the table")?;
    let (old, after) = rest.split_once(MARKS[1]).ok_or("the page has no end mark for the table")?;
    let mut table = Table::read(old);
    table.add(request.plan.devices, figures);
    let text = format!("{}\n\n{}", figures::machine(), table.print());
    fs::write(&path, format!("{before}{}{text}{}{after}", MARKS[0], MARKS[1])).map_err(failed)
}
