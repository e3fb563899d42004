//! One connection of a device: moves bytes between a stream and its [`Session`], and carries out what that asks for. It
//! decides nothing.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use firmware_compat::{frame::Kind, time::Instant};
use lichen_hub_core::admission::roster::Verdict;
use lichen_trust::KnownTime;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Sleep, sleep_until, timeout},
};

use super::{
    doors::{Doors, Place},
    http::{Guestbook, HttpHandler},
    identity::{Credential, DeviceCertificate},
    limits::{LINGER, READ_BYTES},
    mailbox::{Order, Peer},
    paced::Paced,
    registry::{Entry, Registry},
    session::{Down, Rejection, Session, Step},
    strangers::Strangers,
    tls::poll_drain,
};
use crate::{
    LinkEvent,
    event::{Counters, Reporter, add, count},
};

/// What every connection's task needs.
pub(crate) struct Shared {
    pub(crate) registry: Registry,
    pub(crate) guestbook: Guestbook,
    pub(crate) doors: Arc<Doors>,
    pub(crate) strangers: Strangers,
    pub(crate) reporter: Reporter,
    pub(crate) counters: Arc<Counters>,
    pub(crate) tls: Arc<ServerConfig>,
    /// By which certificates are judged.
    pub(crate) time: Arc<KnownTime>,
    pub(crate) http: Arc<dyn HttpHandler>,
    /// Sessions at once.
    pub(crate) limit: usize,
    /// Where the sessions' clock begins.
    pub(crate) epoch: tokio::time::Instant,
    pub(crate) said: Said,
}

/// When it was said last that a bound was hit, for each of them.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) too_many: Paced,
    pub(crate) crowded: Paced,
    pub(crate) handshakes: Paced,
    pub(crate) http_busy: Paced,
    pub(crate) too_often: Paced,
    pub(crate) slowed: Paced,
}

impl Shared {
    /// Counts a connection that is not let in because there are too many, and says what to do.
    pub(crate) fn turn_away(&self) {
        count(&self.counters.turned_away);
        if self.said.too_many.is_due() {
            tracing::warn!(
                limit = self.limit,
                "turned a device away: as many are connected as this hub may hold; raise its hard limit of open files \
                 (LimitNOFILE= of its service, or `ulimit -Hn` in the shell that starts it) and start it again"
            );
        }
    }

    /// Counts a connection that is not let in because too many of its address wait to come in.
    pub(crate) fn turn_away_one_of_many(&self, remote: SocketAddr) {
        count(&self.counters.crowded);
        if self.said.crowded.is_due() {
            tracing::warn!(
                %remote,
                "turned a connection away: too many from this address have not said yet who they are; a fleet behind one \
                 address comes in by and by, and silent connections end by themselves"
            );
        }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant(u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn at(&self, at: Instant) -> tokio::time::Instant {
        // Further away than any connection lasts; the timer's own bound is nearer than the clock's.
        const FAR: Duration = Duration::from_secs(30 * 24 * 3600);
        self.epoch + Duration::from_millis(at.0).min(self.epoch.elapsed() + FAR)
    }
}

/// Serves one connection until it ends.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    remote: SocketAddr,
    credential: Credential,
    mut place: Place,
    shared: Arc<Shared>,
) {
    let session = Session::new(credential.clone(), shared.time.now(), shared.now());
    let mut connection = Connection { stream, session, shared, flushing: false };
    // What a connection does once has memory of its own meanwhile: most of the time it stays.
    if let Some((device, peer)) = Box::pin(connection.knock(remote, credential)).await {
        place.come_in();
        let _live = Live(&connection.shared.clone().registry);
        connection.stay(&device, &peer).await;
        // The engine may be busy; the device hears why it is over all the same.
        Box::pin(connection.linger()).await;
        Box::pin(connection.leave(&device, &peer)).await;
    } else {
        Box::pin(connection.linger()).await;
    }
}

/// Counts a connection that was let in, until its last words are said.
struct Live<'r>(&'r Registry);

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.0.gone();
    }
}

struct Connection<S> {
    stream: S,
    session: Session,
    shared: Arc<Shared>,
    /// Written bytes may still be on their way inside the stream.
    flushing: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Waits for the CONNECT and lets the device in, if it may.
    async fn knock(
        &mut self,
        remote: SocketAddr,
        credential: Credential,
    ) -> Option<(Box<str>, Arc<Peer>)> {
        let mut timer = pin!(sleep_until(self.shared.at(self.session.poll_timeout())));
        loop {
            let now = self.shared.now();
            match self.session.next(now) {
                Some(Step::Open) => return self.come_in(remote, credential).await,
                // Nothing else comes before the session is open.
                Some(Step::End | Step::Frame { .. } | Step::Head) => return None,
                None => {}
            }
            self.wait(timer.as_mut(), None).await;
        }
    }

