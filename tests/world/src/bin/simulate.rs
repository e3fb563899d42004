//! `make simulate`: runs histories of the simulated world. `SEED=` one of them with its story, `SEEDS=` how many,
//! `DEVICES=` how many boards each, `HOURS=` how much time passes in each at least.

use std::{
    env,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use lichen_world::{
    draw::{Size, history},
    run::{check, run},
};

/// A number from the environment; unset or empty means none.
fn number(name: &str) -> Result<Option<u64>, String> {
    match env::var(name) {
        Ok(text) if !text.is_empty() => {
            text.parse().map(Some).map_err(|_| format!("{name}={text} is not a number"))
        }
        _ => Ok(None),
    }
}

fn simulate() -> Result<bool, String> {
    let size = Size { boards: number("DEVICES")?, hours: number("HOURS")? };
    if let Some(seed) = number("SEED")? {
        let drawn = history(seed, size);
        return Ok(match check(seed, size) {
            Ok(_) => {
                println!("{}\nseed {seed}: every check holds", run(&drawn, None).story);
                true
            }
            Err(report) => {
                println!("{report}");
                false
            }
        });
    }
    let (first, count) = (number("FIRST")?.unwrap_or(0), number("SEEDS")?.unwrap_or(2000));
    let (next, failures) = (AtomicU64::new(first), AtomicU64::new(0));
    let (hours, device_hours) = (AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    match check(seed, size) {
                        Ok(outcome) => {
                            hours.fetch_add(outcome.elapsed_ms / 3_600_000, Relaxed);
                            let all = outcome.elapsed_ms * outcome.boards / 3_600_000;
                            device_hours.fetch_add(all, Relaxed);
                        }
                        Err(report) => {
                            failures.fetch_add(1, Relaxed);
                            println!("{report}");
                        }
                    }
                }
            });
        }
    });
    let failed = failures.into_inner();
    println!(
        "{count} runs in {:.1} s: {failed} failed; {} hours of the world, {:.1} device-years",
        began.elapsed().as_secs_f64(),
        hours.into_inner(),
        device_hours.into_inner() as f64 / 8766.0,
    );
    Ok(failed == 0)
}

fn main() -> ExitCode {
    match simulate() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
