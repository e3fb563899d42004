//! Why an object is as it is, in lines for a person: the subject, what it depends on, and what to do. What does not run
//! comes first, grouped by its reason; what runs is counted.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use crate::{
    api::{ApiError, Job, Key, Kind, Object, resource::Home, time::rfc3339},
    device::{Device, Presence},
    effect::Line,
    engine::Engine,
    pod::{Pod, Revision, status},
    scheduler,
    state::{Class, images::unknown_image},
};

/// Lines about one kind of thing; the rest is counted.
const SHOWN: usize = 20;
/// Pods that are shown of those that wait for one reason.
const SHOWN_OF_ONE_REASON: usize = 5;

impl Engine {
    pub(crate) fn explain(&self, key: &Key) -> Result<Vec<Line>, ApiError> {
        let mut lines = Lines(Vec::new());
        let names = key.kind.names();
        let found = match names.home {
            Home::Objects if names.runs_pods && names.namespaced => {
                self.explain_workload(key, &mut lines)
            }
            Home::Pods => {
                self.state.pods.named(key).map(|pod| self.explain_pod(pod, 0, &mut lines))
            }
            Home::Devices => self.explain_node(&key.name, &mut lines),
            Home::Objects | Home::Revisions | Home::Events | Home::Nowhere => {
                return Err(ApiError::NotAllowed(format!(
                    "explain takes a deployment, daemonset, statefulset, job, pod or node, not a {}",
                    key.kind
                )));
            }
        };
        found.ok_or_else(|| ApiError::NotFound(key.clone()))?;
        self.explain_events(key, &mut lines);
        Ok(lines.0)
    }

    fn explain_workload(&self, key: &Key, lines: &mut Lines) -> Option<()> {
        let stored = self.state.objects.get(key)?;
        let revision = stored.revision.as_ref()?;
        let owned = self.state.pods.owned(key);
        let active = owned.map_or(0, |owned| owned.active());
        let runs = [Class::Ready, Class::Silent, Class::Away];
        let running: usize =
            owned.map_or(0, |owned| runs.iter().map(|class| owned.count(*class)).sum());
        if let Object::Job(job) = stored.object.as_ref() {
            explain_job(key, job, lines);
        }
        let wanted = match stored.object.as_ref() {
            Object::Deployment(deployment) => deployment.replicas() as usize,
            Object::StatefulSet(set) => set.replicas() as usize,
            _ => active,
        };
        if key.kind != Kind::Job {
            lines.say(0, running >= wanted, format!("{key}: {running} of {wanted} Pods run"));
        }
        for (image, root) in &revision.roots {
            match root {
                Some(root) => lines.say(1, true, format!("image {image} is sha256:{root}")),
                None => lines.say(1, false, unknown_image(image).message),
            }
        }
        let newest = owned.and_then(|owned| owned.revision(&revision.hash));
        let old = active - newest.map_or(0, |of| of.active());
        if old > 0 {
            lines.say(1, false, format!("{old} of its Pods are still of an older template"));
            self.explain_devices(revision, 2, lines, false);
        }
        self.explain_pods(self.state.pods.of(key), lines);
        if key.kind == Kind::DaemonSet && owned.is_none() {
            lines.say(1, false, "no device matches:".into());
            self.explain_devices(revision, 2, lines, true);
        }
        Some(())
    }

