//! Which topics a device may use. Whole prefixes are compared, slash included, so that `pi` never passes for `pi-2`.
//!
//! The broker shares nothing between devices: everything but a device's own topics and those for all is refused,
//! `$share/…`, `$SYS/…` and `$exclusive/…` among it, for none of these begins with a prefix of ours.

use firmware_compat::{
    frame::Kind,
    topic::{ALL_DOWN_FILTER, Direction, PREFIX, Topic},
};

/// Whether `device` may publish on `topic`: on its own upward topics, of known kinds.
pub(crate) fn may_publish(device: &str, topic: &str) -> bool {
    Topic::parse(topic)
        .is_some_and(|topic| topic.direction == Direction::Up && topic.device == device)
}

/// Whether `device` may leave a will on `topic`: on its own `gone` topic alone.
pub(crate) fn may_leave_will(device: &str, topic: &str) -> bool {
    may_publish(device, topic) && Topic::parse(topic).is_some_and(|topic| topic.kind == Kind::Gone)
}

/// Whether `device` may subscribe to `filter`: below its own `down/`, or to all that every device hears.
pub(crate) fn may_subscribe(device: &str, filter: &str) -> bool {
    filter == ALL_DOWN_FILTER || own_down_level(device, filter).is_some()
}

/// What follows `lichen/1/<device>/down/` in a filter: one level, a kind's name or a wildcard.
pub(crate) fn own_down_level<'f>(device: &str, filter: &'f str) -> Option<&'f str> {
    let level = filter.strip_prefix(PREFIX)?.strip_prefix(device)?.strip_prefix("/down/")?;
    (!level.is_empty() && !level.contains('/')).then_some(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_publishes_on_its_own_upward_topics_only() {
        assert!(may_publish("pi", "lichen/1/pi/up/hello"));
        for refused in [
            "lichen/1/pi-2/up/hello",
            "lichen/1/p/up/hello",
            "lichen/1/pi/down/head",
            "lichen/1/all/down/time",
            "lichen/1/pi/up/unknown",
            "lichen/1/pi/up/hello/more",
            "lichen/2/pi/up/hello",
            "$SYS/lichen/1/pi/up/hello",
            "lichen/1/+/up/hello",
            "",
        ] {
            assert!(!may_publish("pi", refused), "{refused}");
        }
    }

    #[test]
    fn a_will_is_allowed_on_the_own_gone_topic_only() {
        assert!(may_leave_will("pi", "lichen/1/pi/up/gone"));
        assert!(!may_leave_will("pi", "lichen/1/pi/up/hello"));
        assert!(!may_leave_will("pi", "lichen/1/pi-2/up/gone"));
    }

    #[test]
    fn a_device_subscribes_below_its_own_down_and_to_all_only() {
        for allowed in [
            "lichen/1/pi/down/#",
            "lichen/1/pi/down/+",
            "lichen/1/pi/down/head",
            "lichen/1/all/down/#",
        ] {
            assert!(may_subscribe("pi", allowed), "{allowed}");
        }
        for refused in [
            "#",
            "+/1/pi/down/#",
            "lichen/#",
            "lichen/1/#",
            "lichen/1/+/down/#",
            "lichen/1/+/up/#",
            "lichen/1/pi/#",
            "lichen/1/pi/+/head",
            "lichen/1/pi/up/#",
            "lichen/1/pi/down",
            "lichen/1/pi/down/",
            "lichen/1/pi-2/down/#",
            "lichen/1/p/down/#",
            "lichen/1/all/#",
            "$share/g/lichen/1/pi/down/#",
            "$exclusive/lichen/1/pi/down/#",
            "$limit/1/lichen/1/pi/down/#",
            "$SYS/#",
            "",
        ] {
            assert!(!may_subscribe("pi", refused), "{refused}");
        }
    }
}
