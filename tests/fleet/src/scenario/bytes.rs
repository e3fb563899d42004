//! What passes on a device's connection, counted by the kernel for each TCP connection, with all headers.

use super::{Outcome, settle};
use crate::{
    report::Figure,
    site::Site,
    sockets::{Traffic, traffic},
};

pub(super) fn run(site: &mut Site) -> Outcome {
    settle(site);
    let broker = site.broker()?;
    let each = |traffic: Traffic| format!("{} bytes", traffic.bytes() / site.plan.devices as u64);
    let connected = traffic(broker)?;
    site.spread()?;
    settle(site);
    let spread = traffic(broker)?;
    site.clear()?;
    settle(site);
    let cleared = traffic(broker)?;
    Ok(vec![
        Figure::new("bytes per device for a Pod that comes", each(spread.since(connected)), ""),
        Figure::new("bytes per device for a Pod that goes", each(cleared.since(spread)), ""),
    ])
}
