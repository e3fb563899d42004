//! A DaemonSet over all devices: when its request is answered, when each device's Pod is seen ready in a watch, what
//! others who read the API notice of it. Then its deletion.

use std::time::{Duration, Instant};

use lichen_tests::samples;

use super::{Outcome, settle};
use crate::{
    report::{Figure, millis, percentile, seconds, with_cpu},
    site::{EVERYWHERE, IMAGE, Prober, Site},
    watch::{Recorder, Story},
};

pub(super) fn run(site: &mut Site) -> Outcome {
    settle(site);
    let watch =
        Recorder::record(site.hub(), &format!("/api/v1/pods?labelSelector=app%3D{EVERYWHERE}"))?;
    let prober = Prober::start(site);
    let lost_before = dropped(site)?;
    let (before, start) = (site.cpu(), Instant::now());
    let answered = site.create("daemonsets", &samples::daemon_set(EVERYWHERE, IMAGE))?;
    site.until_spread()?;
    let took = start.elapsed();
    let cpu = site.cpu().saturating_sub(before);
    let slowest = prober.stop();
    let lost = dropped(site)? - lost_before;
    settle(site);
    let story = Story::of(&watch.stop()?);
    let seen = of_each_device(site, start, &story)?;
    let before = site.cpu();
    let deleted = site.clear()?;
    let deletion_cpu = site.cpu().saturating_sub(before);
    Ok(vec![
        Figure::new("DaemonSet: POST answered", millis(answered), "≤ 50 ms"),
        Figure::new("DaemonSet: POST to all ready", with_cpu(took, cpu), "≤ 2 s"),
        Figure::new(
            "DaemonSet: POST to a device's Pod seen ready, p50",
            seconds_or_expired(&seen, 50),
            "",
        ),
        Figure::new(
            "DaemonSet: POST to a device's Pod seen ready, p99",
            seconds_or_expired(&seen, 99),
            "≤ 2 s",
        ),
        Figure::new("frames dropped meanwhile", lost.to_string(), "0"),
        Figure::new("slowest GET meanwhile", millis(slowest), "≤ 100 ms"),
        Figure::new("DaemonSet: DELETE to no Pod", with_cpu(deleted, deletion_cpu), "≤ 2 s"),
    ])
}

/// Frames that the hub's link has dropped since it started, in either direction.
fn dropped(site: &Site) -> Result<u64, String> {
    let metric = |name: &str| site.metric(name).ok_or(format!("the hub has no metric {name}"));
    Ok(metric("lichen_link_received_dropped_frames_total")?
        + metric("lichen_link_sent_dropped_frames_total")?)
}

/// Times of all devices; none if the hub has ended the watch before its time.
fn of_each_device(site: &Site, start: Instant, story: &Story) -> Result<Vec<Duration>, String> {
    if story.expired {
        return Ok(Vec::new());
    }
    let times: Vec<Duration> = story.ready.values().map(|at| at.duration_since(start)).collect();
    match times.len() == site.plan.devices {
        true => Ok(times),
        false => {
            Err(format!("the watch showed {} devices ready, of {}", times.len(), site.plan.devices))
        }
    }
}

fn seconds_or_expired(times: &[Duration], percent: usize) -> String {
    match times {
        [] => "the watch expired".to_owned(),
        times => seconds(percentile(times, percent)),
    }
}
