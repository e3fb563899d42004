//! Reading while a Pod runs on each device: one object, the whole list, the list in pages.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Outcome, settle};
use crate::{
    fleet,
    report::{Figure, mebibytes, millis, percentile},
    site::Site,
};

/// Reads of one object.
const READS: usize = 100;
/// Objects of a page.
const PAGE: usize = 500;

pub(super) fn run(site: &mut Site) -> Outcome {
    site.spread()?;
    settle(site);
    let one = (0..READS).map(|number| {
        let device = fleet::name(number % site.plan.devices);
        Ok(get(site, &format!("/api/v1/nodes/{device}"))?.0)
    });
    let one = one.collect::<Result<Vec<Duration>, String>>()?;
    let (list, text) = get(site, "/api/v1/pods")?;
    let pages = pages(site)?;
    let (chosen, _) =
        get(site, &format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", fleet::name(0)))?;
    site.clear()?;
    Ok(vec![
        Figure::new("GET of one Node, median", millis(percentile(&one, 50)), ""),
        Figure::new(
            "list of all Pods",
            format!("{}, {}", millis(list), mebibytes(text.len() as u64)),
            "",
        ),
        Figure::new("list of all Pods in pages of 500: the slowest page", pages, "≤ 10 ms"),
        Figure::new("list of one device's Pods", millis(chosen), ""),
    ])
}

fn get(site: &Site, path: &str) -> Result<(Duration, String), String> {
    let start = Instant::now();
    let text = site.api.text(path).map_err(|refused| format!("GET {path}: {refused:?}"))?;
    Ok((start.elapsed(), text))
}

/// Reads every page. A hub without pages answers with everything at once.
fn pages(site: &Site) -> Result<String, String> {
    let (mut slowest, mut count, mut pods) = (Duration::ZERO, 0, 0);
    let mut path = format!("/api/v1/pods?limit={PAGE}");
    loop {
        let (took, text) = get(site, &path)?;
        slowest = slowest.max(took);
        count += 1;
        let list: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        pods += list["items"].as_array().map_or(0, Vec::len);
        match list.pointer("/metadata/continue").and_then(Value::as_str) {
            Some(token) if !token.is_empty() => {
                path = format!("/api/v1/pods?limit={PAGE}&continue={token}");
            }
            _ => break,
        }
    }
    match pods == site.plan.devices {
        true => Ok(format!("{} of {count}", millis(slowest))),
        false => Err(format!("the pages have {pods} Pods, of {}", site.plan.devices)),
    }
}
