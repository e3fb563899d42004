//! The one place that waits: looks at the world again and again until it is as it should be, or a deadline has passed.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything may take. It only bounds how long a broken build hangs: the machine may be busy, and an agent
/// may pause for a minute before it tries to connect again.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// Between two looks. Short against everything that is waited for, long enough to leave the processor to the programs.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks until `look` finds something. What it last saw instead is part of the failure.
///
/// # Panics
/// After [`DEADLINE`].
pub fn wait_until<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    wait_within(DEADLINE, what, look)
}

/// [`wait_until`] with a deadline of its own.
///
/// # Panics
/// After `deadline`.
pub fn wait_within<T>(
    deadline: Duration,
    what: &str,
    look: impl FnMut() -> Result<T, String>,
) -> T {
    try_within(deadline, what, look).unwrap_or_else(|why| panic!("{why}"))
}

/// [`wait_within`] for who has more to say about it than a panic.
///
/// # Errors
/// After `deadline`: what was last seen.
pub fn try_within<T>(
    deadline: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(seen) if start.elapsed() > deadline => {
                return Err(format!(
                    "not within {} s: {what}; last seen: {seen}",
                    deadline.as_secs()
                ));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Looks until it is so.
///
/// # Panics
/// After [`DEADLINE`].
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_until(what, || if is_so() { Ok(()) } else { Err("it is not so".to_owned()) });
}
