//! A new template for a Deployment of as many replicas as devices, of which a tenth may be away at a time.

use std::time::Instant;

use lichen_tests::{api::collection, samples};
use serde_json::json;

use super::{Outcome, settle};
use crate::{
    report::{Figure, per_second, with_cpu},
    site::{IMAGE, Site},
};

const NAME: &str = "rolling";

pub(super) fn run(site: &mut Site) -> Outcome {
    let devices = site.plan.devices;
    let replicas = u32::try_from(devices).map_err(|error| error.to_string())?;
    let mut deployment = samples::deployment(NAME, IMAGE, replicas);
    deployment["spec"]["strategy"] = json!({
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "10%", "maxSurge": 0},
    });
    site.create("deployments", &deployment)?;
    site.until_status("deployments", NAME, &[("readyReplicas", devices)])?;
    settle(site);

    samples::set_variable(&mut deployment, "REVISION", "2");
    let (before, start) = (site.cpu(), Instant::now());
    let path = format!("{}/{NAME}", collection("deployments"));
    site.api.put(&path, &deployment).map_err(|refused| refused.text)?;
    let done = [("updatedReplicas", devices), ("readyReplicas", devices), ("replicas", devices)];
    site.until_status("deployments", NAME, &done)?;
    let (took, cpu) = (start.elapsed(), site.cpu().saturating_sub(before));
    site.delete("deployments", NAME)?;
    Ok(vec![
        Figure::new("rolling update of N replicas, maxUnavailable 10%", with_cpu(took, cpu), ""),
        Figure::new("rolling update: Pods replaced", per_second(devices, took), "≥ 2,000/s"),
    ])
}
