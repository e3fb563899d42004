//! Keeps the membership up: one task that sleeps until [`lichen_agent_core::membership::upkeep`] says that something is due, or the link says that
//! something is wrong, and then calls the hub once.

use std::{sync::Arc, time::Instant as StdInstant};

use firmware_compat::{
    enrolment::{RenewRequest, Text},
    id::{AgentId, BootId},
    time::Instant,
};
use lichen_agent_core::membership::upkeep::{Outcome, Sign, Step, Upkeep};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, spawn_blocking},
    time::sleep,
};

use super::{Membership, MembershipError};
use crate::{
    hub::HubError,
    identity::KeyError,
    message::{Message, Sender},
    random,
    runtime::chain,
};

/// Signs on their way to the task. One that finds no room adds nothing to those before it.
const SIGNS: usize = 4;

/// Which board speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Board {
    /// Of the state directory.
    pub agent: AgentId,
    /// Of the running kernel. A cloned card has one agent id on two boards.
    pub boot: BootId,
}

/// The running task. It ends with this value.
#[derive(Debug)]
pub struct Keeper {
    signs: mpsc::Sender<Sign>,
    task: AbortHandle,
}

impl Keeper {
    /// Starts it. It tells the loop when something of the membership has changed.
    #[must_use]
    pub fn start(membership: Arc<Membership>, board: Board, messages: Sender) -> Self {
        let (signs, seen) = mpsc::channel(SIGNS);
        let call = Call { membership, board };
        let task = tokio::spawn(keep(call, seen, messages)).abort_handle();
        Self { signs, task }
    }

    /// The link says something.
    pub fn saw(&self, sign: Sign) {
        let _full_or_ended = self.signs.try_send(sign);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Membership(#[from] MembershipError),
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// One call to the hub, on a thread of its own.
#[derive(Clone)]
struct Call {
    membership: Arc<Membership>,
    board: Board,
}

impl Call {
    /// True if something has changed.
    fn ask(&self) -> Result<bool, CallError> {
        let said = self.membership.hub().connect()?;
        if self.membership.is_foreign(&said) {
            tracing::warn!(
                lineage = %said.lineage,
                "the hub that answers is not the one that this device follows, or has another signing key: what it says \
                 is refused and everything runs on; start the agent once with --adopt-hub to follow it"
            );
        }
        Ok(self.membership.learned(&said)?)
    }

    fn renew(&self) -> Result<bool, CallError> {
        let identity = self.membership.identity();
        let request = RenewRequest {
            csr: Text::cut(&identity.keys.request()?),
            sealing_key: identity.keys.sealing_key(),
            agent: self.board.agent,
            boot: self.board.boot,
        };
        self.membership.renewed(&self.membership.hub().renew(&request)?)?;
        Ok(true)
    }
}

async fn keep(call: Call, mut seen: mpsc::Receiver<Sign>, messages: Sender) {
    let start = StdInstant::now();
    let now = || Instant(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
    let renewal = || call.membership.identity().renew_at_s(random::number());
    let mut upkeep = Upkeep::new(renewal(), call.membership.may_adopt(), now());
    let mut told = String::new();
    loop {
        let step = upkeep.next(now(), call.membership.time().now_unix_s());
        let what = match step {
            Step::Wait(time) => {
                tokio::select! {
                    () = sleep(time) => {}
                    sign = seen.recv() => match sign {
                        Some(sign) => {
                            upkeep.saw(sign);
                            if call.membership.takes_news() {
                                upkeep.saw_news(now(), random::number());
                            }
                        }
                        None => return,
                    },
                }
                continue;
            }
            Step::Ask => Call::ask as fn(&Call) -> Result<bool, CallError>,
            Step::Renew => Call::renew,
        };
        let calling = call.clone();
        let Ok(result) = spawn_blocking(move || what(&calling)).await else { return };
        tell(step, &result, &mut told);
        let outcome = match &result {
            Ok(_) => Outcome::Done,
            Err(CallError::Hub(error)) => outcome_of(error),
            Err(CallError::Membership(_) | CallError::Key(_)) => Outcome::InVain,
        };
        match step {
            Step::Renew => upkeep.renewed(outcome, renewal(), now(), random::number()),
            _ => {
                upkeep.asked(outcome, now(), random::number());
                if matches!(result, Ok(true)) {
                    upkeep.renew_at(renewal());
                }
            }
        }
        if matches!(result, Ok(true)) && messages.send(Message::MembershipChanged).await.is_err() {
            return;
        }
    }
}

/// How a call went that failed.
fn outcome_of(error: &HubError) -> Outcome {
    match error {
        HubError::NotAuthenticated { .. } => Outcome::NotAuthenticated,
        HubError::Refused { .. } | HubError::NotFound { .. } => Outcome::Refused,
        HubError::Unreachable { .. }
        | HubError::Impostor { .. }
        | HubError::Busy { .. }
        | HubError::Answer { .. }
        | HubError::Corrupt { .. }
        | HubError::Cancelled
        | HubError::Disk { .. } => Outcome::InVain,
    }
}

/// One line per new trouble, not one per attempt.
fn tell(step: Step, result: &Result<bool, CallError>, told: &mut String) {
    let text = match (step, result) {
        (Step::Renew, Ok(_)) => {
            tracing::info!("the certificate was renewed");
            String::new()
        }
        (_, Ok(true)) => {
            tracing::info!("the hub's addresses, CAs or broker have changed");
            String::new()
        }
        (_, Ok(false)) => String::new(),
        (_, Err(error)) => chain(error),
    };
    if text == *told {
        return;
    }
    *told = text;
    match result {
        Ok(_) => {}
        Err(CallError::Hub(HubError::NotAuthenticated { .. })) if step == Step::Ask => {
            tracing::info!(why = told, "the certificate is to be renewed");
        }
        Err(CallError::Hub(HubError::Refused { .. } | HubError::NotAuthenticated { .. })) => {
            tracing::error!(
                why = told,
                "the hub does not take this device, and says why. Pods run on. Only if it says to join again: remove the \
                 file identity/hub.json in the state directory, which keeps the keys, and run lichen-agent join with a \
                 new token"
            );
        }
        Err(CallError::Hub(HubError::Impostor { .. })) => {
            tracing::error!(
                why = told,
                "no hub is believed there. Pods run on. If the hub has changed its CA while this device was away: on the \
                 hub, lichen token create; here, remove the file identity/hub.json in the state directory, which keeps \
                 the keys, and run lichen-agent join with the token"
            );
        }
        Err(CallError::Hub(HubError::Unreachable { .. } | HubError::Busy { .. })) => {
            tracing::info!("{told}");
        }
        Err(_) => tracing::warn!("{told}"),
    }
}
