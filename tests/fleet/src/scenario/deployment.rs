//! A Deployment with as many replicas as there are devices, then with twice as many, then none.

use std::time::Instant;

use lichen_tests::{api::collection, samples};
use serde_json::json;

use super::{Outcome, settle};
use crate::{
    report::{Figure, with_cpu},
    site::{IMAGE, Site},
};

const NAME: &str = "many";

pub(super) fn run(site: &mut Site) -> Outcome {
    settle(site);
    let devices = site.plan.devices;
    let replicas = u32::try_from(devices).map_err(|error| error.to_string())?;
    let (before, start) = (site.cpu(), Instant::now());
    site.create("deployments", &samples::deployment(NAME, IMAGE, replicas))?;
    site.until_status("deployments", NAME, &[("readyReplicas", devices)])?;
    let once = with_cpu(start.elapsed(), site.cpu().saturating_sub(before));
    settle(site);

    let (before, start) = (site.cpu(), Instant::now());
    let path = format!("{}/{NAME}", collection("deployments"));
    let change = json!({"spec": {"replicas": 2 * devices}});
    site.api.merge(&path, &change).map_err(|refused| refused.text)?;
    site.until_status("deployments", NAME, &[("readyReplicas", 2 * devices)])?;
    let twice = with_cpu(start.elapsed(), site.cpu().saturating_sub(before));
    settle(site);

    let before = site.cpu();
    let deleted = site.delete("deployments", NAME)?;
    let deleted = with_cpu(deleted, site.cpu().saturating_sub(before));
    Ok(vec![
        Figure::new("Deployment of N replicas: POST to all ready", once, "≤ 2 s"),
        Figure::new("Deployment from N to 2 N replicas: PATCH to all ready", twice, "≤ 2 s"),
        Figure::new("Deployment of 2 N replicas: DELETE to no Pod", deleted, "≤ 2 s"),
    ])
}