    async fn come_in(
        &mut self,
        remote: SocketAddr,
        credential: Credential,
    ) -> Option<(Box<str>, Arc<Peer>)> {
        let Credential::Device(certificate) = credential else { return None };
        let device = certificate.name.clone();
        let peer = Arc::new(Peer::new(remote, certificate.key, self.session.holder()));
        let shared = self.shared.clone();
        let room = shared.reporter.room().await?;
        let now = shared.now();
        let tell = |event| room.send(event);
        let (entry, two_boards) = shared.registry.open(&device, &peer, shared.limit, now, tell);
        if let Some(boards) = two_boards {
            let [there, here] = boards;
            tracing::warn!(
                device = &*device, there = %there.address, here = %here.address,
                "two boards have one name, one key and one agent id, as after a copy of a card; the one that is connected stays"
            );
            let device = device.to_string();
            shared.reporter.presence(LinkEvent::TwoBoards { device, boards }).await;
        }
        match entry {
            Entry::Open => tracing::debug!(device = &*device, %remote, "connected"),
            Entry::TookOver(newcomer) => {
                count(&shared.counters.takeovers);
                tracing::debug!(device = &*device, %remote, ?newcomer, "connected again");
            }
            refused => {
                self.keep_out(&certificate, remote, refused);
                return None;
            }
        }
        self.session.open(now);
        Some((device, peer))
    }

    /// Tells a device why it does not come in, and counts it.
    fn keep_out(&mut self, certificate: &DeviceCertificate, remote: SocketAddr, entry: Entry) {
        let shared = self.shared.clone();
        let (now, device) = (shared.now(), &*certificate.name);
        let rejection = match entry {
            Entry::Open | Entry::TookOver(_) | Entry::Closing => return self.session.lose(),
            Entry::Full => {
                shared.turn_away();
                Rejection::TooMany
            }
            Entry::TooOften => {
                count(&shared.counters.too_often);
                if shared.said.too_often.is_due() {
                    tracing::warn!(device, %remote, "refused a device: it connects too often");
                }
                Rejection::TooOften
            }
            Entry::Unwelcome(verdict) => {
                count(&shared.counters.unwelcome);
                self.note_stranger(certificate, remote, &verdict);
                Rejection::Unwelcome(verdict.why(device))
            }
            Entry::Second { other } => {
                count(&shared.counters.second_boards);
                Rejection::SecondBoard(format!(
                    "another board with this name, key and agent id is connected from {}: one of the two is a copy; \
                     give this one an empty state directory and join it under a name of its own",
                    other.address
                ))
            }
        };
        self.session.reject(&rejection, now);
    }

    /// Tells the engine of a device that was kept out, if it has not just been told.
    fn note_stranger(
        &self,
        certificate: &DeviceCertificate,
        remote: SocketAddr,
        verdict: &Verdict,
    ) {
        let DeviceCertificate { name, key, serial, .. } = certificate;
        self.shared.strangers.note(name, self.shared.now(), || {
            tracing::warn!(device = &**name, %remote, "kept a device out: {}", verdict.why(name));
            self.shared.reporter.try_tell(LinkEvent::Stranger {
                device: name.to_string(),
                key: *key,
                serial: serial.to_vec(),
                address: remote,
            })
        });
    }

    /// Carries messages both ways until the session ends.
    async fn stay(&mut self, device: &str, peer: &Arc<Peer>) {
        let mut timer = pin!(sleep_until(self.shared.at(self.session.poll_timeout())));
        loop {
            while let Some(step) = self.session.next(self.shared.now()) {
                match step {
                    Step::End => return,
                    Step::Frame { kind, bytes } => {
                        Box::pin(self.hand_over(device, peer, kind, bytes)).await;
                    }
                    Step::Head => self.answer_with_head(device),
                    Step::Open => {}
                }
                if self.end_if_ordered(peer) {
                    return;
                }
            }
            if self.end_if_ordered(peer) {
                return;
            }
            self.deliver(peer);
            self.count_refused();
            self.wait(timer.as_mut(), Some(peer)).await;
        }
    }

    fn end_if_ordered(&mut self, peer: &Peer) -> bool {
        let now = self.shared.now();
        match peer.ordered() {
            Some(Order::TakeOver) => self.session.take_over(now),
            Some(Order::Dismiss(why)) => self.session.dismiss(&why, now),
            Some(Order::ShutDown) => self.session.shut_down(now),
            None => return false,
        }
        true
    }

    /// Gives the engine a frame. While its queue has no room the device is not read; an order to end is heard all the
    /// same.
    async fn hand_over(&mut self, device: &str, peer: &Peer, kind: Kind, bytes: Bytes) {
        let shared = self.shared.clone();
        let taken = tokio::select! {
            biased;
            taken = shared.reporter.frame(device, kind, &bytes) => taken,
            () = peer.until_ordered() => false,
        };
        self.session.taken(taken, shared.now());
    }

