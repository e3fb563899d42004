//! The soak: real programs, changed without pause and killed at random. What it is made of is in `lichen_tests::soak`.
//!
//! Half a minute of faults for each kind of broker by default; `MINUTES` and `SEED` size and choose longer runs
//! (`make soak`).

use std::{env, path::Path, time::Duration};

use lichen_tests::soak::{Broker, Settings, run};

/// How long faults go on unless `MINUTES` says otherwise.
const SHORT: Duration = Duration::from_secs(30);

fn settings(broker: Broker) -> Settings {
    let number = |name: &str| {
        let text = env::var(name).ok().filter(|text| !text.is_empty())?;
        Some(
            text.parse()
                .unwrap_or_else(|_| panic!("{name} is {text:?}: it must be a whole number")),
        )
    };
    Settings {
        seed: number("SEED").unwrap_or(1),
        time: number("MINUTES").map_or(SHORT, |minutes: u64| Duration::from_secs(60 * minutes)),
        broker,
        report: Path::new(env!("CARGO_TARGET_TMPDIR")).to_owned(),
    }
}

#[test]
#[ignore = "needs root, crun, runc, umoci and busybox-static: run by make test"]
fn kills_and_changes_without_pause_break_no_promise() {
    run(&settings(Broker::Embedded));
}

#[test]
#[ignore = "needs root, crun, runc, umoci, busybox-static and mosquitto: run by make test"]
fn kills_and_changes_without_pause_break_no_promise_beside_mosquitto() {
    run(&settings(Broker::Mosquitto));
}
