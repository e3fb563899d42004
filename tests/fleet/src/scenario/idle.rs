//! The hub's CPU while each device runs a Pod and nothing happens.

use std::{thread, time::Instant};

use super::{Outcome, settle};
use crate::{report::Figure, site::Site};

pub(super) fn run(site: &mut Site) -> Outcome {
    site.spread()?;
    settle(site);
    let (before, start) = (site.cpu(), Instant::now());
    thread::sleep(site.plan.idle);
    let share = site.cpu().saturating_sub(before).as_secs_f64() / start.elapsed().as_secs_f64();
    site.clear()?;
    let seconds = site.plan.idle.as_secs();
    Ok(vec![Figure::new(
        "idle CPU of the hub",
        format!("{:.2} % of a core over {seconds} s", share * 100.0),
        "≤ 2 %",
    )])
}
