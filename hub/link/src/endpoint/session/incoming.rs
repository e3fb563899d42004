//! What the device says once it is in: messages, subscriptions, pings, and what the standard does not allow.

use firmware_compat::{frame::MAX_FRAME_BYTES, time::Instant};
use rumqttc::{
    DisconnectReasonCode as Reason, Packet, PubAck, PubAckReason, Publish, QoS, SubAck, Subscribe,
    SubscribeReasonCode, UnsubAck, Unsubscribe,
};

use super::{Session, State, Step};
use crate::endpoint::{access, paced::clipped};

impl Session {
    pub(super) fn on_packet(&mut self, packet: Packet, now: Instant) -> Option<Step> {
        let open = match &mut self.state {
            State::Waiting { .. } => {
                self.on_connect(packet, now);
                return None;
            }
            State::Open(open) => open,
            State::Admitted(_) | State::Ended { .. } => return None,
        };
        open.window.heard(now);
        match packet {
            Packet::Publish(publish) => return self.on_publish(publish, now),
            Packet::PubAck(puback) => open.window.acknowledged(puback.pkid, now),
            Packet::Subscribe(subscribe) => self.on_subscribe(subscribe, now),
            Packet::Unsubscribe(unsubscribe) => self.on_unsubscribe(unsubscribe, now),
            Packet::PingReq => self.write(Packet::PingResp, now),
            Packet::Disconnect(disconnect) => {
                let clean = disconnect.reason_code == Reason::NormalDisconnection;
                let will = open.will.take().filter(|_| !clean);
                self.state = State::Ended { will };
            }
            Packet::Connect(..) => self.violated("a second CONNECT", now),
            Packet::Auth(_) => self.violated("an AUTH, though no method was agreed on", now),
            Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) => {
                self.violated("a packet of QoS 2, which is not in use", now);
            }
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                self.violated("a packet that only servers send", now)
            }
        }
        None
    }

    fn violated(&mut self, what: &str, now: Instant) {
        self.end_because(Reason::ProtocolError, what, now);
    }

    fn on_publish(&mut self, publish: Publish, now: Instant) -> Option<Step> {
        let State::Open(open) = &mut self.state else { return None };
        let properties = publish.properties.as_ref();
        if publish.qos == QoS::ExactlyOnce {
            self.end_because(Reason::QoSNotSupported, "QoS 2 is not supported; use 1", now);
            return None;
        }
        if properties.is_some_and(|properties| properties.topic_alias.is_some()) {
            self.end_because(Reason::TopicAliasInvalid, "topic aliases are not supported", now);
            return None;
        }
        if properties.is_some_and(|properties| !properties.subscription_identifiers.is_empty()) {
            self.violated("a message with a subscription identifier", now);
            return None;
        }
        if publish.topic.is_empty() {
            self.violated("a message without a topic", now);
            return None;
        }
        let topic = str::from_utf8(&publish.topic).unwrap_or_default();
        let kind = access::published(&open.device, topic);
        let (Some(kind), false) = (kind, publish.retain) else {
            tracing::debug!(
                device = &*open.device,
                topic = clipped(topic),
                retain = publish.retain,
                "refused a message: a device publishes on its own upward topics, and retains nothing"
            );
            self.tally.refused += 1;
            self.acknowledge(publish.pkid, PubAckReason::NotAuthorized, now);
            return None;
        };
        if publish.payload.len() > MAX_FRAME_BYTES {
            self.tally.dropped += 1;
            self.acknowledge(publish.pkid, PubAckReason::QuotaExceeded, now);
            return None;
        }
        open.acknowledge = publish.pkid;
        open.handing_over = true;
        Some(Step::Frame { kind, bytes: publish.payload })
    }

    /// The engine has taken the frame at hand, or has not. Until now nothing was read or written: that time is the hub's,
    /// and none of the device's deadlines counts it.
    pub fn taken(&mut self, taken: bool, now: Instant) {
        let State::Open(open) = &mut self.state else { return };
        if std::mem::take(&mut open.handing_over) {
            open.window.heard(now);
            self.heard = now;
            self.wrote = now;
            let packet = std::mem::take(&mut open.acknowledge);
            let reason = if taken { PubAckReason::Success } else { PubAckReason::QuotaExceeded };
            self.acknowledge(packet, reason, now);
        }
    }

    fn acknowledge(&mut self, pkid: u16, reason: PubAckReason, now: Instant) {
        if pkid != 0 {
            self.write(Packet::PubAck(PubAck { pkid, reason, properties: None }), now);
        }
    }

    fn on_subscribe(&mut self, subscribe: Subscribe, now: Instant) {
        let State::Open(open) = &mut self.state else { return };
        if subscribe.properties.is_some_and(|properties| properties.id.is_some()) {
            let why = "subscription identifiers are not supported";
            return self.end_because(Reason::SubscriptionIdentifiersNotSupported, why, now);
        }
        let mut return_codes = Vec::new();
        for asked in &subscribe.filters {
            match open.subscriptions.add(&open.device, asked) {
                Ok(added) => {
                    open.wants_head |= added.wants_head;
                    return_codes.push(SubscribeReasonCode::Success(added.qos));
                }
                Err(code) => {
                    let (device, filter) = (&*open.device, clipped(&asked.path));
                    tracing::debug!(device, filter, ?code, "refused a subscription");
                    self.tally.refused += 1;
                    return_codes.push(code);
                }
            }
        }
        let pkid = subscribe.pkid;
        self.write(Packet::SubAck(SubAck { pkid, return_codes, properties: None }), now);
    }

    pub(super) fn ask_head(&mut self) -> Option<Step> {
        let State::Open(open) = &mut self.state else { return None };
        open.wants_head = false;
        Some(Step::Head)
    }

    fn on_unsubscribe(&mut self, unsubscribe: Unsubscribe, now: Instant) {
        let State::Open(open) = &mut self.state else { return };
        if unsubscribe.filters.is_empty() {
            return self.violated("an UNSUBSCRIBE without a filter", now);
        }
        let remove = |filter: &String| open.subscriptions.remove(&open.device, filter);
        let reasons = unsubscribe.filters.iter().map(remove).collect();
        let pkid = unsubscribe.pkid;
        self.write(Packet::UnsubAck(UnsubAck { pkid, reasons, properties: None }), now);
    }
}
