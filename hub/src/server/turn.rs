//! The one task that owns the engine. It takes what is queued, up to a bound, into one turn; commits what the turn
//! wants saved; and only then lets anything leave: frames to the link, changes and answers to [`super::publish`].
//!
//! It runs on a thread of its own, so that the commit (an fsync) delays nobody but those who wait for it.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Instant};

use lichen_hub_core::{
    actor::{Actor, Origin},
    api::{ApiError, KINDS, Kind},
    effect::{Effect, LogPart, Response},
    engine::Engine,
    event::{Board, Event, Request, RequestId},
};
use lichen_link::{Endpoint, Link, LinkEvent, Newcomer};
use tokio::sync::{mpsc, oneshot};

use super::{
    access::Access,
    audit::{Recorder, entry_of},
    clock::Clock,
    handle::Input,
    metrics::Counters,
    publish::Batch,
    state_lock::StateLock,
    supply::Supplier,
    watch_cache::WatchCache,
};
use crate::{
    audit::Entry,
    store::{Store, StoreError},
};

/// Events that one turn takes. Enough that one commit serves a burst, few enough that a burst delays no answer much.
const TURN_EVENTS: usize = 256;
/// The turn's own requests; see [`super::handle::EngineHandle::new`].
const OWN_REQUEST: RequestId = RequestId(0);

/// A link and what it reports, handed to the turn together so that no report is heard before the link can be used.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) link: Link,
    /// The device port, if it is not the link itself: MQTT goes by an operator's broker.
    pub(crate) port: Option<Endpoint>,
    pub(crate) events: mpsc::Receiver<LinkEvent>,
}

/// The engine, and everything that its effects need.
pub(crate) struct Turn {
    pub(crate) engine: Engine,
    pub(crate) store: Box<dyn Store>,
    pub(crate) clock: Clock,
    /// Where changes and answers go, once there is somebody to ask and to watch.
    pub(crate) publish: Option<mpsc::Sender<Batch>>,
    pub(crate) batch: Batch,
    pub(crate) supplier: Supplier,
    pub(crate) counters: Arc<Counters>,
    pub(crate) audit: Recorder,
    pub(crate) inputs: mpsc::Receiver<Input>,
    pub(crate) waiting: HashMap<RequestId, oneshot::Sender<Result<Response, ApiError>>>,
    pub(crate) logs: HashMap<RequestId, mpsc::Sender<LogPart>>,
    pub(crate) link: Option<Link>,
    pub(crate) port: Option<Endpoint>,
    /// Who may come in, as long as nobody can.
    pub(crate) admissions: Vec<Effect>,
    pub(crate) link_events: Option<mpsc::Receiver<LinkEvent>>,
    /// Which queue is next, when both have something.
    pub(crate) link_first: bool,
    /// Let go last.
    pub(crate) _lock: StateLock,
}

/// What woke the task.
enum Wake {
    Input(Option<Input>),
    Link(Option<LinkEvent>),
    Attached(Option<Attached>),
    Timeout,
}

impl Turn {
    /// The first turn, before anybody can ask: saves what loading changed, and fills the cache.
    pub(crate) fn begin(&mut self, cache: &WatchCache, access: &Access) -> Result<(), StoreError> {
        self.carry_out_all()?;
        while self.engine.has_more() {
            self.carry_out_all()?;
        }
        // The lists hold what loading changed.
        self.batch = Batch::default();
        for kind in KINDS.iter().copied() {
            let request = Request::List { kind, namespace: None };
            let (reply, _) = oneshot::channel();
            self.waiting.insert(OWN_REQUEST, reply);
            self.handle(Event::Request { id: OWN_REQUEST, actor: Actor::hub().into(), request });
            self.carry_out_all()?;
            let batch = std::mem::take(&mut self.batch);
            for (_, answer) in batch.answers {
                if let Ok(Response::List(listing)) = answer {
                    access.seed(&listing);
                    cache.seed(kind, listing);
                }
            }
            // What became due meanwhile may be of a kind that is in the cache already.
            access.take_in(&batch.changes);
            cache.take_in(batch.changes);
        }
        Ok(())
    }

    /// Turns until it is told to stop, or nothing can be let out any more. An error means that the store has failed: memory and store differ, and the
    /// process must end.
    pub(crate) async fn run(
        mut self,
        attach: oneshot::Receiver<Attached>,
    ) -> Result<(), StoreError> {
        let mut attach = Some(attach);
        loop {
            let wake = self.wait(&mut attach).await;
            let mut stopping = self.take(wake);
            for _ in 1..TURN_EVENTS {
                match self.queued() {
                    Some(wake) => stopping |= self.take(wake),
                    None => break,
                }
            }
            self.carry_out_all()?;
            let published = self.let_out().await;
            if !published {
                tracing::error!("the hub has to end: the thread that publishes changes has ended");
            }
            if stopping || !published {
                return self.end().await;
            }
        }
    }

