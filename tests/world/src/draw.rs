//! Drawing a history at random. One table says what can happen and how often.

use fastrand::Rng;

use crate::{forger::WAYS, step::Step};

/// How large a history is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Boards at the beginning. `None`: one to five.
    pub boards: Option<u64>,
    /// At least so much virtual time passes. `None`: as the steps have it.
    pub hours: Option<u64>,
}

/// A history: where it happens, and its steps.
#[derive(Clone, Debug)]
pub struct History {
    /// Of the world around the steps.
    pub seed: u64,
    /// The broker is a process of its own.
    pub external: bool,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

type Draw = fn(&mut Rng) -> String;

/// Everything that can happen: weight, and how its line is drawn.
const WEIGHTS: &[(u32, Draw)] = &[
    // Time.
    (60, |r| format!("pass {}ms", r.u64(1..3000))),
    (40, |r| format!("pass {}s", r.u64(1..90))),
    (12, |r| format!("pass {}m", r.u64(1..30))),
    (3, |r| format!("pass {}h", r.u64(1..12))),
    (1, |r| format!("pass {}d", r.u64(1..8))),
    // Operators.
    (14, deployment),
    (9, daemonset),
    (8, |r| format!("scale {} {}", workload(r), r.u64(0..5))),
    (4, |r| format!("undo deployment {}", workload(r))),
    (3, |r| format!("undo daemonset {}", set(r))),
    (4, |r| format!("delete deployment {}", workload(r))),
    (3, |r| format!("delete daemonset {}", set(r))),
    (3, |_| "delete pod".into()),
    (5, |r| format!("config settings version={}", r.u64(1..9))),
    (1, |_| "delete config settings".into()),
    (3, |r| format!("push {}", image(r))),
    (1, |r| format!("forget {}", image(r))),
    (4, |r| format!("label {} zone={}", board(r), zone(r))),
    (2, |r| format!("unlabel {}", board(r))),
    (3, |r| format!("taint {} {}", board(r), r.choice(["NoSchedule", "NoExecute"]).unwrap_or(""))),
    (3, |r| format!("untaint {}", board(r))),
    (2, |r| format!("cordon {}", board(r))),
    (2, |r| format!("uncordon {}", board(r))),
    (2, new_board),
    (1, |r| format!("retire {}", board(r))),
    (2, |r| format!("resume {}", board(r))),
    // Network and broker.
    (5, |r| {
        format!(
            "weather loss={} duplication={} delay={}",
            r.u64(0..25),
            r.u64(0..20),
            r.u64(0..2000)
        )
    }),
    (5, |_| "weather".into()),
    (6, |r| format!("cut {}", board(r))),
    (7, |r| format!("plug {}", board(r))),
    (5, |r| format!("close {}", board(r))),
    (2, |_| "broker restart".into()),
    (2, |_| "broker restart wipe".into()),
    (1, |_| "broker down".into()),
    (2, |_| "broker up".into()),
    // The hub.
    (4, |_| "hub kill".into()),
    (6, |_| "hub start".into()),
    (5, |r| format!("hub crash {}", r.choice(["before", "after", "midway"]).unwrap_or("after"))),
    (1, |_| "hub disk-full".into()),
    (2, |_| "hub disk-free".into()),
    (4, |_| "hub backup".into()),
    (2, |_| "hub restore".into()),
    (1, |_| "hub upgrade-and-back".into()),
    (1, |_| "hub newer-fields".into()),
    (1, |r| format!("hub clock {}", r.i64(-40_000_000_000..40_000_000_000))),
    (1, |r| {
        format!("second-hub {}", r.choice(["fresh", "copy", "stop", "stop"]).unwrap_or("stop"))
    }),
    // Boards.
    (5, |r| format!("power-off {}", board(r))),
    (8, |r| format!("power-on {}", board(r))),
    (6, |r| format!("kill-agent {}", board(r))),
    (2, |r| format!("upgrade {} 0.{}.0", board(r), r.u64(1..9))),
    (1, |r| format!("drain {}", board(r))),
    (2, |r| format!("start-agent {}", board(r))),
    (3, |r| format!("kill-shim {}", board(r))),
    (4, |r| format!("kill-process {}", board(r))),
    (4, die_in_save),
    (2, |r| format!("disk-full {}", board(r))),
    (3, |r| format!("disk-free {}", board(r))),
    (1, |r| {
        format!(
            "rot {} {}",
            board(r),
            r.choice(["assignment", "previous", "artefact"]).unwrap_or("")
        )
    }),
    (2, |r| format!("clock {} 1970", board(r))),
    (1, |r| format!("clock {} {}", board(r), r.i64(-9_000_000_000..9_000_000_000))),
    (1, |r| format!("drift {} {}", board(r), r.i64(-500..500))),
    (2, |r| {
        format!("runtime {} {}", board(r), r.choice(["broken", "lies", "works"]).unwrap_or(""))
    }),
    (3, |r| format!("runtime {} works", board(r))),
    (3, |r| {
        format!(
            "transfer {} {}",
            board(r),
            r.choice(["slow", "cut-off", "corrupted"]).unwrap_or("")
        )
    }),
    (4, |r| format!("transfer {} good", board(r))),
    (1, |r| format!("clone {} {}", board(r), r.choice(["other-id", ""]).unwrap_or(""))),
    (2, |r| format!("unclone {}", board(r))),
    (1, |r| format!("replace {}", board(r))),
];

/// Names that steps of one history share.
fn workload(rng: &mut Rng) -> &'static str {
    rng.choice(["web", "api", "cam"]).unwrap_or("web")
}