    fn answer_with_head(&mut self, device: &str) {
        let Some(frame) = self.shared.registry.head(device) else { return };
        self.pass_on(&Down::to_one(Kind::Head, frame).as_answer());
    }

    fn deliver(&mut self, peer: &Peer) {
        while self.session.has_room() {
            let Some(message) = peer.take() else { return };
            self.pass_on(&message);
        }
    }

    fn pass_on(&mut self, message: &Down) {
        let sent = self.session.deliver(message, self.shared.now());
        let counters = &self.shared.counters;
        count(if sent { &counters.sent } else { &counters.sent_dropped });
    }

    fn count_refused(&mut self) {
        let tally = self.session.tally();
        add(&self.shared.counters.refused, tally.refused);
        add(&self.shared.counters.received_dropped, tally.dropped);
        add(&self.shared.counters.slowed, tally.slowed);
        if tally.slowed > 0 && self.shared.said.slowed.is_due() {
            let device = self.session.device();
            tracing::warn!(device, "a device says so much that it is read more slowly");
        }
    }

    /// Tells the engine that the device is gone, unless it is here again already.
    async fn leave(&mut self, device: &str, peer: &Arc<Peer>) {
        self.count_refused();
        while peer.take().is_some() {
            count(&self.shared.counters.sent_dropped);
        }
        let shared = self.shared.clone();
        let told = async {
            let will = self.session.due_will();
            if let Some(will) = will.filter(|_| shared.registry.is_newest(device, peer)) {
                shared.reporter.will(device, &will).await;
            }
            if let Some(room) = shared.reporter.room().await {
                shared.registry.close(device, peer, |event| room.send(event));
            }
        };
        match peer.ordered() {
            // Whoever was replaced has nothing to tell, and a hub that stops does not listen.
            Some(Order::TakeOver | Order::ShutDown) => {}
            // It is kept out by now, so nobody replaces it while this waits.
            Some(Order::Dismiss(_)) => told.await,
            None => tokio::select! {
                biased;
                () = told => {}
                () = peer.until_ordered() => {}
            },
        }
        tracing::debug!(device, remote = %peer.remote, "disconnected");
    }

    /// Waits for bytes to move, for something in the mailbox, or for a deadline.
    async fn wait(&mut self, mut timer: Pin<&mut Sleep>, peer: Option<&Arc<Peer>>) {
        let deadline = self.shared.at(self.session.poll_timeout());
        // An earlier deadline that has moved away is noticed when it comes: packets move it, and timers cost.
        if deadline < timer.deadline() || timer.is_elapsed() {
            timer.as_mut().reset(deadline);
        }
        let changed = async {
            match peer {
                Some(peer) => peer.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = changed => {}
            moved = poll_fn(|context| self.poll_exchange(context)) => {
                if let Err(error) = moved {
                    tracing::trace!(%error, "a connection broke");
                    self.session.lose();
                }
            }
            () = timer => self.session.handle_timeout(self.shared.now()),
        }
    }

    /// Writes what waits and reads what there is. Ready when any bytes have moved.
    fn poll_exchange(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut moved = self.poll_write(context)?;
        if self.session.wants_bytes() {
            // On the thread's stack: an idle connection has no buffer.
            let mut room = [MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut room);
            if Pin::new(&mut self.stream).poll_read(context, &mut read)?.is_ready() {
                if read.filled().is_empty() {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                self.session.received(read.filled());
                moved = true;
            }
        }
        if moved { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// True if bytes have left.
    fn poll_write(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let mut moved = false;
        while !self.session.out().is_empty() {
            let mut stream = Pin::new(&mut self.stream);
            match stream.as_mut().poll_write(context, self.session.out())? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(bytes) => {
                    self.session.wrote(bytes, self.shared.now());
                    self.flushing = true;
                    moved = true;
                }
                Poll::Pending => break,
            }
        }
        if self.flushing && Pin::new(&mut self.stream).poll_flush(context)?.is_ready() {
            self.flushing = false;
        }
        Ok(moved)
    }

    /// Says the last words and waits until the far end has taken them: a connection that is closed while bytes of the
    /// far end are unread is reset, and what we said is lost.
    async fn linger(&mut self) {
        self.count_refused();
        if self.session.out().is_empty() {
            return;
        }
        let last_words = async {
            while !self.session.out().is_empty() || self.flushing {
                poll_fn(|context| match self.poll_write(context) {
                    Ok(true) => Poll::Ready(Ok(())),
                    Ok(false) if self.session.out().is_empty() && !self.flushing => {
                        Poll::Ready(Ok(()))
                    }
                    Ok(false) => Poll::Pending,
                    Err(error) => Poll::Ready(Err(error)),
                })
                .await?;
            }
            self.stream.shutdown().await?;
            poll_fn(|context| poll_drain(&mut self.stream, context)).await
        };
        let _in_vain = timeout(LINGER, last_words).await;
    }
}