    async fn end(mut self) -> Result<(), StoreError> {
        self.inputs.close();
        self.waiting.clear();
        self.logs.clear();
        self.publish = None;
        if let Some(link) = self.link.take() {
            link.shutdown().await;
        }
        if let Some(port) = self.port.take() {
            port.shutdown().await;
        }
        Ok(())
    }

    async fn wait(&mut self, attach: &mut Option<oneshot::Receiver<Attached>>) -> Wake {
        let wake_at = self.engine.poll_timeout().and_then(|at| self.clock.at(at));
        tokio::select! {
            input = self.inputs.recv() => Wake::Input(input),
            event = next(&mut self.link_events) => Wake::Link(event),
            attached = attached(attach) => {
                *attach = None;
                Wake::Attached(attached)
            }
            () = until(wake_at) => Wake::Timeout,
        }
    }

    /// Something that waits already, from each queue in turn: neither keeps the other out.
    fn queued(&mut self) -> Option<Wake> {
        self.link_first = !self.link_first;
        if self.link_first {
            self.queued_event().or_else(|| self.queued_input())
        } else {
            self.queued_input().or_else(|| self.queued_event())
        }
    }

    fn queued_input(&mut self) -> Option<Wake> {
        self.inputs.try_recv().ok().map(|input| Wake::Input(Some(input)))
    }

    fn queued_event(&mut self) -> Option<Wake> {
        let event = self.link_events.as_mut()?.try_recv().ok()?;
        Some(Wake::Link(Some(event)))
    }

    /// Hands one thing to the engine. True means that the task is to stop.
    fn take(&mut self, wake: Wake) -> bool {
        match wake {
            Wake::Input(None | Some(Input::Stop)) => return true,
            Wake::Input(Some(Input::Ask { id, actor, request, reply, log })) => {
                self.waiting.insert(id, reply);
                if let Some(log) = log {
                    self.logs.insert(id, log);
                }
                self.handle(Event::Request { id, actor, request: *request });
            }
            Wake::Input(Some(Input::LogLeft(id))) => {
                if self.logs.remove(&id).is_some() {
                    self.cancel_log(id);
                }
            }
            Wake::Input(Some(Input::Supplied { need, result })) => {
                self.handle(Event::Supplied { need, result });
            }
            Wake::Input(Some(Input::Signer(signer))) => self.handle(Event::Signer(signer)),
            Wake::Attached(Some(Attached { link, port, events })) => {
                self.link = Some(link);
                self.port = port;
                self.link_events = Some(events);
                for admission in std::mem::take(&mut self.admissions) {
                    self.admit(admission);
                }
            }
            // Whoever starts the hub has given up on the link, and will stop the task.
            Wake::Attached(None) => {}
            Wake::Link(Some(event)) => self.take_link_event(event),
            Wake::Link(None) => {
                self.link_events = None;
                self.counters.set_link_up(false);
                self.handle(Event::LinkDown { reason: "the link has ended".to_owned() });
            }
            Wake::Timeout => self.handle(Event::Timeout),
        }
        false
    }

