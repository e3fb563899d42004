//! Containers crash one by one on devices that have one each: what the hub's engine does for each frame of a device.

use std::{thread, time::Duration};

use super::{Outcome, settle};
use crate::{report::Figure, site::Site, usage};

/// Between two crashes: a turn of the engine each, as in a fleet that is not in trouble.
const PAUSE: Duration = Duration::from_millis(2);

pub(super) fn run(site: &mut Site) -> Outcome {
    site.spread()?;
    settle(site);
    let engine = |site: &Site| usage::threads_cpu(site.hub.pid(), "engine");
    let frames = |site: &Site| site.metric("lichen_frames_total").unwrap_or(0);
    let (frames_before, cpu_before) = (frames(site), site.cpu());
    let (engine_before, starts) = (engine(site), site.fleet().starts());
    for device in 0..site.plan.crashes {
        if !site.fleet().crash(device) {
            return Err(format!("device {device} runs nothing that could crash"));
        }
        thread::sleep(PAUSE);
    }
    let wanted = starts + site.plan.crashes;
    site.until("what crashed was started again", || match site.fleet().starts() {
        started if started == wanted => Ok(()),
        started => Err(format!("{started} of {wanted}")),
    })?;
    settle(site);
    site.until_spread()?;
    let heard = frames(site).saturating_sub(frames_before).max(1);
    let engine_time = engine(site).saturating_sub(engine_before);
    let cpu = site.cpu().saturating_sub(cpu_before);
    let (_, restarts) = site.restarts()?;
    site.clear()?;
    if restarts != site.plan.crashes as u64 {
        return Err(format!(
            "{} containers crashed, and the API shows {restarts} restarts",
            site.plan.crashes
        ));
    }
    let each =
        |time: Duration, count: u64| format!("{:.0} µs", time.as_secs_f64() * 1e6 / count as f64);
    Ok(vec![
        Figure::new(
            "engine's thread per frame of a device, commit included",
            each(engine_time, heard),
            "≤ 50 µs",
        ),
        Figure::new("hub CPU per frame of a device", each(cpu, heard), ""),
        Figure::new(
            "hub CPU per crash and restart of a Pod",
            each(cpu, site.plan.crashes as u64),
            "≤ 100 µs",
        ),
    ])
}
