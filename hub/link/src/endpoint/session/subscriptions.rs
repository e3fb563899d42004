//! What a device wants to hear, and with which QoS.

use firmware_compat::frame::Kind;
use rumqttc::{QoS, RetainForwardRule, SubscribeFilter, SubscribeReasonCode, UnsubAckReason};

use crate::endpoint::{
    access::{Filter, Scope},
    limits::MAX_SUBSCRIPTIONS,
};

#[derive(Clone, Copy, Debug)]
struct Subscription {
    filter: Filter,
    granted: Granted,
}

/// What was granted to a subscription, or to several together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) qos: QoS,
    /// Whether messages keep the retain flag that they were published with.
    pub(super) as_published: bool,
}

/// The outcome of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) qos: QoS,
    /// The newest head is to be sent in answer.
    pub(super) wants_head: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Subscriptions(Vec<Subscription>);

impl Subscriptions {
    /// Adds one, or replaces that of the same filter.
    ///
    /// # Errors
    /// What the SUBACK says instead.
    pub(super) fn add(
        &mut self,
        device: &str,
        asked: &SubscribeFilter,
    ) -> Result<Added, SubscribeReasonCode> {
        let filter = Filter::parse(device, &asked.path)?;
        let known = self.0.iter().position(|known| known.filter == filter);
        if known.is_none() && self.0.len() >= MAX_SUBSCRIPTIONS {
            return Err(SubscribeReasonCode::QuotaExceeded);
        }
        let qos = match asked.qos {
            QoS::AtMostOnce => QoS::AtMostOnce,
            QoS::AtLeastOnce | QoS::ExactlyOnce => QoS::AtLeastOnce,
        };
        let granted = Granted { qos, as_published: asked.preserve_retain };
        match known {
            Some(index) => self.0[index].granted = granted,
            None => self.0.push(Subscription { filter, granted }),
        }
        let answers = match asked.retain_forward_rule {
            RetainForwardRule::OnEverySubscribe => true,
            RetainForwardRule::OnNewSubscribe => known.is_none(),
            RetainForwardRule::Never => false,
        };
        Ok(Added { qos, wants_head: answers && filter.covers(Scope::Own, Kind::Head) })
    }

    /// Removes one.
    pub(super) fn remove(&mut self, device: &str, filter: &str) -> UnsubAckReason {
        let Ok(filter) = Filter::parse(device, filter) else {
            return UnsubAckReason::NoSubscriptionExisted;
        };
        let before = self.0.len();
        self.0.retain(|known| known.filter != filter);
        if self.0.len() < before {
            UnsubAckReason::Success
        } else {
            UnsubAckReason::NoSubscriptionExisted
        }
    }

    /// What a message is sent with, if it is asked for: once, with the most that overlapping subscriptions grant.
    pub(super) fn asks_for(&self, scope: Scope, kind: Kind) -> Option<Granted> {
        let covering = self.0.iter().filter(|known| known.filter.covers(scope, kind));
        covering.map(|known| known.granted).reduce(|one, other| Granted {
            qos: if one.qos == QoS::AtLeastOnce { one.qos } else { other.qos },
            as_published: one.as_published || other.as_published,
        })
    }
}