    fn take_link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up => {
                self.counters.set_link_up(true);
                self.handle(Event::LinkUp);
            }
            LinkEvent::Down { reason } => {
                self.counters.set_link_up(false);
                self.handle(Event::LinkDown { reason });
            }
            // A device's hello says more, and comes with it.
            LinkEvent::Connected { .. } => {}
            LinkEvent::Disconnected { device } => self.handle(Event::Disconnected { device }),
            // An agent that came back before its old connection was noticed as broken is no second device.
            LinkEvent::TakenOver { newcomer: Newcomer::SameAgent, .. } => {}
            LinkEvent::TakenOver { device, .. } => self.handle(Event::TakenOver { device }),
            LinkEvent::TwoBoards { device, boards } => {
                self.kept_out(&device, boards[1].address, "a second board with its name and key");
                let boards = boards.map(|board| Board {
                    agent: board.agent,
                    boot: board.boot,
                    address: board.address.ip().to_string(),
                });
                self.handle(Event::TwoBoards { device, boards });
            }
            // The endpoint has told it what to do, and the log of it. Nobody becomes a device by trying.
            LinkEvent::Stranger { device, key, address, .. } => {
                self.kept_out(
                    &device,
                    address,
                    "it is not enrolled, or with another key, or revoked",
                );
                let address = address.ip().to_canonical().to_string();
                self.handle(Event::Stranger { device, key, address });
            }
            LinkEvent::Lost { device } => self.handle(Event::FramesLost { device }),
            LinkEvent::Frame { device, kind, bytes } => {
                self.handle(Event::Frame { device, kind, bytes });
            }
        }
    }

    /// A device that has tried to connect, and may not.
    fn kept_out(&self, device: &str, from: SocketAddr, why: &str) {
        let actor = Actor::device(device, Origin::Address(from));
        let (verb, resource) = ("connect".to_owned(), Kind::Node.plural().to_owned());
        let (name, note) = (device.to_owned(), format!("kept out: {why}"));
        let entry = Entry { verb, resource, name, note, code: 403, ..entry_of(Some(&actor), None) };
        self.audit.refused(&actor.name, entry);
    }

    fn handle(&mut self, event: Event) {
        self.engine.handle(event, self.clock.now());
    }

    fn cancel_log(&mut self, id: RequestId) {
        let (id, request) = (OWN_REQUEST, Request::CancelLogs(id));
        self.handle(Event::Request { id, actor: Actor::hub().into(), request });
    }

    /// Ends the turn: what must be durable first, what leaves after. Carrying out may have made a new event (a reader
    /// too slow for its log), which makes another turn. So does what the engine has put off; before that others are
    /// heard.
    fn carry_out_all(&mut self) -> Result<(), StoreError> {
        loop {
            let effects = self.engine.drain();
            if effects.is_empty() {
                return Ok(());
            }
            for effect in effects {
                self.carry_out(effect)?;
            }
            if self.engine.has_more() {
                return Ok(());
            }
        }
    }

    /// What may leave goes on its way. False if it can't, and never will: readers would see an old state for ever.
    async fn let_out(&mut self) -> bool {
        let batch = std::mem::take(&mut self.batch);
        match &self.publish {
            Some(publish) if !batch.is_empty() => publish.send(batch).await.is_ok(),
            _ => true,
        }
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), StoreError> {
        match effect {
            Effect::Save(records) => {
                let started = Instant::now();
                self.store.commit(&records)?;
                self.counters.committed(records.len(), started.elapsed());
            }
            Effect::Reply { id, result } => self.reply(id, result),
            Effect::Changed(change) => self.batch.changes.push(change),
            Effect::Supply(need) => self.supplier.supply(need),
            Effect::LogPart { id, part } => self.pass_on(id, part),
            Effect::SetHead { device, frame } => {
                self.with_link(|link| link.set_head(&device, frame));
            }
            Effect::ClearHead { device } => self.with_link(|link| link.clear_head(&device)),
            Effect::Send { device, kind, frame } => {
                // A frame that is dropped is asked for again by its device, or said again by the engine.
                self.with_link(|link| _ = link.send(&device, kind, frame));
            }
            Effect::SendAll { kind, frame } => self.with_link(|link| link.send_all(kind, frame)),
            Effect::Admit { .. } | Effect::Dismiss { .. } | Effect::Disown { .. } => {
                self.admit(effect);
            }
        }
        Ok(())
    }

    /// Tells the link, and the device port if that is another one, who may come in. Before there is one, it waits.
    fn admit(&mut self, admission: Effect) {
        let Some(link) = &self.link else { return self.admissions.push(admission) };
        let port = self.port.as_ref();
        match admission {
            Effect::Admit { device, keys } => {
                link.admit(&device, &keys);
                port.inspect(|port| port.admit(&device, &keys));
            }
            Effect::Dismiss { device, why } => {
                link.dismiss(&device, &why);
                port.inspect(|port| port.dismiss(&device, &why));
            }
            Effect::Disown { device } => {
                link.forget(&device);
                port.inspect(|port| port.forget(&device));
            }
            _ => {}
        }
    }

    /// Before there is a link nothing is lost: the engine sends again what matters when the link comes up.
    fn with_link(&self, send: impl FnOnce(&Link)) {
        if let Some(link) = &self.link {
            send(link);
        }
    }

    fn reply(&mut self, id: RequestId, result: Result<Response, ApiError>) {
        if let Ok(Response::Metrics(_)) = &result {
            self.counters.set_store(self.store.sizes());
            if let Some(link) = &self.link {
                self.counters.set_link(link.counts());
            }
        }
        if result.is_err() {
            self.logs.remove(&id);
        }
        if let Some(asker) = self.waiting.remove(&id) {
            self.batch.answers.push((asker, result));
        }
    }

    /// Never waits: a reader that is too far behind is let go, and the device told to stop.
    fn pass_on(&mut self, id: RequestId, part: LogPart) {
        let Some(reader) = self.logs.get(&id) else { return };
        let last = !matches!(part, LogPart::Data(_));
        let behind = reader.try_send(part).is_err();
        if last || behind {
            self.logs.remove(&id);
        }
        if behind && !last {
            self.cancel_log(id);
        }
    }
}

async fn next(events: &mut Option<mpsc::Receiver<LinkEvent>>) -> Option<LinkEvent> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

async fn attached(attach: &mut Option<oneshot::Receiver<Attached>>) -> Option<Attached> {
    match attach {
        Some(attach) => attach.await.ok(),
        None => std::future::pending().await,
    }
}

async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
