//! The newest assignment head of every device, as the broker's store of retained messages. It is filled by the hub
//! alone: what devices publish as retained is not kept.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use firmware_compat::{
    frame::Kind,
    topic::{PREFIX, Topic},
};
use rmqtt::{
    Result,
    retain::RetainStorage,
    types::{Retain, TopicFilter, TopicName},
};

use super::{access, outbound};

/// Heads by device.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    frames: RwLock<HashMap<String, Vec<u8>>>,
}

impl Heads {
    pub(crate) fn set(&self, device: &str, frame: Vec<u8>) {
        self.frames
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(device.to_owned(), frame);
    }

    pub(crate) fn clear(&self, device: &str) {
        self.frames.write().unwrap_or_else(PoisonError::into_inner).remove(device);
    }

    fn get(&self, device: &str) -> Option<Vec<u8>> {
        self.frames.read().unwrap_or_else(PoisonError::into_inner).get(device).cloned()
    }

    fn len(&self) -> usize {
        self.frames.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The device whose head a subscription asks for, and that head.
    fn asked_for<'f>(&self, filter: &'f str) -> Option<(&'f str, Vec<u8>)> {
        let device = filter.strip_prefix(PREFIX)?.split('/').next()?;
        let level = access::own_down_level(device, filter)?;
        matches!(level, "#" | "+")
            .then_some(())
            .or_else(|| (level == Kind::Head.topic_level()).then_some(()))?;
        Some((device, self.get(device)?))
    }
}

/// The face of [`Heads`] towards the broker.
pub(crate) struct Storage(pub(crate) Arc<Heads>);

#[async_trait]
impl RetainStorage for Storage {
    fn enable(&self) -> bool {
        true
    }

    async fn set(
        &self,
        _topic: &TopicName,
        _retain: Retain,
        _expiry: Option<Duration>,
    ) -> Result<()> {
        Ok(())
    }

    async fn get(&self, filter: &TopicFilter) -> Result<Vec<(TopicName, Retain)>> {
        let Some((device, frame)) = self.0.asked_for(filter) else { return Ok(Vec::new()) };
        let topic = Topic::down(device, Kind::Head).to_string();
        let publish = outbound::message(&topic, frame, true);
        Ok(vec![(topic.into(), Retain { msg_id: None, from: outbound::from_heads(), publish })])
    }

    async fn count(&self) -> isize {
        isize::try_from(self.0.len()).unwrap_or(isize::MAX)
    }

    async fn max(&self) -> isize {
        isize::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_found_by_every_filter_that_covers_it_and_by_no_other() {
        let heads = Heads::default();
        heads.set("pi", b"1".to_vec());
        for covering in ["lichen/1/pi/down/#", "lichen/1/pi/down/+", "lichen/1/pi/down/head"] {
            assert_eq!(heads.asked_for(covering), Some(("pi", b"1".to_vec())), "{covering}");
        }
        for other in [
            "lichen/1/pi/down/body",
            "lichen/1/all/down/#",
            "lichen/1/pi-2/down/#",
            "#",
            "lichen/1/+/down/#",
        ] {
            assert_eq!(heads.asked_for(other), None, "{other}");
        }
    }

    #[test]
    fn a_head_is_replaced_and_cleared() {
        let heads = Heads::default();
        heads.set("pi", b"1".to_vec());
        heads.set("pi", b"2".to_vec());
        assert_eq!(heads.get("pi"), Some(b"2".to_vec()));
        heads.clear("pi");
        assert_eq!(heads.get("pi"), None);
    }
}
