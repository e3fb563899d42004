//! Topic names: the only place that builds or parses them.
//!
//! `lichen/1/<device>/up/<kind>` is written by that device alone, `lichen/1/<device>/down/<kind>` is read by that
//! device alone, `lichen/1/all/down/<kind>` is read by every device. The level after `lichen` is the protocol's
//! major version. What the frames on a topic hold: see [`crate::frame`].

use core::fmt::{self, Write};

use crate::frame::Kind;

/// Longest device name, in bytes: one DNS label, as Kubernetes asks of a node's name part.
pub const MAX_DEVICE_NAME: usize = 63;
/// Longest topic: `lichen/1/` + name + `/down/` + the longest kind.
pub const MAX_TOPIC: usize = 9 + MAX_DEVICE_NAME + 6 + 12;
/// What every topic starts with.
pub const PREFIX: &str = "lichen/1/";
/// The device level that addresses every device. No device may have this name.
pub const ALL: &str = "all";
/// The subscription with which a hub hears every device.
pub const HUB_FILTER: &str = "lichen/1/+/up/#";
/// The subscription with which every device hears what is meant for all.
pub const ALL_DOWN_FILTER: &str = "lichen/1/all/down/#";

/// Which way a frame travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a device to the hub.
    Up,
    /// From the hub to a device.
    Down,
}

/// A topic, taken apart. Borrowed from the text that it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic<'a> {
    /// A device's name, or [`ALL`].
    pub device: &'a str,
    /// Which way.
    pub direction: Direction,
    /// What the frame holds.
    pub kind: Kind,
}

impl<'a> Topic<'a> {
    /// The topic on which `device` sends frames of `kind`.
    #[must_use]
    pub fn up(device: &'a str, kind: Kind) -> Self {
        Self { device, direction: Direction::Up, kind }
    }

    /// The topic on which `device` receives frames of `kind`.
    #[must_use]
    pub fn down(device: &'a str, kind: Kind) -> Self {
        Self { device, direction: Direction::Down, kind }
    }

    /// Takes a topic apart. `None` if it is not one of ours, of this version, with a valid device name and a known kind.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut levels = text.strip_prefix(PREFIX)?.split('/');
        let (device, direction, kind) = (levels.next()?, levels.next()?, levels.next()?);
        if levels.next().is_some() || !(is_device_name(device) || device == ALL) {
            return None;
        }
        let direction = match direction {
            "up" if device != ALL => Direction::Up,
            "down" => Direction::Down,
            _ => return None,
        };
        let kind = Kind::from_topic_level(kind)?;
        (kind.direction() == direction).then_some(Self { device, direction, kind })
    }
}

impl fmt::Display for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::Up => "up",
            Direction::Down => "down",
        };
        write!(f, "{PREFIX}{}/{direction}/{}", self.device, self.kind.topic_level())
    }
}

/// Writes the subscription with which `device` hears what is meant for it alone.
///
/// # Errors
/// Only those of the writer.
pub fn write_device_filter(device: &str, out: &mut impl Write) -> fmt::Result {
    write!(out, "{PREFIX}{device}/down/#")
}

/// Whether a name may be a device's: 1 to 63 of `a-z`, `0-9` and `-`, no `-` at either end (RFC 1123), and not `all`.
#[must_use]
pub fn is_device_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let allowed = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    !bytes.is_empty()
        && bytes.len() <= MAX_DEVICE_NAME
        && bytes.iter().all(allowed)
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
        && name != ALL
}

/// A name that a device may have, as near as possible to one that it may not: capitals become small, and each run of what
/// is not allowed becomes one `-`. `rpi_node1` gives `rpi-node1`, `PHost01` gives `phost01`. A name that may be used comes
/// back as it is. `None` if nothing is left.
#[must_use]
pub fn usable_device_name(name: &str) -> Option<heapless::String<MAX_DEVICE_NAME>> {
    if is_device_name(name) {
        return heapless::String::try_from(name).ok();
    }
    let mut usable = heapless::String::new();
    for letter in name.chars().map(|letter| letter.to_ascii_lowercase()) {
        let letter =
            if letter.is_ascii_lowercase() || letter.is_ascii_digit() { letter } else { '-' };
        let doubled = letter == '-' && (usable.is_empty() || usable.ends_with('-'));
        if !doubled && usable.push(letter).is_err() {
            break;
        }
    }
    while usable.ends_with('-') {
        usable.pop();
    }
    if usable == ALL {
        return heapless::String::try_from("device-all").ok();
    }
    is_device_name(&usable).then_some(usable)
}
