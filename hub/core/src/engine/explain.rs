//! Why an object is as it is, in lines for a person: the subject, what it depends on, and what to do.

use alloc::{format, string::String, vec::Vec};

use super::{Engine, views::waiting};
use crate::{
    api::{ApiError, Key, Kind, Object, time::rfc3339},
    device::{Device, Presence},
    effect::Line,
    pod::{Pod, Revision, status},
    schedule,
};

/// Lines about one kind of thing; the rest is counted.
const SHOWN: usize = 20;

impl Engine {
    pub(super) fn explain(&self, key: &Key) -> Result<Vec<Line>, ApiError> {
        let mut lines = Lines(Vec::new());
        let found = match key.kind {
            Kind::Deployment | Kind::DaemonSet => self.explain_workload(key, &mut lines),
            Kind::Pod => self
                .by_name
                .get(key)
                .and_then(|id| self.pods.get(id))
                .map(|pod| self.explain_pod(pod, 0, &mut lines)),
            Kind::Node => self.explain_node(&key.name, &mut lines),
            Kind::Namespace | Kind::ConfigMap | Kind::Event => {
                return Err(ApiError::NotAllowed(format!(
                    "explain takes a deployment, daemonset, pod or node, not a {}",
                    key.kind
                )));
            }
        };
        found.ok_or_else(|| ApiError::NotFound(key.clone()))?;
        self.explain_events(key, &mut lines);
        Ok(lines.0)
    }

    fn explain_workload(&self, key: &Key, lines: &mut Lines) -> Option<()> {
        let stored = self.objects.get(key)?;
        let revision = stored.revision.as_ref()?;
        let copies = self.copies(key);
        let alive = copies.iter().filter(|copy| copy.deleting.is_none());
        let running = alive.clone().filter(|copy| copy.runs()).count();
        let wanted = match stored.object.as_ref() {
            Object::Deployment(deployment) => deployment.replicas() as usize,
            _ => alive.clone().count(),
        };
        lines.say(0, running >= wanted, format!("{key}: {running} of {wanted} copies run"));
        for (image, root) in &revision.roots {
            match root {
                Some(root) => lines.say(1, true, format!("image {image} is sha256:{root}")),
                None => lines.say(1, false, super::supply::unknown_image(image).message),
            }
        }
        let old = alive.clone().filter(|copy| copy.revision.hash != revision.hash).count();
        if old > 0 {
            lines.say(1, false, format!("{old} of its copies are still of an older template"));
            self.explain_devices(revision, 2, lines, false);
        }
        for copy in copies.iter().take(SHOWN) {
            self.explain_pod(copy, 1, lines);
        }
        lines.rest(1, copies.len());
        if key.kind == Kind::DaemonSet && copies.is_empty() {
            lines.say(1, false, "no device matches:".into());
            self.explain_devices(revision, 2, lines, true);
        }
        Some(())
    }

    fn explain_pod(&self, pod: &Pod, depth: u8, lines: &mut Lines) {
        let device = pod.device.as_ref().and_then(|name| self.devices.get(name));
        let place = device.map_or_else(|| "no device".into(), |device| device.name.clone());
        let name = &pod.name;
        if let Some(deleting) = pod.deleting {
            let since = rfc3339(deleting.since_ms);
            let how = match device {
                Some(device) if !device.online() => {
                    "which is not connected and will be told when it is back"
                }
                _ => "which has been told",
            };
            lines.say(depth, false, format!("{name} is to go since {since} from {place}, {how}"));
            return;
        }
        match waiting(pod, device) {
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
        for (name, exit) in status::last_exits(pod) {
            let text = format!(
                "{name}last ended with code {} ({}) at {}{}{}",
                exit.code,
                exit.reason,
                rfc3339(exit.at_ms),
                if exit.message.is_empty() { "" } else { ": " },
                exit.message
            );
            lines.say(depth + 1, false, text);
        }
        if pod.device.is_none() && pod.revision.unknown_image().is_none() {
            self.explain_devices(&pod.revision, depth + 1, lines, false);
        }
    }

    /// Each device and why it does not take a copy.
    fn explain_devices(&self, revision: &Revision, depth: u8, lines: &mut Lines, bound: bool) {
        for device in self.devices.values().take(SHOWN) {
            let answer = if bound {
                schedule::matches(device, revision)
            } else {
                schedule::admits(device, revision, &|target| self.check_supply(revision, target))
            };
            match answer {
                Ok(()) => lines.say(depth, true, format!("{} could take it", device.name)),
                Err(refusal) => {
                    lines.say(depth, false, format!("{}: {}", device.name, refusal.describe()));
                }
            }
        }
        lines.rest(depth, self.devices.len());
        if self.devices.is_empty() {
            lines.say(
                depth,
                false,
                schedule::summarise(&alloc::collections::BTreeMap::new(), 0).message,
            );
        }
    }

    /// One that speaks another protocol version may be no Node yet.
    fn explain_node(&self, name: &str, lines: &mut Lines) -> Option<()> {
        let (device, mismatch) = (self.devices.get(name), self.mismatch(name));
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
                    "{name} is not connected since {}; it goes on with what it has",
                    rfc3339(since_ms)
                ),
            ),
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
        let ids = device.pods.iter().take(SHOWN);
        for pod in ids.filter_map(|id| self.pods.get(id)) {
            self.explain_pod(pod, 1, lines);
        }
        lines.rest(1, device.pods.len());
    }

    fn explain_events(&self, key: &Key, lines: &mut Lines) {
        const NEWEST: usize = 5;
        for event in self.happenings.of(key).take(NEWEST) {
            let at = event.last_timestamp.as_deref().unwrap_or_default();
            let good = event.severity == "Normal";
            lines.say(1, good, format!("{at} {}: {}", event.reason, event.message));
        }
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
