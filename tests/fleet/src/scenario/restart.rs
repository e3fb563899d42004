//! The hub is killed and started again on its state while each device runs a Pod.

use std::time::Instant;

use super::{Outcome, settle};
use crate::{
    report::{Figure, with_cpu},
    site::Site,
};

pub(super) fn run(site: &mut Site) -> Outcome {
    site.spread()?;
    settle(site);
    let starts = site.fleet().starts();
    site.dropped();
    site.hub.kill();
    let start = Instant::now();
    site.hub.launch();
    site.until("the API answers", || site.api.text("/healthz").map_err(|r| r.text))?;
    let answers = start.elapsed();
    site.until_all_ready()?;
    let ready = start.elapsed();
    site.until_spread()?;
    let level = start.elapsed();
    let cpu = site.cpu();
    settle(site);
    let restarted = site.fleet().starts() - starts;
    let (pods, restarts) = site.restarts()?;
    site.clear()?;
    if pods != site.plan.devices || restarts + restarted as u64 > 0 {
        return Err(format!(
            "after the restart the API shows {pods} Pods of {} with {restarts} restarts, and {restarted} containers \
             were started",
            site.plan.devices
        ));
    }
    Ok(vec![
        Figure::new(
            "hub restart: kill -9 to the API answering",
            crate::report::millis(answers),
            "≤ 500 ms",
        ),
        Figure::new("hub restart: to all Ready", with_cpu(ready, cpu), "≤ 10 s"),
        Figure::new("hub restart: to all Pods ready", crate::report::seconds(level), "≤ 10 s"),
        Figure::new("hub restart: containers restarted", restarts.to_string(), "0"),
    ])
}
