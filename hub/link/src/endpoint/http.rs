//! HTTP on the port of devices: artefacts, and certificates for those who have none or whose own ends. Who comes is
//! known here, and counted; what is answered is the [`HttpHandler`]'s.
//!
//! Whoever is not welcome, or shows no certificate, is a guest: there are few places for guests, they share them by
//! address, and none stays for long. A device that is dismissed loses its connections at once.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use firmware_compat::id::Hash;
use lichen_hub_core::admission::roster::Verdict;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::{
    connection::Shared,
    doors::{Place, Source},
    identity::{Credential, DeviceCertificate},
    limits::{DEVICE_HTTP, GUEST_TIME, LINGER, SHUTDOWN_TIMEOUT},
    tls::Tls,
};
use crate::{Holder, event::count};

mod stream;

pub use stream::HttpStream;

/// What somebody is told who finds no place: in short, and in the API's own form.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 5\r\n\
    connection: close\r\ncontent-length: 173\r\n\r\n\
    {\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"reason\":\"ServiceUnavailable\",\"code\":503,\
    \"message\":\"too many connections from this device or address; try again later\"}";

/// Answers HTTP/1.1 on the port of devices.
pub trait HttpHandler: Send + Sync + 'static {
    /// Serves one connection until it ends. It bounds how long heads, answers and pauses may take; when
    /// [`HttpPeer::until_closing`] ends, it answers what it has begun, and no more.
    fn serve(&self, stream: HttpStream, peer: HttpPeer) -> HttpServing;
}

/// What a handler returns.
pub type HttpServing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who is at the far end of an HTTP connection.
#[derive(Clone)]
pub struct HttpPeer {
    /// From where it comes.
    pub address: SocketAddr,
    /// What its certificate says.
    pub credential: Credential,
    shared: Arc<Shared>,
    order: watch::Receiver<Option<Order>>,
}

impl HttpPeer {
    /// Whether it is a device that may come in, now. `None` for whoever is no device. Whether its certificate has ended
    /// is another question.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        let Credential::Device(certificate) = &self.credential else { return None };
        Some(self.shared.registry.verdict(&certificate.name, &certificate.key))
    }

    /// Whether it is a device that may come in, and whose certificate has not ended: what artefacts are for.
    #[must_use]
    pub fn is_welcome(&self) -> bool {
        self.verdict() == Some(Verdict::Welcome) && !self.has_ended()
    }

    /// Whether its certificate has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        match &self.credential {
            Credential::Device(certificate) => certificate.has_ended(self.shared.time.now()),
            Credential::Anonymous | Credential::Unusable(_) => false,
        }
    }

    /// Who has the session of the device that this is.
    #[must_use]
    pub fn holder(&self) -> Option<Holder> {
        let Credential::Device(certificate) = &self.credential else { return None };
        self.shared.registry.holder(&certificate.name)
    }

    /// Waits until the hub stops. (A connection whose device is dismissed is not asked to end.)
    pub async fn until_closing(&self) {
        let mut order = self.order.clone();
        // Whoever would say so is only gone with the endpoint.
        let _gone = order.wait_for(|order| *order == Some(Order::ShutDown)).await;
    }
}

impl fmt::Debug for HttpPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, credential, .. } = self;
        f.debug_struct("HttpPeer")
            .field("address", address)
            .field("credential", credential)
            .finish_non_exhaustive()
    }
}

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Its device was dismissed: at once.
    Dismiss,
    /// The hub stops: what was begun may be answered.
    ShutDown,
}

/// For whom a connection counts.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owner {
    /// A device that is welcome.
    Device(Arc<DeviceCertificate>),
    /// Anybody else.
    Guest(Source),
}

/// The HTTP connections that there are.
#[derive(Debug)]
pub(crate) struct Guestbook {
    /// At once, in all.
    most: usize,
    tables: Mutex<Tables>,
    /// Told when the last one has ended.
    empty: Notify,
}

#[derive(Debug, Default)]
struct Tables {
    next: u64,
    open: HashMap<u64, (Owner, watch::Sender<Option<Order>>)>,
    closing: bool,
}