fn set(rng: &mut Rng) -> &'static str {
    rng.choice(["probe", "logger"]).unwrap_or("probe")
}

fn zone(rng: &mut Rng) -> &'static str {
    rng.choice(["north", "south"]).unwrap_or("north")
}

fn board(rng: &mut Rng) -> &'static str {
    rng.choice(["a", "b", "c", "d", "e"]).unwrap_or("a")
}

fn image(rng: &mut Rng) -> &'static str {
    const IMAGES: [&str; 12] = [
        "steady:1",
        "steady:1",
        "steady:2",
        "steady:2",
        "steady:3",
        "stubborn:1",
        "slow:1",
        "flaky:1",
        "crashy:1",
        "hungry:1",
        "broken:1",
        "missing:1",
    ];
    rng.choice(IMAGES).unwrap_or("steady:1")
}

fn settings(rng: &mut Rng) -> String {
    let mut line = format!("image={} version={}", image(rng), rng.u64(1..4));
    if rng.u8(0..3) == 0 {
        line.push_str(" wasm");
    }
    if rng.u8(0..4) == 0 {
        line.push_str(&format!(" zone={}", zone(rng)));
    }
    if rng.u8(0..3) == 0 {
        line.push_str(" config=settings");
    }
    if rng.u8(0..4) == 0 {
        line.push_str(" tolerates");
    }
    if rng.u8(0..5) == 0 {
        line.push_str(&format!(" memory={}", rng.u64(100..600)));
    }
    // Dice of their own, so that all else in a seed's history is the same with them and without.
    let seed =
        line.bytes().fold(rng.clone().u64(..), |sum, byte| sum.rotate_left(5) ^ u64::from(byte));
    let mut own = Rng::with_seed(seed);
    if own.u8(0..4) == 0 {
        line.push_str(" init");
    }
    if own.u8(0..4) == 0 {
        line.push_str(&format!(" beside={}", image(&mut own)));
    }
    line
}

fn deployment(rng: &mut Rng) -> String {
    format!("deployment {} replicas={} {}", workload(rng), rng.u64(0..5), settings(rng))
}

fn daemonset(rng: &mut Rng) -> String {
    format!("daemonset {} {}", set(rng), settings(rng))
}

fn new_board(rng: &mut Rng) -> String {
    let name = board(rng);
    board_line(rng, name)
}

fn board_line(rng: &mut Rng, name: &str) -> String {
    let mut line = format!("board {name}");
    for (of, word) in [
        (4, " arch=arm64"),
        (6, " no-wasm"),
        (3, " rtc=no"),
        (12, " protocol=2"),
        (10, " firmware"),
    ] {
        if rng.u8(0..of) == 0 {
            line.push_str(word);
        }
    }
    if rng.bool() {
        line.push_str(&format!(" zone={}", zone(rng)));
    }
    line
}

fn die_in_save(rng: &mut Rng) -> String {
    let power = if rng.bool() { " power" } else { "" };
    format!("die-in-save {} steps={}{power}", board(rng), rng.u64(0..6))
}

/// What tries the hub's signatures: a hostile broker, other keys, clocks that are a lifetime off; and logs, which are read by
/// commands.
fn trial(rng: &mut Rng) -> String {
    match rng.u8(0..20) {
        0..=9 => format!("forge {} {}", board(rng), rng.choice(WAYS).unwrap_or("replayed")),
        10..=13 => "logs".into(),
        14 | 15 => "hub new-key".into(),
        16 => "hub drop-key".into(),
        17 => format!("hub clock {}", year(rng)),
        _ => format!("clock {} {}", board(rng), year(rng)),
    }
}

