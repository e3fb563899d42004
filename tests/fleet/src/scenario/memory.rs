//! What the hub holds in memory and on disk.

use super::{Outcome, settle};
use crate::{
    report::{Figure, mebibytes},
    site::Site,
    usage,
};

pub(super) fn run(site: &mut Site) -> Outcome {
    settle(site);
    let look = |site: &Site| (usage::pss(site.hub.pid()), usage::disk(&site.hub.state()));
    let (connected, store) = look(site);
    site.spread()?;
    settle(site);
    let (spread, store_spread) = look(site);
    site.clear()?;
    let share = connected.saturating_sub(site.empty_pss) / site.plan.devices as u64;
    Ok(vec![
        Figure::new("hub PSS without devices", mebibytes(site.empty_pss), ""),
        Figure::new("hub PSS, all connected", mebibytes(connected), "≤ 500 MiB"),
        Figure::new("hub PSS, a Pod on each device", mebibytes(spread), "≤ 500 MiB"),
        Figure::new("hub PSS per connected device", format!("{share} bytes"), ""),
        Figure::new("hub state on disk, all connected", mebibytes(store), "≤ 40 MiB"),
        Figure::new("hub state on disk, a Pod on each device", mebibytes(store_spread), "≤ 40 MiB"),
    ])
}