impl Guestbook {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, tables: Mutex::default(), empty: Notify::new() }
    }

    pub(crate) fn connections(&self) -> usize {
        self.lock().open.len()
    }

    /// Writes a connection in, if there is a place for it.
    fn enter(&self, owner: &Owner) -> Option<(u64, watch::Receiver<Option<Order>>)> {
        let mut tables = self.lock();
        if tables.closing || tables.open.len() >= self.most {
            return None;
        }
        let is_guest = |owner: &Owner| matches!(owner, Owner::Guest(_));
        let same = |other: &Owner| match (owner, other) {
            (Owner::Device(one), Owner::Device(other)) => one.name == other.name,
            (Owner::Guest(one), Owner::Guest(other)) => one == other,
            _ => false,
        };
        let owners = || tables.open.values().map(|(owner, _)| owner);
        let of_same = owners().filter(|other| same(other)).count();
        let most_of_same = if is_guest(owner) { self.most / 4 } else { DEVICE_HTTP };
        let guests = owners().filter(|owner| is_guest(owner)).count();
        let no_guests = is_guest(owner) && guests >= self.most / 2;
        if of_same >= most_of_same || no_guests {
            return None;
        }
        let (order, orders) = watch::channel(None);
        let number = tables.next;
        tables.next += 1;
        tables.open.insert(number, (owner.clone(), order));
        Some((number, orders))
    }

    fn leave(&self, number: u64) {
        let mut tables = self.lock();
        tables.open.remove(&number);
        if tables.open.is_empty() {
            self.empty.notify_one();
        }
    }

    /// Waits until every connection has ended.
    pub(crate) async fn until_empty(&self) {
        while self.connections() > 0 {
            self.empty.notified().await;
        }
    }

    /// Ends the connections of a device whose key is not welcome.
    pub(crate) fn dismiss(&self, device: &str, is_welcome: impl Fn(&Hash) -> bool) {
        for (owner, order) in self.lock().open.values() {
            if let Owner::Device(own) = owner
                && &*own.name == device
                && !is_welcome(&own.key)
            {
                order.send_replace(Some(Order::Dismiss));
            }
        }
    }

    /// Lets nobody in any more and has every connection end.
    pub(crate) fn shut_down(&self) {
        let mut tables = self.lock();
        tables.closing = true;
        for (_, order) in tables.open.values() {
            order.send_if_modified(|order| {
                let is_news = order.is_none();
                order.get_or_insert(Order::ShutDown);
                is_news
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // No code panics while it holds the lock.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves one connection until it ends.
pub(crate) async fn serve(
    mut stream: Tls<TcpStream>,
    address: SocketAddr,
    credential: Credential,
    mut place: Place,
    shared: Arc<Shared>,
) {
    let owner = match &credential {
        Credential::Device(certificate) => {
            let welcome = shared.registry.verdict(&certificate.name, &certificate.key);
            let ended = certificate.has_ended(shared.time.now());
            let is_guest = ended || welcome != Verdict::Welcome;
            if is_guest { Owner::Guest(place.source()) } else { Owner::Device(certificate.clone()) }
        }
        Credential::Anonymous | Credential::Unusable(_) => Owner::Guest(place.source()),
    };
    let Some((number, orders)) = shared.guestbook.enter(&owner) else {
        count(&shared.counters.http_refused);
        if shared.said.http_busy.is_due() {
            tracing::warn!(%address, "refused an HTTP connection: its device, its address or all together have too many");
        }
        let _in_vain = timeout(LINGER, async {
            stream.write_all(BUSY).await?;
            stream.shutdown().await?;
            std::future::poll_fn(|context| super::tls::poll_drain(&mut stream, context)).await
        })
        .await;
        return;
    };
    place.come_in();
    let entered = Entered { shared: &shared, number };
    let mut order = orders.clone();
    let peer = HttpPeer { address, credential, shared: shared.clone(), order: orders };
    let serving = shared.http.serve(HttpStream::new(stream), peer);
    let time_over = async {
        match owner {
            Owner::Guest(_) => sleep(GUEST_TIME).await,
            Owner::Device(_) => std::future::pending().await,
        }
    };
    let ordered = async {
        let order = order.wait_for(Option::is_some).await.ok().and_then(|order| *order);
        if order == Some(Order::ShutDown) {
            sleep(SHUTDOWN_TIMEOUT).await;
        }
    };
    tokio::select! {
        biased;
        () = ordered => {}
        () = time_over => {}
        () = serving => {}
    }
    drop(entered);
}

/// A connection that is in the guestbook, until it is dropped.
struct Entered<'s> {
    shared: &'s Shared,
    number: u64,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.shared.guestbook.leave(self.number);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    fn device(name: &str) -> Owner {
        let (name, key) = (name.into(), Hash([1; 32]));
        Owner::Device(Arc::new(DeviceCertificate { name, key, serial: [1].into(), not_after: 9 }))
    }

    fn guest(last: u8) -> Owner {
        Owner::Guest(Source::V4([10, 0, 0, last]))
    }

    fn places(book: &Guestbook, owner: &Owner) -> usize {
        std::iter::from_fn(|| book.enter(owner)).count()
    }

    #[test]
    fn the_busy_answer_is_as_long_as_it_says() {
        let text = std::str::from_utf8(BUSY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
    }

    #[test]
    fn devices_and_guests_have_bounds_of_their_own() {
        let book = Guestbook::new(40);
        assert_eq!(places(&book, &device("pi")), DEVICE_HTTP);
        assert_eq!(places(&book, &guest(1)), 10);
        assert_eq!(places(&book, &guest(2)), 10);
        assert_eq!(places(&book, &guest(3)), 0, "half is left for devices");
        let more: usize = (0..9).map(|number| places(&book, &device(&format!("d{number}")))).sum();
        assert_eq!(more, 16);
        assert_eq!(book.connections(), 40);
    }

    #[test]
    fn a_place_is_free_again_and_a_dismissed_device_is_told() {
        let book = Guestbook::new(40);
        let (number, _) = book.enter(&device("pi")).unwrap();
        assert_eq!(places(&book, &device("pi")), DEVICE_HTTP - 1);
        book.leave(number);
        let (_, orders) = book.enter(&device("pi")).unwrap();
        book.dismiss("pi-2", |_| false);
        book.dismiss("pi", |key| *key == Hash([1; 32]));
        assert_eq!(*orders.borrow(), None);
        book.dismiss("pi", |_| false);
        book.shut_down();
        assert_eq!(*orders.borrow(), Some(Order::Dismiss));
        assert!(book.enter(&device("other")).is_none());
    }
}