fn year(rng: &mut Rng) -> &'static str {
    rng.choice(["1970", "2100", "right"]).unwrap_or("right")
}

/// The history of a seed.
#[must_use]
pub fn history(seed: u64, size: Size) -> History {
    let mut rng = Rng::with_seed(seed);
    let mut lines = Vec::new();
    let names = ["a", "b", "c", "d", "e"];
    let boards = size.boards.unwrap_or_else(|| rng.u64(1..=5));
    for index in 0..boards {
        let name = names
            .get(usize::try_from(index).unwrap_or(0))
            .map_or_else(|| format!("n{index}"), |name| (*name).to_owned());
        lines.push(board_line(&mut rng, &name));
    }
    for image in [
        "steady:1",
        "steady:2",
        "steady:3",
        "stubborn:1",
        "slow:1",
        "flaky:1",
        "crashy:1",
        "hungry:1",
        "broken:1",
        "brief:1",
    ] {
        lines.push(format!("push {image}"));
    }
    lines.push("config settings version=1".into());
    lines.push("pass 5s".into());
    let total: u32 = WEIGHTS.iter().map(|(weight, _)| weight).sum();
    for _ in 0..rng.u64(10..80) {
        let mut at = rng.u32(0..total);
        for (weight, draw) in WEIGHTS {
            if at < *weight {
                lines.push(draw(&mut rng));
                break;
            }
            at -= weight;
        }
    }
    if let Some(hours) = size.hours {
        let each = hours * 3600 / lines.len().max(1) as u64;
        lines = lines.into_iter().flat_map(|line| [line, format!("pass {each}s")]).collect();
    }
    let external = rng.bool();
    let mut steps: Vec<Step> =
        lines.iter().map(|line| Step::new(line, rng.u64(..) >> 32)).collect();
    // Dice of their own, so that all else in a seed's history is the same with them and without.
    let mut own = Rng::with_seed(seed ^ 0x0f0e_0d0c_0b0a);
    if own.bool() {
        for _ in 0..own.u64(1..30) {
            let at = own.usize(usize::try_from(boards).unwrap_or(0)..=steps.len());
            steps.insert(at, Step::new(&trial(&mut own), own.u64(..) >> 32));
        }
    }
    if own.u8(0..3) == 0 {
        add_secrets(&mut steps, &mut own, usize::try_from(boards).unwrap_or(0));
    }
    let boards = usize::try_from(boards).unwrap_or(0);
    if own.u8(0..4) == 0 {
        add_group(&mut steps, &mut own, boards, rotation);
    }
    if own.u8(0..4) == 0 {
        add_group(&mut steps, &mut own, boards, copied_card);
    }
    // Dice of their own again.
    let mut of_jobs = Rng::with_seed(seed ^ 0x10b5);
    if of_jobs.u8(0..3) == 0 {
        add_jobs(&mut steps, &mut of_jobs, boards);
    }
    let mut of_sets = Rng::with_seed(seed ^ 0x005e_75e7);
    if of_sets.u8(0..3) == 0 {
        for _ in 0..of_sets.u64(1..4) {
            add_group(&mut steps, &mut of_sets, boards, stateful_set);
        }
    }
    if own.u8(0..2) == 0 && !external {
        for _ in 0..own.u64(1..5) {
            add_group(&mut steps, &mut own, boards, membership);
        }
        let lifetime = own.choice([72, 120, 240]).unwrap_or(24);
        let grace = own.choice([24, 72, 240]).unwrap_or(24);
        let line = format!("certificates lifetime={lifetime} grace={grace}");
        steps.insert(0, Step::new(&line, own.u64(..) >> 32));
    }
    History { seed, external, steps }
}

/// A StatefulSet that grows, shrinks, gets a new version, or goes and comes back to its claims.
fn stateful_set(rng: &mut Rng) -> Vec<String> {
    let set =
        |rng: &mut Rng| format!("set db replicas={} version={}", rng.u64(0..4), rng.u64(1..3));
    let mut lines = vec![set(rng)];
    for _ in 0..rng.u64(1..4) {
        lines.push(format!("pass {}s", rng.u64(1..120)));
        lines.push(match rng.u8(0..5) {
            0 => "delete set db".into(),
            1 => format!("delete claim data-db-{}", rng.u64(0..3)),
            _ => set(rng),
        });
    }
    lines
}

