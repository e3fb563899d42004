//! A name that another agent took: the hub is asked now and then whether it is free again.

use std::{sync::Arc, time::Duration};

use lichen_agent_core::Event;
use tokio::task::{AbortHandle, spawn_blocking};

use super::{LinkConfig, jitter};
use crate::{
    hub,
    message::{Message, Sender},
};

/// How often the hub is asked.
const NAME_POLL: Duration = Duration::from_secs(60);

/// Asks the hub now and then who has this device's name, until nobody else has it; then says
/// [`Event::NameFree`] once.
pub fn poll_name(config: Arc<LinkConfig>, messages: Sender) -> AbortHandle {
    let poll = async move {
        loop {
            tokio::time::sleep(NAME_POLL / 2 + jitter(NAME_POLL / 2)).await;
            let (hub, name) = (config.hub.clone(), config.name.clone());
            let holder = spawn_blocking(move || hub::session(&hub, &name)).await;
            match holder {
                Ok(Ok(holder)) if holder.is_none_or(|agent| agent == config.agent) => break,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::debug!(%error, "could not ask who has the name"),
                Err(_shutting_down) => return,
            }
        }
        let _loop_gone = messages.send(Message::Happened(Event::NameFree)).await;
    };
    tokio::spawn(poll).abort_handle()
}