    /// Pods that don't run, the most common reason first, then those that do.
    fn explain_pods<'a>(&'a self, pods: impl Iterator<Item = &'a Pod>, lines: &mut Lines) {
        let mut waits: BTreeMap<String, Vec<&Pod>> = BTreeMap::new();
        let mut good = Vec::new();
        for pod in pods {
            match self.trouble(pod) {
                Some(reason) => waits.entry(reason).or_default().push(pod),
                None => good.push(pod),
            }
        }
        let mut groups: Vec<_> = waits.into_iter().collect();
        groups.sort_by_key(|(_, pods)| core::cmp::Reverse(pods.len()));
        for (reason, pods) in groups {
            for pod in pods.iter().take(SHOWN_OF_ONE_REASON) {
                self.explain_pod(pod, 1, lines);
            }
            if pods.len() > SHOWN_OF_ONE_REASON {
                let more = pods.len() - SHOWN_OF_ONE_REASON;
                lines.say(1, false, format!("and {more} more: {reason}"));
            }
        }
        for pod in good.iter().take(SHOWN) {
            self.explain_pod(pod, 1, lines);
        }
        lines.rest(1, good.len());
    }

    /// The reason of a Pod that does not run as it should.
    fn trouble(&self, pod: &Pod) -> Option<String> {
        let device = pod.device.as_ref().and_then(|name| self.state.fleet.get(name));
        if pod.deleting.is_some() {
            return Some("Terminating".into());
        }
        match self.waiting(pod, device).or_else(|| status::unready(pod)) {
            Some(_) if pod.finished() == Some(true) => None,
            Some(waiting) => Some(waiting.reason),
            None if device.is_some_and(Device::online) => None,
            None => Some("NodeLost".into()),
        }
    }

    fn explain_pod(&self, pod: &Pod, depth: u8, lines: &mut Lines) {
        let device = pod.device.as_ref().and_then(|name| self.state.fleet.get(name));
        let place = device.map_or_else(|| "no device".into(), |device| device.name.clone());
        let name = &pod.name;
        if let Some(deleting) = pod.deleting {
            let since = rfc3339(deleting.since_ms);
            let how = match device {
                Some(device) if !device.online() => {
                    "which is not connected and will be told when it is back"
                }
                _ if deleting.released.is_none() => "which is told as soon as it is heard",
                _ => "which has been told",
            };
            let next = match device {
                Some(device) if !device.online() && pod.owner.kind == Kind::StatefulSet => format!(
                    "; the next {name} is made after that, for there are never two; if the board is gone for good, run: lichen delete node {}",
                    device.name
                ),
                _ => String::new(),
            };
            lines.say(
                depth,
                false,
                format!("{name} is to go since {since} from {place}, {how}{next}"),
            );
            return;
        }
        match self.waiting(pod, device).or_else(|| status::unready(pod)) {
            Some(_) if pod.finished() == Some(true) => {
                lines.say(depth, true, format!("{name} has ended well on {place}"));
            }
            None if device.is_some_and(Device::online) => {
                lines.say(depth, true, format!("{name} runs on {place}"));
            }
            None => lines.say(
                depth,
                false,
                format!(
                    "{name} ran on {place} when that was last heard; it goes on by itself there"
                ),
            ),
            Some(waiting) => {
                lines.say(
                    depth,
                    false,
                    format!("{name} on {place}: {}: {}", waiting.reason, waiting.message),
                );
            }
        }
        for status::LastExit { name, exit, is_good } in status::last_exits(pod) {
            let text = format!(
                "{name}last ended with code {} ({}) at {}{}{}",
                exit.code,
                exit.reason,
                rfc3339(exit.at_ms),
                if exit.message.is_empty() { "" } else { ": " },
                exit.message
            );
            lines.say(depth + 1, is_good, text);
        }
        if pod.device.is_none() && pod.revision.unknown_image().is_none() {
            self.explain_devices(&pod.revision, depth + 1, lines, false);
        }
    }

    /// Each device and why it does not take a Pod.
    fn explain_devices(&self, revision: &Revision, depth: u8, lines: &mut Lines, bound: bool) {
        for device in self.state.fleet.iter().take(SHOWN) {
            let answer = if bound {
                scheduler::matches(device, revision)
            } else {
                self.state.takes(device, revision)
            };
            match answer {
                Ok(()) => lines.say(depth, true, format!("{} could take it", device.name)),
                Err(reason) => {
                    lines.say(depth, false, format!("{}: {}", device.name, reason.describe()));
                }
            }
        }
        lines.rest(depth, self.state.fleet.len());
        if self.state.fleet.is_empty() {
            lines.say(depth, false, scheduler::summarise(&[], 0).message);
        }
    }

    /// One that speaks another protocol version may be no Node yet.
    fn explain_node(&self, name: &str, lines: &mut Lines) -> Option<()> {
        let (device, mismatch) = (self.state.fleet.get(name), self.mismatch(name));
        if device.is_none() && mismatch.is_none() {
            return None;
        }
        if let Some(device) = device {
            self.explain_device(device, lines);
        }
        if let Some(mismatch) = mismatch {
            lines.say(u8::from(device.is_some()), false, mismatch);
        }
        Some(())
    }

    fn explain_device(&self, device: &Device, lines: &mut Lines) {
        let name = &device.name;
        match device.presence {
            Presence::Online { since_ms, .. } => {
                lines.say(0, true, format!("{name} is connected since {}", rfc3339(since_ms)));
            }
            Presence::Offline { since_ms, .. } => lines.say(
                0,
                false,
                format!(
                    "{name} is not connected since {}; what it holds runs on there",
                    rfc3339(since_ms)
                ),
            ),
        }
        if let Some(left_behind) = self.left_behind(name) {
            lines.say(1, false, left_behind.into());
        }
        if let Some(unknown_key) = self.unknown_key(name) {
            lines.say(1, false, unknown_key);
        }
        if let Some(conflict) = device.conflict {
            lines.say(1, false, conflict.message(name));
        }
        let (desired, held) =
            (device.desired.generation, device.acknowledged.map_or(0, |held| held.generation.0));
        let (current, text) = if device.pending {
            (false, format!("assignment: {held} held; what changed since is told when it is back"))
        } else {
            (held == desired.0, format!("assignment: generation {desired} wanted, {held} held"))
        };
        lines.say(1, current, text);
        for said in device.facts.conditions.iter().filter(|said| said.is_true) {
            lines.say(1, false, format!("{}: {}", said.kind.name(), said.message));
        }
        for runtime in &device.facts.runtimes {
            let limits = match (runtime.usable, runtime.limits_enforced) {
                (true, true) => "usable, limits enforced",
                (true, false) => "usable, limits not enforced",
                (false, _) => "not usable",
            };
            let reason = if runtime.reason.is_empty() { "" } else { ": " };
            lines.say(
                1,
                runtime.usable,
                format!("{} {}: {limits}{reason}{}", runtime.name, runtime.version, runtime.reason),
            );
        }
        self.explain_pods(self.state.pods.pods_on(name), lines);
    }

    fn explain_events(&self, key: &Key, lines: &mut Lines) {
        const NEWEST: usize = 5;
        for event in self.recorder.of(key).take(NEWEST) {
            let at = event.last_timestamp.as_deref().unwrap_or_default();
            let good = event.severity == "Normal";
            lines.say(1, good, format!("{at} {}: {}", event.reason, event.message));
        }
    }
}

/// How far a Job is, and what holds it up.
fn explain_job(key: &Key, job: &Job, lines: &mut Lines) {
    let status = &job.status;
    let of = job.spec.completions.map(|wanted| format!(" of {wanted}")).unwrap_or_default();
    let (good, how) = match job.end() {
        Some(end) if end.kind == "Complete" => (true, "complete".into()),
        Some(end) => (false, format!("failed ({}): {}", end.reason, end.message)),
        None if job.is_suspended() => (false, "suspended; set spec.suspend to false".into()),
        None => (true, format!("{} Pods are at it", status.active)),
    };
    let done = format!("{}{of} completions", status.succeeded);
    lines.say(0, good, format!("{key}: {done}, {how}"));
    if status.failed > 0 {
        let limit = job.backoff_limit();
        let text = format!("{} Pods have failed; at most {limit} are replaced", status.failed);
        lines.say(1, false, text);
    }
}

struct Lines(Vec<Line>);

impl Lines {
    fn say(&mut self, depth: u8, good: bool, text: String) {
        self.0.push(Line { depth, good, text });
    }

    fn rest(&mut self, depth: u8, all: usize) {
        if all > SHOWN {
            self.say(depth, true, format!("and {} more", all - SHOWN));
        }
    }
}