/// Steps that belong together, in their order, with what else happens between them.
fn add_group(
    steps: &mut Vec<Step>,
    rng: &mut Rng,
    boards: usize,
    draw: fn(&mut Rng) -> Vec<String>,
) {
    let mut at = rng.usize(boards..=steps.len());
    for line in draw(rng) {
        at = (at + rng.usize(0..4)).min(steps.len());
        steps.insert(at, Step::new(&line, rng.u64(..) >> 32));
        at += 1;
    }
}

/// The hub changes its signing key: devices that are away meanwhile come back in time, or too late.
fn rotation(rng: &mut Rng) -> Vec<String> {
    let away = board(rng);
    let mut lines = Vec::new();
    if rng.bool() {
        lines.push(format!("power-off {away}"));
    }
    lines.push("hub new-key".to_owned());
    lines.push(format!("pass {}m", rng.u64(1..90)));
    if rng.bool() {
        lines.push(format!("power-on {away}"));
    }
    lines.push(format!("pass {}m", rng.u64(1..90)));
    lines.push("hub drop-key".to_owned());
    lines
}

/// A card is copied; the boards come and go.
fn copied_card(rng: &mut Rng) -> Vec<String> {
    let name = board(rng);
    let mut lines = vec![format!("clone {name}")];
    for _ in 0..rng.u64(1..8) {
        let which = if rng.bool() { "" } else { "~" };
        lines.push(match rng.u8(0..5) {
            0 => format!("close {name}{which}"),
            1 => format!("power-off {name}{which}"),
            2 => format!("kill-agent {name}{which}"),
            _ => format!("pass {}m", rng.u64(1..120)),
        });
        lines.push(format!("power-on {name}{which}"));
    }
    lines
}

/// What happens to certificates: time, operators, a new CA.
fn membership(rng: &mut Rng) -> Vec<String> {
    let name = board(rng);
    let days = rng.choice([1, 2, 4, 12]).unwrap_or(1);
    match rng.u8(0..8) {
        0..=2 => {
            vec![format!("power-off {name}"), format!("pass {days}d"), format!("power-on {name}")]
        }
        3 => vec![format!("cut {name}"), format!("pass {days}d"), format!("plug {name}")],
        4 => vec![
            format!("revoke {name}"),
            format!("pass {}m", rng.u64(1..200)),
            rng.choice([
                "hub kill".to_owned(),
                format!("close {name}"),
                format!("power-off {name}"),
            ])
            .unwrap_or_default(),
            "hub start".to_owned(),
            format!("power-on {name}"),
            format!("pass {}m", rng.u64(1..200)),
            format!("{} {name}", rng.choice(["unrevoke", "rejoin", "disown"]).unwrap_or("rejoin")),
        ],
        5 => vec![
            format!("disown {name}"),
            format!("pass {}m", rng.u64(1..200)),
            format!("rejoin {name}"),
        ],
        6 => vec![
            format!("hub new-ca overlap={}", rng.u64(1..200)),
            format!("pass {}h", rng.u64(1..250)),
        ],
        _ => vec!["hub kill".to_owned(), format!("pass {days}d"), "hub start".to_owned()],
    }
}

/// Jobs that come and go.
fn add_jobs(steps: &mut Vec<Step>, rng: &mut Rng, boards: usize) {
    for _ in 0..rng.u64(1..12) {
        // After the images that they need.
        let at = rng.usize((boards + 11).min(steps.len())..=steps.len());
        let name = rng.choice(["crunch", "sweep"]).unwrap_or("crunch");
        let mode = if rng.bool() { " indexed" } else { "" };
        let (completions, parallelism) = (rng.u64(1..6), rng.u64(1..4));
        let line = match rng.u8(0..4) {
            0 => format!("delete job {name}"),
            _ => format!("job {name} completions={completions} parallelism={parallelism}{mode}"),
        };
        steps.insert(at, Step::new(&line, rng.u64(..) >> 32));
    }
}

/// A Secret that some of a history's workloads use, and that changes, goes and comes back, as do the keys of boards.
fn add_secrets(steps: &mut Vec<Step>, rng: &mut Rng, boards: usize) {
    for step in steps.iter_mut() {
        if matches!(step.verb(), "deployment" | "daemonset") && rng.bool() {
            step.words.push("secret=token".to_owned());
        }
    }
    for _ in 0..rng.u64(1..20) {
        let at = rng.usize(boards..=steps.len());
        let line = match rng.u8(0..8) {
            0..=3 => format!("secret token version={}", rng.u64(1..9)),
            4 => "delete secret token".to_owned(),
            _ => format!("rekey {}", board(rng)),
        };
        steps.insert(at, Step::new(&line, rng.u64(..) >> 32));
    }
    steps.insert(boards, Step::new("secret token version=1", rng.u64(..) >> 32));
}
