//! A name that another agent took: the hub is asked now and then whether it is free again.

use std::{sync::Arc, time::Duration};

use firmware_compat::enrolment::Holder;
use lichen_agent_core::Event;
use tokio::task::{AbortHandle, spawn_blocking};

use super::{LinkConfig, jitter};
use crate::{
    membership::keeper::Board,
    message::{Message, Sender},
};

/// How soon the hub is asked, and the pause that doubling ends at: an answer is some kilobytes on a metered link, and the
/// other one may stay for good.
const POLL_FIRST: Duration = Duration::from_secs(60);
const POLL_LONGEST: Duration = Duration::from_secs(3600);

/// Asks the hub now and then who has this device's name, until nobody else has it; then says
/// [`Event::NameFree`] once.
pub fn poll_name(config: Arc<LinkConfig>, messages: Sender) -> AbortHandle {
    let poll = async move {
        let mut pause = POLL_FIRST;
        loop {
            tokio::time::sleep(pause / 2 + jitter(pause / 2)).await;
            pause = (pause * 2).min(POLL_LONGEST);
            let (hub, board) = (config.membership.hub(), config.board);
            match spawn_blocking(move || hub.session(board)).await {
                Ok(Ok(holder)) if !is_another(&holder, config.board) => break,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::debug!(%error, "could not ask who has the name"),
                Err(_shutting_down) => return,
            }
        }
        let _loop_gone = messages.send(Message::Happened(Event::NameFree)).await;
    };
    tokio::spawn(poll).abort_handle()
}

/// Whether somebody else is connected under this device's name. A cloned card is one agent on two boards, so the agent's id
/// alone does not tell: whoever lost the name stays away until the other board is gone, or both would take it from each
/// other for ever.
pub(super) fn is_another(holder: &Holder, board: Board) -> bool {
    let other_agent = holder.agent.is_some_and(|agent| agent != board.agent);
    let other_board = holder.boot.is_some_and(|boot| boot != board.boot);
    other_agent || other_board
}

#[cfg(test)]
mod tests {
    use firmware_compat::id::{AgentId, BootId};

    use super::*;

    #[test]
    fn a_clone_is_another_one_though_its_agent_is_the_same() {
        let own = Board { agent: AgentId([1; 16]), boot: BootId([1; 16]) };
        let (us, others) = (Some(own.agent), Some(AgentId([2; 16])));
        let (here, there) = (Some(own.boot), Some(BootId([2; 16])));
        for (agent, boot, expected) in [
            (None, None, false),
            (us, here, false),
            // A hub that does not know the boot yet.
            (us, None, false),
            (us, there, true),
            (others, None, true),
            (others, there, true),
        ] {
            assert_eq!(is_another(&Holder { agent, boot }, own), expected, "{agent:?} {boot:?}");
        }
    }
}
