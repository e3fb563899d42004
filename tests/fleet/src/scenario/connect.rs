//! All devices are switched on at once: connections, hellos, full reports, until the hub counts all as Ready.

use super::{Outcome, settle};
use crate::{
    report::{Figure, with_cpu},
    site::Site,
    sockets::traffic,
};

pub(super) fn run(site: &mut Site) -> Outcome {
    let [joining, connecting] = site.connect()?;
    settle(site);
    let passed = traffic(site.broker()?)?.bytes() / site.plan.devices as u64;
    let metric = |name: &str| site.metric(name).ok_or(format!("the hub has no metric {name}"));
    let refused = metric("lichen_link_refused_total")? + metric("lichen_link_turned_away_total")?;
    let away = site.fleet().counts().away.load(std::sync::atomic::Ordering::Relaxed);
    if away > 0 {
        return Err(format!("{away} devices believe that another one has their name"));
    }
    Ok(vec![
        Figure::new("join: all get a certificate", with_cpu(joining.wall, joining.cpu), ""),
        Figure::new(
            "connect: switched on to all Ready",
            with_cpu(connecting.wall, connecting.cpu),
            "≤ 10 s",
        ),
        Figure::new("bytes per device to connect and be known", format!("{passed} bytes"), ""),
        Figure::new("connections refused meanwhile", refused.to_string(), "0"),
    ])
}
