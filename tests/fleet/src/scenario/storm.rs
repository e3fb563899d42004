//! Every connection is cut at once while each device runs a Pod.

use std::time::Instant;

use super::{Outcome, settle};
use crate::{
    report::{Figure, with_cpu},
    site::Site,
    sockets,
};

pub(super) fn run(site: &mut Site) -> Outcome {
    site.spread()?;
    settle(site);
    let broker = site.broker()?;
    let (starts, connects, before) = (site.fleet().starts(), site.fleet().connects(), site.cpu());
    let start = Instant::now();
    let cut = sockets::cut(broker)?;
    if cut != site.plan.devices {
        return Err(format!("{cut} connections were there to be cut, of {}", site.plan.devices));
    }
    let wanted = connects + site.plan.devices;
    site.until("every device has connected again", || match site.fleet().connects() {
        back if back >= wanted => Ok(()),
        back => Err(format!("{} of {}", back - connects, site.plan.devices)),
    })?;
    site.until_all_ready()?;
    site.until_spread()?;
    let took = start.elapsed();
    let cpu = site.cpu().saturating_sub(before);
    settle(site);
    let (restarted, extra) = (site.fleet().starts() - starts, site.fleet().connects() - wanted);
    let (_, restarts) = site.restarts()?;
    site.clear()?;
    if restarts + restarted as u64 > 0 {
        return Err(format!("{restarted} containers were started in a storm, {restarts} restarts"));
    }
    Ok(vec![
        Figure::new("storm: all connections cut, to all Ready", with_cpu(took, cpu), "≤ 10 s"),
        Figure::new("storm: containers restarted", restarts.to_string(), "0"),
        Figure::new("storm: connections that had to be made twice", extra.to_string(), "0"),
    ])
}
