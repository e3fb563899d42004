//! One hollow device: the agent's core, its link, and the loop that the agent's shell has around them.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant as StdInstant},
};

use firmware_compat::{time::Instant, v1::owned::Hello};
use lichen_agent::{
    link::{self, Link, LinkConfig},
    membership::{Membership, keeper::Board},
    message::{Message, Sender},
    options::KEEP_ALIVE,
    signature,
};
use lichen_agent_core::{Agent, Config, Effect, Event, Loaded, event::Found};
use tokio::{sync::mpsc::Receiver, task::AbortHandle};

use crate::machine::{Counts, Machine, unix_ms};

/// Who a device is, and what it shares with the others.
#[derive(Debug)]
pub struct Identity {
    /// What it says of itself.
    pub hello: Hello,
    /// As a device has it that joined before.
    pub membership: Arc<Membership>,
}

/// The core and everything that it moves.
pub struct Device {
    agent: Agent,
    link: Link,
    messages: Sender,
    machine: Arc<Machine>,
    counts: Arc<Counts>,
    name_poll: Option<AbortHandle>,
    start: StdInstant,
    ended: bool,
}

impl Device {
    /// A device that has just booted, with nothing on its disk but its identity.
    #[must_use]
    pub fn boot(
        identity: Identity,
        seed: u64,
        machine: Arc<Machine>,
        counts: Arc<Counts>,
        messages: Sender,
    ) -> Self {
        let Identity { hello, membership } = identity;
        let board = Board { agent: hello.agent, boot: hello.boot };
        let (name, hub) = (membership.name(), Some(membership.pinned()));
        let link = LinkConfig::new(membership, board, KEEP_ALIVE);
        let config = Config { hello, name, hub, verify: signature::verify, time_floor_ms: 0 };
        Self {
            agent: Agent::new(config, Loaded::default(), seed),
            link: Link::new(Some(link), messages.clone()),
            messages,
            machine,
            counts,
            name_poll: None,
            start: StdInstant::now(),
            ended: false,
        }
    }

    fn now(&self) -> Instant {
        Instant(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Runs until its task is aborted.
    pub async fn run(mut self, mut received: Receiver<Message>) {
        self.handle(Event::Clock { unix_ms: unix_ms() });
        self.handle(Event::Found(Found::default()));
        self.carry_out();
        while !self.ended {
            let wake = self.agent.poll_timeout().map(|(at, _)| at.since(self.now()));
            tokio::select! {
                message = received.recv() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                () = sleep(wake) => self.agent.handle_timeout(self.now()),
            }
            self.carry_out();
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.now();
        self.agent.handle(event, now);
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Happened(event) => self.handle(event),
            Message::LinkUp { client, session } => {
                if self.link.up(client, session) {
                    self.counts.connects.fetch_add(1, Relaxed);
                    self.counts.connected.fetch_add(1, Relaxed);
                    self.handle(Event::LinkUp { session });
                }
            }
            Message::LinkDown { client, taken_over, refused, .. } => {
                let was_up = self.link.is_up();
                if self.link.down(client, refused) {
                    if was_up {
                        self.counts.connected.fetch_sub(1, Relaxed);
                    }
                    self.handle(if taken_over { Event::TakenOver } else { Event::LinkDown });
                }
            }
            Message::MembershipChanged => self.link.hurry(),
            // Said by parts of the shell that a hollow device has not.
            Message::Probed(_)
            | Message::ProbeIsSlow
            | Message::Prepared { .. }
            | Message::Asked { .. }
            | Message::Measured { .. }
            | Message::Reply { .. } => {}
        }
    }

    fn carry_out(&mut self) {
        loop {
            let effects: Vec<Effect> = self.agent.drain().collect();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.carry_out_one(effect);
            }
        }
    }

    fn carry_out_one(&mut self, effect: Effect) {
        match effect {
            Effect::Send(up) => {
                if !self.link.send(&up) {
                    self.handle(Event::SendFailed(up));
                }
            }
            Effect::Connect => {
                if let Some(poll) = self.name_poll.take() {
                    poll.abort();
                    self.counts.away.fetch_sub(1, Relaxed);
                }
                self.link.connect();
            }
            Effect::Disconnect => {
                self.counts.away.fetch_add(1, Relaxed);
                self.link.disconnect();
                let config = self.link.config();
                self.name_poll = config.map(|own| link::poll_name(own, self.messages.clone()));
            }
            // Kept in memory, as the identity is.
            Effect::PinHub(hub) => self.handle(Event::HubPinned(hub)),
            Effect::Quit => self.ended = true,
            effect => {
                if let Some(event) = self.machine.perform(&effect, &self.counts) {
                    self.handle(event);
                }
            }
        }
    }
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
