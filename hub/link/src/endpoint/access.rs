//! Which topics a device may use. Whole prefixes are compared, slash included, so that `pi` never passes for `pi-2`.
//!
//! Nothing is shared between devices: everything but a device's own topics and those for all is refused, `$share/…`,
//! `$SYS/…` and the like among it, for none of these begins with a prefix of ours.

use firmware_compat::{
    frame::Kind,
    topic::{ALL, Direction, PREFIX, Topic},
};
use rumqttc::{SubscribeReasonCode, valid_filter};

/// What a device may publish on `topic`: frames of a kind, on its own upward topics.
pub(crate) fn published(device: &str, topic: &str) -> Option<Kind> {
    Topic::parse(topic)
        .filter(|topic| topic.direction == Direction::Up && topic.device == device)
        .map(|topic| topic.kind)
}

/// Whether `device` may leave a will on `topic`: on its own `gone` topic alone.
pub(crate) fn may_leave_will(device: &str, topic: &str) -> bool {
    published(device, topic) == Some(Kind::Gone)
}

/// Whose downward topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The device's own.
    Own,
    /// Those that every device hears.
    All,
}

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// `#`
    Everything,
    /// `+`
    Any,
    /// One kind's name.
    Only(Kind),
}

/// A filter that a device may subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    scope: Scope,
    level: Level,
}

impl Filter {
    /// Reads a filter of `device`.
    ///
    /// # Errors
    /// What the SUBACK says instead of the granted QoS.
    pub(crate) fn parse(device: &str, filter: &str) -> Result<Self, SubscribeReasonCode> {
        if filter.starts_with("$share/") {
            return Err(SubscribeReasonCode::SharedSubscriptionsNotSupported);
        }
        if !valid_filter(filter) {
            return Err(SubscribeReasonCode::TopicFilterInvalid);
        }
        Self::own(device, filter).ok_or_else(|| refusal(device, filter))
    }

    fn own(device: &str, filter: &str) -> Option<Self> {
        let (name, rest) = filter.strip_prefix(PREFIX)?.split_once('/')?;
        let scope = match name {
            ALL => Scope::All,
            name if name == device => Scope::Own,
            _ => return None,
        };
        let level = match rest.strip_prefix("down/")? {
            "#" => Level::Everything,
            "+" => Level::Any,
            kind => Level::Only(Kind::from_topic_level(kind)?),
        };
        Some(Self { scope, level })
    }

    /// Whether a message of this scope and kind is asked for.
    pub(crate) fn covers(self, scope: Scope, kind: Kind) -> bool {
        let all_kinds = matches!(self.level, Level::Everything | Level::Any);
        self.scope == scope && (all_kinds || self.level == Level::Only(kind))
    }
}

/// A wildcard that would take in more than the device's own topics is told apart from a topic of somebody else.
fn refusal(device: &str, filter: &str) -> SubscribeReasonCode {
    let Some(wildcard) = filter.find(['+', '#']) else {
        return SubscribeReasonCode::NotAuthorized;
    };
    if format!("{PREFIX}{device}/").starts_with(&filter[..wildcard]) {
        SubscribeReasonCode::WildcardSubscriptionsNotSupported
    } else {
        SubscribeReasonCode::NotAuthorized
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_publishes_on_its_own_upward_topics_only() {
        assert_eq!(published("pi", "lichen/1/pi/up/hello"), Some(Kind::Hello));
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
            assert_eq!(published("pi", refused), None, "{refused}");
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
        for (filter, scope, level) in [
            ("lichen/1/pi/down/#", Scope::Own, Level::Everything),
            ("lichen/1/pi/down/+", Scope::Own, Level::Any),
            ("lichen/1/pi/down/head", Scope::Own, Level::Only(Kind::Head)),
            ("lichen/1/all/down/#", Scope::All, Level::Everything),
            ("lichen/1/all/down/time", Scope::All, Level::Only(Kind::Time)),
        ] {
            assert_eq!(Filter::parse("pi", filter), Ok(Filter { scope, level }), "{filter}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_wrong_with_the_filter() {
        use SubscribeReasonCode::{
            NotAuthorized, SharedSubscriptionsNotSupported, TopicFilterInvalid,
            WildcardSubscriptionsNotSupported,
        };
        for (filter, code) in [
            ("#", WildcardSubscriptionsNotSupported),
            ("+/1/pi/down/#", WildcardSubscriptionsNotSupported),
            ("lichen/#", WildcardSubscriptionsNotSupported),
            ("lichen/1/+/down/#", WildcardSubscriptionsNotSupported),
            ("lichen/1/pi/#", WildcardSubscriptionsNotSupported),
            ("lichen/1/pi/+/head", WildcardSubscriptionsNotSupported),
            ("lichen/1/pi/up/#", NotAuthorized),
            ("lichen/1/pi/down", NotAuthorized),
            ("lichen/1/pi/down/", NotAuthorized),
            ("lichen/1/pi/down/unheard-of", NotAuthorized),
            ("lichen/1/pi-2/down/#", NotAuthorized),
            ("lichen/1/p/down/#", NotAuthorized),
            ("lichen/1/all/#", NotAuthorized),
            ("$exclusive/lichen/1/pi/down/#", NotAuthorized),
            ("$SYS/#", NotAuthorized),
            ("$share/g/lichen/1/pi/down/#", SharedSubscriptionsNotSupported),
            ("lichen/1/pi/down/#/more", TopicFilterInvalid),
            ("lichen/1/pi/down/a#", TopicFilterInvalid),
            ("", TopicFilterInvalid),
        ] {
            assert_eq!(Filter::parse("pi", filter), Err(code), "{filter}");
        }
    }
}
