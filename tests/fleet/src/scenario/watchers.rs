//! A DaemonSet over all devices while many watch all Pods, against the same without them.

use std::time::{Duration, Instant};

use lichen_tests::samples;

use super::{Outcome, settle};
use crate::{
    report::{Figure, mebibytes, with_cpu},
    site::{EVERYWHERE, IMAGE, Site},
    usage,
    watch::Counter,
};

pub(super) fn run(site: &mut Site) -> Outcome {
    let (alone, _) = apply(site)?;
    site.clear()?;
    settle(site);
    let watchers = (0..site.plan.watchers).map(|_| Counter::count(site.hub(), "/api/v1/pods"));
    let watchers = watchers.collect::<Result<Vec<Counter>, String>>()?;
    let (took, cpu) = apply(site)?;
    settle(site);
    let memory = usage::pss(site.hub.pid());
    let mut expired = 0;
    for watcher in watchers {
        let counted = watcher.stop()?;
        expired += usize::from(counted.expired);
        // Each Pod is shown when it is made and when it is ready, at the least.
        if !counted.expired && counted.lines < 2 * site.plan.devices {
            return Err(format!(
                "a watch showed {} changes of {} Pods",
                counted.lines, site.plan.devices
            ));
        }
    }
    site.clear()?;
    let ratio = took.as_secs_f64() / alone.as_secs_f64();
    Ok(vec![
        Figure::new(
            "DaemonSet while watched: POST to all ready",
            format!("{}, {ratio:.1} times, {} watchers", with_cpu(took, cpu), site.plan.watchers),
            "≤ 1.2 times",
        ),
        Figure::new("watches that expired meanwhile", expired.to_string(), "0"),
        Figure::new("hub PSS after it", mebibytes(memory), ""),
    ])
}

fn apply(site: &Site) -> Result<(Duration, Duration), String> {
    settle(site);
    let (before, start) = (site.cpu(), Instant::now());
    site.create("daemonsets", &samples::daemon_set(EVERYWHERE, IMAGE))?;
    site.until_spread()?;
    Ok((start.elapsed(), site.cpu().saturating_sub(before)))
}
