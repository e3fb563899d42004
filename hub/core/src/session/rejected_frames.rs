//! Frames that the hub can't take. Each is counted; about each device a person is told once, not once per frame: which
//! other protocol version it speaks, and, once an hour, that something it sent does not decode. That the fleet is full is
//! told once an hour, too.
//!
//! A device of another version is often one that the hub has never heard of: its hello does not decode either. Events
//! about its name are all that anyone can see of it, so such names are kept here, in a bounded number.

use alloc::{
    borrow::ToOwned,
    collections::BTreeMap,
    format,
    string::{String, ToString},
};
use core::time::Duration;

use firmware_compat::{
    frame::{DecodeError, Kind as FrameKind, VERSION},
    time::Instant,
    topic,
    v1::owned::Severity,
};

use crate::api::{Key, Kind};
use crate::engine::{Engine, MAX_DEVICES};

/// Names of unknown devices about which something was told. More than a site upgrades at once; and whoever makes up
/// names fills no more than this.
const MOST_UNKNOWN: usize = 256;
/// Time between two tellings of the same about one name.
const TELL_AGAIN: Duration = Duration::from_secs(3600);

/// What was told, by device.
#[derive(Debug, Default)]
pub(crate) struct RejectedFrames {
    told: BTreeMap<String, Told>,
    /// When it was last told that there are too many devices.
    full_told: Option<Instant>,
}

#[derive(Debug, Default)]
struct Told {
    /// The other protocol version that it speaks.
    version: Option<u8>,
    /// When it was last told that something does not decode.
    refused_at: Option<Instant>,
    /// When anything was last told.
    at: Instant,
}

impl Engine {
    /// Takes note of a frame that is dropped.
    pub(crate) fn reject_frame(&mut self, name: &str, kind: FrameKind, error: DecodeError) {
        self.metrics.rejected_frames += 1;
        if !topic::is_device_name(name) || !self.may_tell_about(name) {
            return;
        }
        let now = self.now;
        let told = self.sessions.rejected.told.entry(name.to_owned()).or_default();
        let (reason, message) = if let DecodeError::Version(version) = error {
            if told.version.replace(version) == Some(version) {
                return;
            }
            ("ProtocolMismatch", speaks_otherwise(name, version))
        } else {
            if told.refused_at.is_some_and(|at| now.since(at) < TELL_AGAIN) {
                return;
            }
            told.refused_at = Some(now);
            let message = format!(
                "a {} frame of {name} was dropped: {error}; if this goes on, its agent and this hub are of different builds: upgrade the older one",
                kind.topic_level()
            );
            ("FrameRefused", message)
        };
        told.at = now;
        self.record(&Key::new(Kind::Node, "", name), Severity::Warning, reason, message);
        self.touch_node(name);
    }

    /// There is no room for a device that was never heard of.
    pub(crate) fn reject_device(&mut self, name: &str) {
        self.metrics.rejected_frames += 1;
        let now = self.now;
        if self.sessions.rejected.full_told.is_some_and(|at| now.since(at) < TELL_AGAIN) {
            return;
        }
        self.sessions.rejected.full_told = Some(now);
        let message = format!(
            "the hub has {MAX_DEVICES} devices, the most that it takes, and {name} is not one of them: it goes on with what it has; delete Nodes that are gone, or give a part of the fleet a hub of its own"
        );
        self.record(&Key::new(Kind::Node, "", name), Severity::Warning, "TooManyDevices", message);
    }

    /// A device that the hub knows, one about which something was told before, or one of few unknown names.
    fn may_tell_about(&mut self, name: &str) -> bool {
        if self.state.fleet.contains(name) || self.sessions.rejected.told.contains_key(name) {
            return true;
        }
        let (now, devices) = (self.now, &self.state.fleet);
        let told = &mut self.sessions.rejected.told;
        if told.len() >= MOST_UNKNOWN {
            // Of devices it is kept as long as it is so; of unknown names, an hour will do.
            told.retain(|name, told| devices.contains(name) || now.since(told.at) < TELL_AGAIN);
        }
        told.keys().filter(|name| !devices.contains(name)).count() < MOST_UNKNOWN
    }

    /// A device has said hello in words that the hub understands, or is no longer one.
    pub(crate) fn forget_rejected(&mut self, name: &str) {
        if let Some(told) = self.sessions.rejected.told.get_mut(name) {
            told.version = None;
            if told.refused_at.is_none() {
                self.sessions.rejected.told.remove(name);
            }
        }
    }

    /// The other protocol version that a device speaks, in words.
    pub(crate) fn mismatch(&self, name: &str) -> Option<String> {
        let version = self.sessions.rejected.told.get(name)?.version?;
        Some(speaks_otherwise(name, version))
    }
}

fn speaks_otherwise(name: &str, version: u8) -> String {
    let fix = if version > VERSION {
        "upgrade this hub".to_string()
    } else {
        format!("upgrade the agent of {name}")
    };
    format!(
        "{name} speaks protocol version {version}, this hub speaks {VERSION}: neither understands the other, {name} goes on with what it has; {fix}"
    )
}

#[cfg(test)]
mod tests {
    use firmware_compat::{
        frame::{self, Stamp},
        id::{AgentId, BootId},
        v1::owned::{Hello, List, Text},
    };

    use super::*;
    use crate::{
        api::Object,
        device::Device,
        engine::Config,
        event::{Event, Now},
        signing::tests::unheard,
    };

    fn now(hours: u64) -> Now {
        let ms = hours * 3_600_000;
        Now { instant: Instant(ms), unix_ms: ms }
    }

    fn speak(engine: &mut Engine, name: String, hours: u64) {
        let bytes = alloc::vec![9; 20];
        engine.handle(Event::Frame { device: name, kind: FrameKind::Hello, bytes }, now(hours));
    }

    #[test]
    fn a_fleet_at_its_bound_is_told_of_once_an_hour() {
        let mut engine =
            Engine::load([], Config::default(), unheard(), now(0)).expect("nothing to load");
        let hello = frame::encode(&hello(), Stamp { session: 1, sequence: 0 }).expect("short");
        let say_hello = |engine: &mut Engine, name: &str, hours| {
            let (device, bytes) = (name.to_owned(), hello.clone());
            engine.handle(Event::Frame { device, kind: FrameKind::Hello, bytes }, now(hours));
        };
        say_hello(&mut engine, "first", 0);
        let first = engine.state.fleet.get("first").expect("it said hello").clone();
        for number in 1..MAX_DEVICES {
            engine.state.fleet.insert(Device { name: format!("d{number}"), ..first.clone() });
        }
        let told = |engine: &Engine| {
            let full = |object: &&alloc::sync::Arc<Object>| matches!(object.as_ref(), Object::Event(event) if event.reason == "TooManyDevices");
            engine.recorder.iter().filter(full).count()
        };
        say_hello(&mut engine, "late", 0);
        say_hello(&mut engine, "later", 0);
        assert_eq!((engine.state.fleet.len(), told(&engine)), (MAX_DEVICES, 1));
        say_hello(&mut engine, "latest", 1);
        assert_eq!(told(&engine), 2);
    }

    fn hello() -> Hello {
        Hello {
            agent: AgentId([1; 16]),
            boot: BootId([1; 16]),
            version: Text::default(),
            arch: Text::default(),
            os: Text::default(),
            kernel: Text::default(),
            cpu_features: List::default(),
            cpu_milli: 0,
            memory_bytes: 0,
            disk_bytes: 0,
            storage: Default::default(),
            runtimes: List::default(),
            wasm: None,
            labels: List::default(),
            assignment: None,
            clock_ms: 0,
            max_assignment_bytes: 0,
            keys: List::default(),
            conditions: List::default(),
        }
    }

    #[test]
    fn made_up_names_fill_a_bounded_list_that_empties_after_an_hour() {
        let mut engine =
            Engine::load([], Config::default(), unheard(), now(0)).expect("nothing to load");
        for name in 0..1000 {
            speak(&mut engine, format!("d{name}"), 0);
        }
        assert_eq!(engine.sessions.rejected.told.len(), MOST_UNKNOWN);
        assert_eq!(engine.recorder.iter().count(), MOST_UNKNOWN);
        speak(&mut engine, "late".to_owned(), 1);
        assert_eq!(engine.sessions.rejected.told.len(), 1, "the others were told an hour ago");
        speak(&mut engine, "No Name".to_owned(), 1);
        assert_eq!(engine.sessions.rejected.told.len(), 1, "that is no device's name");
        assert_eq!(engine.metrics.rejected_frames, 1002);
    }
}
